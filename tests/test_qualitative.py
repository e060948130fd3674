"""Grids of results: which edits are shown, by hand, and that the others say N/A."""

import pytest
import torch

from samlib import qualitative
from samlib.scenes import SEGMENTS


@pytest.fixture()
def half(tiny):
    """A domain called cars, an inversion in W+ on the left and F6 on the right; `size` acts in W+ alone, `colour` everywhere."""
    tiny.name = "cars"
    tiny.directions = {"size": tiny.directions["size"], "colour": tiny.directions["colour"]}
    layer_map = torch.zeros(1, 64, 64, dtype=torch.long)
    layer_map[:, :, 24:] = 2
    return tiny, tiny.invert(torch.zeros(1, 3, 64, 64), layer_map=layer_map, steps=1, progress=False)


def test_an_edit_is_permitted_by_the_parts_it_is_about(half):
    domain, inversion = half
    segments = torch.full((1, 64, 64), SEGMENTS["cars"].index("sky"))
    segments[:, 20:30, :20] = SEGMENTS["cars"].index("car")
    assert qualitative.permitted(domain, inversion.layer_map, "size", segments).tolist() == [True]  # the car is in W+
    assert qualitative.permitted(domain, inversion.layer_map, "size", segments.flip(2)).tolist() == [False]  # and now in F6
    assert qualitative.permitted(domain, inversion.layer_map, "size").tolist() == [False]  # 24 of 64 columns
    assert qualitative.permitted(domain, inversion.layer_map, "colour").tolist() == [True]
    assert qualitative.permitted(domain, inversion.layer_map, "colour", works=[True, True, False]).tolist() == [False]  # as measured


def test_a_grid_has_a_row_an_image_and_says_what_is_not_permitted(half):
    domain, inversion = half
    edits = qualitative.edited(domain, inversion, {"size": 1.0, "colour": 1.0})
    figure = qualitative.show(domain, inversion, edits, {name: qualitative.permitted(domain, inversion.layer_map, name) for name in edits})
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["input", "layer map", "inversion", "size", "colour"]
    assert [axis.texts[0].get_text() if axis.texts else "" for axis in figure.axes] == ["", "", "", "N/A", ""]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["W+", "F4", "F6"]


def test_categories_stand_one_below_the_other_with_their_own_edits(half):
    domain, inversion = half
    size, colour = (qualitative.edited(domain, inversion, {name: 1.0}) for name in ("size", "colour"))
    no = {"colour": torch.tensor([False])}
    figure = qualitative.show_several([(domain, inversion, size, None), (domain, inversion, colour, no)], ["cars", "cats"])
    first = ["input", "layer map", "inversion"]
    assert [axis.get_title() for axis in figure.axes] == [*first, "size", *first, "colour"]
    assert [figure.axes[r].get_ylabel() for r in (0, 4)] == ["cars", "cats"]
    assert figure.axes[7].texts[0].get_text() == "N/A" and not figure.axes[3].texts


def test_a_change_is_measured_where_it_is_permitted(half):
    domain, inversion = half
    edits = {"size": inversion.images + 0.5, "colour": inversion.images}
    found = qualitative.changes(inversion, edits, {"size": torch.tensor([True]), "colour": torch.tensor([False])})
    assert found == {"size": pytest.approx(0.5, abs=1e-6)}
