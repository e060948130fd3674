"""The paper's notebooks on a domain of one's own and on photographs: all that they do, but for the claims, which random weights break."""

import json

import matplotlib.pyplot as plt
import pytest
import skimage.data

from samlib import paths, reproduce
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


@pytest.mark.parametrize("path", reproduce.paper_notebooks(), ids=lambda path: path.stem)
def test_it_runs_on_any_domain_and_on_photographs(path, tiny_folder, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "OUTPUTS", tmp_path / "outputs")
    monkeypatch.setenv("SAMLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(plt, "show", plt.close)
    cells = ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    scope = {"display": print}
    exec(cells[0], scope)  # the parameters
    chosen = {"domain": str(tiny_folder), "kind": str(photos), "first": 0, "images": 2, "inverted": 2, "steps": 3, "device": "cpu"}
    chosen |= {"spaces": ["W+", "F4", "F6"]} | NEEDS.get(path.stem.split("_")[0], {})
    scope |= {name: value for name, value in chosen.items() if name in scope}
    for cell in cells[1:-1]:
        exec(cell, scope)
    written = {file.suffix for file in (tmp_path / "outputs" / "figures").glob("*-tiny.*")}
    assert ".json" in written and (path.parent.name == "tables" or ".png" in written)
