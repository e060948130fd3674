"""Measured edits on the tiny domain: the laws of a change, of what else changed, and of where a direction is concerned."""

from dataclasses import replace

import pytest
import torch

from samlib import edit_measures, kept
from samlib.directions import allowed_in, sample_w
from samlib.scenes import FACTORS, SEGMENTS
from samlib.training.category import change_asked
from samlib.training.factors import FactorRegressor


@pytest.fixture()
def cars(tiny):
    """The tiny domain under the name of a category, an inversion of it, and an untrained regressor."""
    tiny.name = "cars"
    torch.manual_seed(0)
    regressor = FactorRegressor(FACTORS["cars"], channels=(4, 4, 4, 4, 4), hidden=8).eval()
    inversion = tiny.invert(torch.rand(2, 3, 64, 64) * 2 - 1, "w+", steps=1, progress=False)
    return tiny, regressor, inversion


def test_no_edit_changes_nothing_and_one_does(cars):
    domain, regressor, inversion = cars
    segments = torch.zeros(2, 64, 64, dtype=torch.long)
    still = edit_measures.effect(domain, regressor, inversion, "size", 1e-9, segments)
    assert still["rest"].max() < 1e-5
    found = edit_measures.effect(domain, regressor, inversion, "size", 2.0, segments)
    want = (found["images"] - inversion.images).abs().mean((1, 2, 3))
    torch.testing.assert_close(found["rest"], want)  # no car in the picture: all of it is the rest
    assert found["change"].shape == (2,) and found["change"].abs().min() > 0


def test_the_part_that_an_edit_is_about_is_no_rest(cars):
    domain, regressor, inversion = cars
    everywhere = torch.full((2, 64, 64), SEGMENTS["cars"].index("car"))
    assert edit_measures.effect(domain, regressor, inversion, "size", 2.0, everywhere)["rest"].tolist() == [0, 0]


def test_parts_of_a_set_give_what_the_whole_gives(cars):
    domain, regressor, two = cars
    inversion, segments = kept.joined([two, two[:1]]), torch.arange(3)[:, None, None].expand(3, 64, 64)
    for reader in (regressor, None):
        whole, parts = (edit_measures.effect(domain, reader, inversion, "size", 2.0, segments, batch) for batch in (3, 2))
        assert whole.keys() == parts.keys() == {"images", "change", "rest"}
        for name, value in whole.items():
            torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=1e-4)
    step = domain.directions["size"]
    torch.testing.assert_close(edit_measures.whole_edit(domain, inversion.w_plus, step, batch=2),
                               edit_measures.whole_edit(domain, inversion.w_plus, step), rtol=1e-3, atol=1e-4)


def test_where_directions_are_concerned():
    ids = SEGMENTS["cars"]
    segments = torch.tensor([[[ids.index("tree"), ids.index("wheel")]]])
    assert edit_measures.concerned("cars", "trees", segments).tolist() == [[[True, False]]]
    assert edit_measures.concerned("cars", "size", segments).tolist() == [[[False, True]]]


def test_what_is_left_in_each_space_is_what_allowed_in_says(cars):
    domain, regressor, _ = cars
    left = edit_measures.left_in_spaces(domain, regressor, ["size", "trees"], images=2, seed=1)
    w = sample_w(domain.generator, 2, 1)
    for name, row in left.items():
        asked = change_asked("cars", name, regressor.names)
        want = allowed_in(domain.generator, regressor, w, domain.directions[name], asked)
        assert row == pytest.approx(want, rel=1e-3, abs=1e-3)
    assert left["size"]["W+"] == 1 and left["size"]["F4"] == 0  # its rows end before the first that F4 leaves


def test_ticks():
    assert edit_measures.works_in({"a": {"W+": 1.0, "F4": 0.5, "F6": 0.4}}) == {"a": [True, True, False]}
    assert edit_measures.works_in({"a": {"W+": 1.0, "F4": 0.5}}, least=0.6) == {"a": [True, False]}


def test_without_factors_an_edit_goes_as_far_as_the_picture_changes_in_its_way(tiny):
    assert edit_measures.regressor_of(tiny) is None
    w_plus = tiny.generator.mapping(torch.randn(2, tiny.generator.z_dim, generator=torch.Generator().manual_seed(0)))
    alone = replace(tiny.invert(torch.zeros(2, 3, 64, 64), "w+", steps=0, progress=False), w_plus=w_plus,
                    images=tiny.generator.synthesis(w_plus, noise="none").clamp(-1, 1))
    found = edit_measures.effect(tiny, None, alone, "size", 1.0)
    torch.testing.assert_close(found["change"], torch.ones(2))  # no feature holds it back
    assert "rest" not in found  # no true segments
    late = tiny.invert(alone.images, "F4", steps=1, progress=False)  # after the last row of size
    assert edit_measures.effect(tiny, None, late, "size", 1.0)["change"].abs().max() < 1e-5


def test_without_factors_what_is_left_is_of_the_picture(tiny):
    left = edit_measures.left_in_spaces(tiny, None, ["size", "trees"], images=2)
    assert list(left["size"]) == ["W+", "F4", "F6"] and left["size"]["W+"] == pytest.approx(1) and left["size"]["F4"] == 0
    assert list(edit_measures.left_in_spaces(tiny, None, ["size"], spaces=["W+", "F4"])["size"]) == ["W+", "F4"]


def test_along():
    way = torch.tensor([[1.0, 0.0], [0.0, 2.0]])[:, :, None, None]
    change = torch.tensor([[0.5, 3.0], [1.0, -2.0]])[:, :, None, None]
    assert edit_measures.along(change, way).tolist() == [0.5, -1.0]
