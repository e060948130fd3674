import asyncio
import io

import nbformat
import pytest
import torch
from PIL import Image

from samlib import notebooks
from samlib.studio import Debounce, Panel, State


@pytest.fixture()
def inversion(tiny):
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3)) * 2 - 1
    return tiny.invert(image, progress=False)


def pixels(png):
    return Image.open(io.BytesIO(png)).convert("RGB").tobytes()


def test_state_starts_at_the_inversion(tiny, inversion):
    state = State(tiny, inversion)
    assert torch.allclose(state.image(), inversion.images, atol=1e-5)
    assert state.tau == pytest.approx(tiny.tau) and not state.stale
    assert state.strengths == {"size": 0, "trees": 0, "wheels": 0, "colour": 0}


def test_state_edits_and_resets(tiny, inversion):
    state = State(tiny, inversion)
    state.strengths["colour"] = 2.0
    assert torch.equal(state.image(), tiny.edit(inversion, {"colour": 2.0}))
    state.reset()
    assert torch.allclose(state.image(), inversion.images, atol=1e-5)


def test_a_padded_photograph_stays_so(tiny):
    inversion = tiny.invert(torch.rand(1, 3, 40, 80), progress=False)
    state = State(tiny, inversion, steps=1)
    assert not state.stale
    state.invert()
    assert torch.equal(state.inversion.valid, inversion.valid) and not state.stale


def test_tau_changes_the_map_at_once_and_the_inversion_when_asked(tiny, inversion):
    state = State(tiny, inversion, steps=2)
    state.tau = -1.0  # nothing is good enough, so every segment goes to the last space
    assert state.stale and (state.layer_map() == 2).all()
    assert torch.equal(state.inversion.w_plus, inversion.w_plus)
    state.invert()
    assert not state.stale and (state.inversion.layer_map == 2).all() and list(state.inversion.deltas) == ["F6"]
    assert torch.equal(state.inversion.inputs, inversion.inputs)
    assert state.can_select  # and can go back
    state.tau = 9.0
    assert (state.layer_map() == 0).all()


def test_a_single_space_inversion_can_be_edited_but_has_no_tau(tiny, inversion):
    panel = Panel(tiny, tiny.invert(inversion.inputs, "F4", progress=False))
    assert panel.tau.disabled and not panel.state.stale
    panel.sliders["colour"].value = 1.0
    assert panel.error.value == ""


def test_one_image_is_wanted(tiny, inversion):
    with pytest.raises(ValueError, match="has 2: give inversion"):
        State(tiny, tiny.invert(inversion.inputs.repeat(2, 1, 1, 1), "w+", steps=1, progress=False))


def test_a_slider_updates_the_same_picture(tiny, inversion):
    panel = Panel(tiny, inversion)
    picture, before = panel.picture, pixels(panel.picture.value)
    panel.sliders["colour"].value = 2.0  # which acts after every space
    assert panel.picture is picture and pixels(picture.value) != before
    assert (panel.sliders["size"].min, panel.sliders["size"].max) == (-1, 2)
    panel.resetting.click()
    assert panel.sliders["colour"].value == 0 and pixels(picture.value) == before


def test_tau_shows_its_map_and_the_button_inverts(tiny, inversion):
    panel = Panel(tiny, inversion, steps=2)
    shown, before = pixels(panel.map.value), pixels(panel.picture.value)
    assert panel.again.disabled
    panel.tau.min, panel.tau.value = -1, -1
    assert pixels(panel.map.value) != shown and pixels(panel.picture.value) == before
    assert not panel.again.disabled and "F6 100%" in panel.note.value and "Invert again" in panel.note.value
    panel.again.click()
    assert panel.again.disabled and pixels(panel.picture.value) != before and panel.error.value == ""


def test_an_error_is_shown_and_goes_away_with_the_next_success(tiny, inversion, monkeypatch):
    panel = Panel(tiny, inversion)
    monkeypatch.setattr(tiny, "edit", lambda *args: 1 / 0)
    panel.sliders["size"].value = 1.0
    assert "ZeroDivisionError" in panel.error.value
    monkeypatch.undo()
    panel.sliders["size"].value = 0.5
    assert panel.error.value == ""


def test_debounce_keeps_only_the_last_of_a_burst():
    calls = []

    async def drag():
        slider = {}
        show = Debounce(lambda: calls.append(slider["value"]), delay=0.02)
        for slider["value"] in range(5):
            show()
        assert calls == []
        await asyncio.sleep(0.1)

    asyncio.run(drag())
    assert calls == [4]


def test_debounce_without_an_event_loop_calls_at_once():
    calls = []
    Debounce(lambda: calls.append(1))()
    assert calls == [1]


def test_in_a_kernel_a_dragged_slider_is_drawn_once_it_rests(tiny_folder, tmp_path):
    cells = ["folder = ''",
             "import samlib, torch\nfrom samlib.studio import Panel\nd = samlib.load(folder, 'cpu')\n"
             "panel = Panel(d, d.invert(torch.zeros(1, 3, 64, 64), steps=1, progress=False))\n"
             "drawn = []\npanel.picture.observe(lambda change: drawn.append(change), 'value')\n"
             "for value in (0.5, 1.0, 1.5):\n    panel.sliders['colour'].value = value\n"
             "assert drawn == []",
             "import asyncio\nawait asyncio.sleep(0.5)\nassert len(drawn) == 1 and panel.error.value == ''"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.cells[0].metadata["tags"] = ["parameters"]
    notebook.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(notebook, tmp_path / "drag.ipynb")
    notebooks.run(tmp_path / "drag.ipynb", tmp_path / "out", {"folder": str(tiny_folder)}, progress=False)


def test_the_slider_of_tau_reaches_the_domain_s(tiny, inversion):
    tiny.tau = 2.5
    panel = Panel(tiny, tiny.invert(inversion.inputs, steps=1, progress=False))
    assert panel.tau.max >= 2.5 and panel.tau.value == 2.5 and panel.error.value == ""
