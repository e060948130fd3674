"""What notebooks show where their parameters leave it open: the domains, the edits, the object; nothing is tied to one category."""

import json
import re

import pytest
import torch

from samlib import edit_measures, notebooks, paths, published, scenes, shown
from samlib.training.edits import CONCERNED, EDITS
from samlib.training.factors import FactorRegressor

PAPER = sorted([*(paths.NOTEBOOKS / "figures").glob("*.ipynb"), *(paths.NOTEBOOKS / "tables").glob("*.ipynb")])


@pytest.fixture()
def cats(tiny):
    """The tiny domain with directions of cats: pose and black in the first rows, red_nose and eye_size in those after F4."""
    tiny.name = "cats"
    rows = torch.ones(tiny.generator.num_layers, 1)
    late = rows.clone()
    late[: tiny.spaces[1].layer] = 0
    some = torch.randn(10, 16, generator=torch.Generator().manual_seed(0))
    early, late = some * (1 - late), some * late
    tiny.directions = {"pose": early, "red_nose": late, "eye_size": late, "pca0": some, "black": early}
    return tiny


def test_no_name_is_every_category_with_weights_in_the_paper_s_order(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    for name in ("zebras", "cats", "cars"):
        (tmp_path / name).symlink_to(tiny_folder)
    assert list(shown.subjects("", "cpu")) == ["cars", "cats"]
    assert list(shown.subjects("cats", "cpu")) == ["cats"] and shown.subjects("zebras", "cpu")["zebras"].name == "zebras"
    monkeypatch.setattr(paths, "DATA", tmp_path / "none")
    with pytest.raises(ValueError, match="no weights of cars, horses, cats, faces"):
        shown.subjects()


def test_edits_are_so_many_of_the_domain_s_or_those_named(cats):
    assert shown.edits(cats, 2) == ["pose", "red_nose"] and shown.edits(cats, 9) == ["pose", "red_nose", "eye_size", "black"]
    assert shown.edits(cats, ["pca0", "pose"]) == ["pca0", "pose"]
    with pytest.raises(ValueError, match="no direction wheel_type in cats; it has pose, red_nose"):
        shown.edits(cats, ["wheel_type"])


def test_late_edits_are_those_that_work_in_later_spaces(cats, monkeypatch):
    regressor = FactorRegressor(scenes.FACTORS["cats"], channels=(4, 4, 4, 4, 4), hidden=8).eval()
    monkeypatch.setattr(edit_measures, "regressor_of", lambda domain: regressor)
    assert set(shown.edits(cats, 2, late=True)) == {"red_nose", "eye_size"}  # the others have no rows there
    monkeypatch.setattr(edit_measures, "left_in_spaces", lambda *given: {
        "pose": {"W+": 1, "F4": 0}, "red_nose": {"W+": 1, "F4": 0.6}, "eye_size": {"W+": 1, "F4": 0.5}, "black": {"W+": 1, "F4": 0.4}})
    assert shown.edits(cats, 3, late=True) == ["eye_size", "red_nose", "black"]  # of equals the last


def test_edits_that_the_layer_map_permits_come_first(cats):
    for space, first in ((0, "pose"), (1, "red_nose")):  # in F4 pose has no rows left
        layer_map = torch.full((1, 64, 64), space)
        assert shown.edits(cats, 1, layer_map=layer_map) == [first]
        assert {*shown.edits(cats, 9, layer_map=layer_map)} == {*shown.edits(cats, 9)}


def test_the_object_is_the_category_s(cats):
    assert {"head", "body", "eye"} <= {*shown.object_classes(cats)} and shown.object_classes(cats, ["ear"]) == ["ear"]
    cats.name = "buses"
    with pytest.raises(ValueError, match="name the classes of sky, road, car"):
        shown.object_classes(cats)


def test_every_category_has_what_is_chosen_from_it():
    for category in published.CATEGORIES:
        assert list(published.TABLE3[category]) == list(EDITS[category])[:4]  # those that notebooks show come first
        assert {name for classes in CONCERNED[category].values() for name in classes} <= {*scenes.SEGMENTS[category]}
        assert {*CONCERNED[category]} - {None} <= {*EDITS[category]}


@pytest.mark.parametrize("file", sorted(paths.DATA.glob("*/domain.json")), ids=lambda file: file.parent.name)
def test_shipped_domains_list_table_3_s_edits_first(file):
    rows = published.TABLE3.get(file.parent.name, {})
    assert list(json.loads(file.read_text()).get("strengths", {}))[: len(rows)] == list(rows)


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_no_notebook_of_the_paper_names_what_one_category_has(path):
    cells = ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    words = {name for category in published.CATEGORIES for name in (*EDITS[category], *scenes.SEGMENTS[category])} - {"head"}  # S has heads
    assert not {text for cell in cells for text in re.findall(r'"(\w+)"', cell)} & words


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_every_notebook_that_inverts_has_the_common_parameters(path):
    cells = ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    inverts = any(f"experiments.{call}(" in cell for cell in cells for call in ("inverted", "measured"))
    common = {"domain", "profile", "seed"} | ({"kind", "first", "steps"} if inverts else set())
    assert common <= set(notebooks.literals_of(path))
    assert not inverts or {"metric", "metrics"} & set(notebooks.literals_of(path))


def test_subjects_are_judged_by_the_metric_that_is_asked_for():
    assert shown.subjects("cars", "cpu", "st-lpips-alex")["cars"].metric.name == "st-lpips-alex"
    assert shown.subjects("cars", "cpu")["cars"].metric.name == "st-lpips-vgg"


def test_a_figure_draws_the_image_that_is_named_for_its_domain():
    drawn = {"cars": 2}
    assert shown.place(drawn, "cars", 3) == slice(2, 3) and shown.place(drawn, "cats", 3) == slice(0, 1)
    assert shown.place(drawn, "cars", 2) == slice(0, 1)  # a smaller run has no third
