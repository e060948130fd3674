"""The studio: an inverted image, a slider for each edit, one for tau, and one picture updated in place.

`State` is what the panel shows and does, without a browser; `Panel` is the widgets around it.
"""

import asyncio
import html
from dataclasses import replace

import ipywidgets as widgets

from samlib import figures
from samlib.images import to_png
from samlib.layer_map import select


class State:
    """One inverted image and what has been chosen for it: the strength of each direction, and tau."""

    def __init__(self, domain, inversion, steps=None):
        if len(inversion) != 1:
            raise ValueError(f"the studio shows one image; the inversion has {len(inversion)}: give inversion[i]")
        self.domain, self.inversion, self.steps = domain, inversion.to(domain.device), steps
        self.tau = domain.tau if inversion.tau is None else float(inversion.tau[0])
        self.strengths = dict.fromkeys(domain.directions, 0.0)

    @property
    def can_select(self):
        """tau needs what S and the segmenter said, which a single-space inversion does not have."""
        return self.inversion.error_maps is not None and self.inversion.segments is not None

    def layer_map(self):
        """(1, R, R) at the chosen tau; the inversion's own where nothing was predicted."""
        if not self.can_select:
            return self.inversion.layer_map
        return select(self.inversion.error_maps, self.inversion.segments, self.tau)

    @property
    def stale(self):
        """Whether the chosen tau asks for another layer map than the image was inverted with."""
        return bool((self.layer_map() != self.inversion.layer_map).any())

    def image(self):
        """(1, 3, R, R): the inversion with every chosen edit."""
        return self.domain.edit(self.inversion, {name: value for name, value in self.strengths.items() if value})

    def invert(self, callback=None):
        """Invert the same image again, with the layer map of the chosen tau; callback(step, images) is for a preview."""
        found = self.domain.invert(self.inversion.inputs, layer_map=self.layer_map(), steps=self.steps,
                                   valid=self.inversion.valid, progress=False, callback=callback)
        self.inversion = replace(found, tau=self.tau, error_maps=self.inversion.error_maps,
                                 segments=self.inversion.segments)

    def reset(self):
        self.strengths = dict.fromkeys(self.strengths, 0.0)


class Debounce:
    """Calls `function` once the calls have paused for `delay` seconds; at once where no event loop is running."""

    def __init__(self, function, delay=0.05):
        self.function, self.delay, self.waiting = function, delay, None

    def __call__(self):
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.function()
            return
        if self.waiting:
            self.waiting.cancel()
        self.waiting = loop.call_later(self.delay, self.function)


def square(side):
    """An image widget of `side` pixels, which a taller neighbour does not stretch."""
    layout = widgets.Layout(width=f"{side}px", height=f"{side}px", flex="0 0 auto", align_self="flex-start")
    return widgets.Image(format="png", layout=layout)


class Panel(widgets.VBox):
    """The widgets around a State: `Panel(domain, inversion)` at the end of a cell shows them.

    Errors of a callback appear in `self.error`, in red under the picture, instead of nowhere.
    """

    def __init__(self, domain, inversion, steps=None):
        self.state = State(domain, inversion, steps)
        self.picture, self.map = square(384), square(160)
        self.error, self.note = widgets.HTML(), widgets.HTML()
        most = max(1.0, domain.tau, self.state.tau)  # where the metric counts otherwise, tau is above 1
        self.tau = widgets.FloatSlider(self.state.tau, min=0, max=most, step=0.025, description="tau",
                                       disabled=not self.state.can_select)
        self.sliders = {name: self._slider(name) for name in self.state.strengths}
        self.again = widgets.Button(description="Invert again", disabled=True)
        self.resetting = widgets.Button(description="Reset edits")
        self._update = Debounce(self._guard(self._show))
        for name, slider in self.sliders.items():
            slider.observe(lambda change, name=name: self._set(name, change["new"]), "value")
        self.tau.observe(self._guard(lambda change: self._set_tau(change["new"])), "value")
        self.again.on_click(self._guard(lambda _: self._invert()))
        self.resetting.on_click(self._guard(lambda _: self._reset()))
        controls = widgets.VBox([*self.sliders.values(), self.resetting, self.tau, self.map, self.note, self.again])
        super().__init__([widgets.HBox([self.picture, controls]), self.error])
        self._guard(self._show)()

    def _slider(self, name):
        low, high = self.state.domain.range_of(name)
        return widgets.FloatSlider(0, min=low, max=high, step=(high - low) / 60, description=name, readout_format=".2f")

    def _guard(self, function):
        """`function`, whose errors are shown to the user: a callback's would be swallowed."""
        def guarded(*args):
            try:
                function(*args)
                self.error.value = ""
            except Exception as error:
                self.error.value = f'<b style="color: #b00020">{html.escape(f"{type(error).__name__}: {error}")}</b>'
        return guarded

    def _set(self, name, value):
        self.state.strengths[name] = value
        self._update()

    def _set_tau(self, value):
        self.state.tau = value
        self._show_map()

    def _reset(self):
        self.state.reset()
        for slider in self.sliders.values():
            slider.value = 0

    def _invert(self):
        self.again.disabled, self.again.description = True, "Inverting ..."
        try:
            self.state.invert(callback=self._preview)
        finally:
            self.again.description = "Invert again"
            self._show()

    def _preview(self, step, images):
        self.picture.value = to_png(images)

    def _show(self):
        self.picture.value = to_png(self.state.image())
        self._show_map()

    def _show_map(self):
        spaces = [space.name for space in self.state.domain.spaces]
        layer_map = self.state.layer_map()
        self.map.value = to_png(figures.layer_map_image(layer_map, spaces))
        shares = [f'<span style="border-left: 1em solid {figures.SPACE_COLOURS[name]}">&nbsp;{name} {share:.0%}</span>'
                  for name, share in figures.shares(layer_map, spaces).items() if share > 0]
        self.again.disabled = not self.state.stale
        self.note.value = " ".join(shares) + ("<br>press <i>Invert again</i> to use this map" if self.state.stale else "")
