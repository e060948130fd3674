"""Figure 7: how close an inversion is after how much time, from what was measured of inversions."""

from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch

from samlib import figures, methods
from samlib.optimize import Reconstruction

LATE = 2.0  # times as long as a step at half size (benchmarks/inversion.py, on a CPU)
GREYS = ("black", "0.35", "0.6")
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))  # apart without colours, too


@dataclass(frozen=True)
class Curve:
    """PSNR in dB (K,), the mean over images, at K times in seconds an image (K,); an encoder has one point."""

    seconds: torch.Tensor
    psnr: torch.Tensor

    def at(self, second: float) -> float:
        """The PSNR that is reached at a time: that of the last step before it; NaN before the first."""
        done = int((self.seconds <= second).sum())
        return float(self.psnr[done - 1]) if done else float("nan")


def curve(measured: Mapping, size: int, pivot: Mapping | None = None, start: float = 0.0) -> Curve:
    """Of an optimization, from `experiments.measured` on images of this size: what it has reached after each step, over the time of an
    image, of which the least counts: what else the device did can only have added to it.

    Steps of one method take equally long, but for those at its end in which LPIPS is at full size, where that is another.
    start  seconds an image before the first step, of the encoders that give the code to begin at.
    pivot  what was measured of W in as many steps as PTI's pivot, which is an inversion in W: its steps take what those took, and the
           others, which tune the generator, the rest of the time.
    """
    psnr, whole = torch.tensor(measured["reached"]), min(measured["seconds"])
    before = curve(pivot, size).seconds if pivot else torch.zeros(0)
    begun, count = max(start, float(before[-1:].sum())), len(psnr) - len(before)
    late = (torch.arange(count) + 0.5) / count > 1 - Reconstruction.FINE
    done = torch.where(late, LATE if size <= 256 else 1.0, 1.0).cumsum(0)
    return Curve(torch.cat([before, begun + done / done[-1] * (whole - begun)]), psnr)


def point(measured: Mapping) -> Curve:
    """Of an encoder, likewise: the PSNR of its inversions."""
    return Curve(torch.tensor([min(measured["seconds"])]), torch.tensor(measured["psnr"]).mean()[None])


def start_of(domain, method: str, points: Mapping[str, Curve]) -> float:
    """Seconds an image before the first step of a method, given the encoders' points: those of the encoders that it begins at.

    SAM's encoder wants the layer map first, which takes most of its time; in W+ alone there is none, and it is one more e4e.
    """
    begins = methods.encoders_in(methods.STARTS.get(method, domain.start))
    taken = [points.get(name if method == "sam" else "e4e") for name in begins]
    return sum(float(point.seconds) for point in taken if point)


def under_way(curve: Curve) -> float:
    """The time from which on a method is compared: an eighth of its own, and not before its sixth step, for the first steps say more of
    where it begins."""
    return float(max(curve.seconds[-1] / 8, curve.seconds[:6][-1]))


def lead(curves: dict[str, Curve], name: str, count=20) -> tuple[list[float], list[float]]:
    """By how many dB `name` is ahead of the best of the others, at `count` times, evenly from the first at which all have done a
    step to the last at which all still run -> times, dB."""
    start = max(float(one.seconds[0]) for one in curves.values())
    end = min(float(one.seconds[-1]) for one in curves.values())
    times = torch.linspace(start, end, count).tolist()
    ahead = [curves[name].at(t) - max(one.at(t) for other, one in curves.items() if other != name) for t in times]
    return times, ahead


def show_runtime(panels: dict[str, dict[str, Curve]], first="sam", unit="s"):
    """A panel for each category: lines of the optimizations and points of the encoders; `first` is drawn on top and thick."""
    every = list(dict.fromkeys([first, *(name for curves in panels.values() for name in curves)]))
    lines = [name for name in every if any(len(curves[name].seconds) > 1 for curves in panels.values() if name in curves)]
    points = sorted((name for name in every if name not in lines), key=lambda name: not name.startswith(first))  # SAM's in SAM's colour
    with plt.rc_context(figures.STYLE):
        figure, axes = plt.subplots(1, len(panels), figsize=(2.8 * len(panels) + 1.2, 2.6), layout="constrained", squeeze=False)
        handles = {}
        for axis, (category, curves) in zip(axes[0], panels.items()):
            for i, name in (*enumerate(lines), *enumerate(points)):
                if name not in curves:
                    continue
                one, look = curves[name], {"label": methods.PRINTED.get(name, name), "zorder": 3 if name == first else 2}
                if name in lines:
                    look |= {"color": f"C{i % 6}", "linestyle": STYLES[i % len(STYLES)], "linewidth": 2 if name == first else 1.2}
                else:
                    look |= {"color": "C0" if name.startswith(first) else GREYS[i % 3], "marker": "os^vDP"[i % 6], "linestyle": "none"}
                    axis.set_xscale("log")
                handles[name], = axis.plot(one.seconds, one.psnr, **look)
                if name == first and len(one.seconds) > 3:
                    late = int(len(one.seconds) * (1 - Reconstruction.FINE)) - 1
                    handles["late"], = axis.plot(one.seconds[late], one.psnr[late], marker="|", markersize=9, markeredgewidth=1.5,
                                                 color="k", linestyle="none", zorder=4, label="LPIPS at full size from here")
            axis.set(xlabel=f"time an image ({unit})", title=category)
            axis.grid(alpha=0.25, linewidth=0.5)
        axes[0, 0].set_ylabel("PSNR (dB)")
        axes[0, -1].legend(handles=list(handles.values()), loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure
