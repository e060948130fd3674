"""The paper's notebooks on a domain of one's own and on photographs: all that they do, but for the claims, which random weights break."""

import json

import matplotlib.pyplot as plt
import pytest
import skimage.data
from tiny_biggan import save_domain

from samlib import official, paths, reproduce, standin
from samlib.images import from_uint8, write_image

# What a notebook cannot know of such a domain, or would take long.
NEEDS = {"fig12": {"classes": ["car"]}, "fig01": {"late": "F4"}, "fig08": {"methods": ["w+", "pti", "sam"]}, "tau": {"taus": [0.1, 0.5]},
         "table1": {"methods": ["w", "w+", "pti", "sam"]}, "fig07": {"methods": ["w+", "sam"]}, "table4": {"metric": "st-lpips-alex"}}


@pytest.fixture()
def photos(tmp_path):
    """Two photographs of which one is no square."""
    for name in ("chelsea", "astronaut"):
        write_image(tmp_path / "photos" / f"{name}.png", from_uint8(getattr(skimage.data, name)()[::4, ::4].copy()))
    return tmp_path / "photos"


@pytest.fixture()
def official_cars(tiny, tmp_path, monkeypatch):
    """Small networks in the files of lsun-cars, whose images are 64 x 48 px in their square."""
    monkeypatch.setenv("SAMLIB_WEIGHTS", str(tmp_path / "weights"))
    facts = standin.make(tmp_path / "weights" / "lsun-cars", "lsun-cars", tiny.generator, tiny.predictor, directions=tiny.directions,
                         metric="st-lpips-alex", segmenter="unsupervised")
    monkeypatch.setitem(official.OFFICIAL, "lsun-cars", facts)
    return "lsun-cars"


def run(path, chosen, folder, monkeypatch):
    """All cells but the last -> the names of the files that they wrote."""
    monkeypatch.setattr(paths, "OUTPUTS", folder / "outputs")
    monkeypatch.setenv("SAMLIB_CACHE", str(folder / "cache"))
    monkeypatch.setattr(plt, "show", plt.close)
    cells = ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    scope = {"display": print}
    exec(cells[0], scope)  # the parameters
    chosen = {"first": 0, "images": 2, "inverted": 2, "steps": 3, "device": "cpu", "spaces": ["W+", "F4", "F6"]} | chosen
    scope |= {name: value for name, value in (chosen | NEEDS.get(path.stem.split("_")[0], {})).items() if name in scope}
    for cell in cells[1:-1]:
        exec(cell, scope)
    return {file.name for file in (folder / "outputs" / "figures").iterdir()}


@pytest.mark.parametrize("path", reproduce.paper_notebooks(), ids=lambda path: path.stem)
def test_it_runs_on_any_domain_and_on_photographs(path, tiny_folder, photos, tmp_path, monkeypatch):
    folder = save_domain(tmp_path / "biggan-tiny") if path.stem.startswith("fig06") else tiny_folder
    written = {name.rpartition("-tiny")[2] for name in run(path, {"domain": str(folder), "kind": str(photos)}, tmp_path, monkeypatch)}
    assert ".json" in written and (path.parent.name == "tables" or {".png", ".pdf"} <= written)


def test_figure_6_takes_scenes_of_the_domain_s_classes(tmp_path, monkeypatch):
    path, = (path for path in reproduce.paper_notebooks() if path.stem.startswith("fig06"))
    folder, methods = save_domain(tmp_path / "biggan-tiny"), ["z+", "F4", "sam", "sam-F2"]
    run(path, {"domain": str(folder), "kind": "challenging", "steps": 1, "methods": methods}, tmp_path, monkeypatch)
    numbers = json.loads((tmp_path / "outputs" / "figures" / "fig06-biggan-tiny.json").read_text())["numbers"]
    assert {"psnr", "lpips"} == {*numbers["F4"]} and {*methods} < {*numbers} and {*numbers["shares"]} == {"Z+", "F2", "F4"}
    assert all({*numbers[f"class_change_{name}"]} == {"changed", "pose_kept", "both", "images"} for name in ("z+", "sam-F2"))
    by_class = [*numbers["changes_by_class"].values()]  # two images: of two classes, or of one
    assert sum(by_class) / len(by_class) == pytest.approx(numbers["class_change_sam-F2"]["both"])


@pytest.mark.parametrize("name", ["fig03", "fig05", "table1", "table3"])
def test_it_runs_on_the_official_weights(name, official_cars, photos, tmp_path, monkeypatch):
    path = next(path for path in reproduce.paper_notebooks() if path.stem.startswith(name))
    written = run(path, {"domain": official_cars, "kind": str(photos)}, tmp_path, monkeypatch)
    numbers = json.loads((tmp_path / "outputs" / "figures" / f"{name}-lsun-cars.json").read_text())["numbers"]
    assert f"{name}-lsun-cars.json" in written and numbers
