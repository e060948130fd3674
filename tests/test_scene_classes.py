"""Classes of scenes: what they leave to chance stays uniform, what they fix shows, and shared numbers share an entry of z."""

import pytest
import torch

from samlib.scenes import codes, render
from samlib.scenes.categories import MODULES, SEGMENTS
from samlib.scenes.classes import CLASSES, Variant, all_segments, columns, common_factors, in_turn, module_of, names, numbers
from samlib.scenes.draw import Draw


def test_the_classes_there_are_have_a_category_and_its_factors():
    assert {"sedan", "van", "truck"} <= {*names()} <= {*CLASSES}
    for name in names():
        kind = CLASSES[name]
        assert {*kind.ranges} <= {*MODULES[kind.category].FACTORS}
        assert all(0 <= low < high <= 1 for low, high in kind.ranges.values())


def test_the_numbers_are_named_by_the_factor_they_decide():
    found = numbers("cars")
    assert found[:2] == (("size", 0), ("wheel_type", 0))
    assert [key for key in found if key[0] == "pose"] == [("pose", 0), ("pose", 1)]  # the bearing and its sign
    assert [key for key in found if key[0] == "red"] == [("red", i) for i in range(4)]  # kind, hue, strength, value
    assert len({*found}) == len(found)


def test_a_range_holds_for_the_factor_and_only_for_it():
    table = torch.rand(200, 160, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plain, _ = MODULES["cars"].sample(Draw(table))
    van, _ = module_of("van").sample(Draw(table))
    low, high = MODULES["cars"].FACTORS["tail"]
    assert van["tail"].min() >= low + 0.85 * (high - low) and van["tail"].max() <= high
    torch.testing.assert_close(van["tail"], low + (high - low) * 0.85 + 0.15 * (plain["tail"] - low))
    changed = {name for name in plain if not torch.equal(plain[name], van[name])}
    assert changed == {*CLASSES["van"].ranges}


def test_codes_are_uniform_still_and_the_picture_s_own():
    numbers_of, meaning = codes("van", 3, range(500))
    assert (numbers_of.mean(0) - 0.5).abs().max() < 0.08 and len(meaning) == 500
    column = numbers("cars").index(("tail", 0))
    torch.testing.assert_close(render("van", 3, range(4), 16).factors["tail"].double(), 0.85 + 0.15 * numbers_of[:4, column],
                               rtol=1e-5, atol=1e-6)


def test_params_are_set_after_all_else():
    kind = CLASSES["truck"]
    module = Variant(kind)
    factors, own = module.sample(Draw(torch.full((2, 160), 0.5, dtype=torch.float64)))
    u = Draw(torch.full((2, 160), 0.5, dtype=torch.float64))
    module.sample(u)
    p = module.settings(u, factors, own)
    assert p.slope.eq(0.05).all() and p.fall.eq(-0.3).all() and torch.equal(p.heel, p.cowl - 1.5)


def test_a_statue_has_the_colour_of_stone_all_over():
    def chroma(name):
        drawn = render(name, 5, range(3), 48)
        head = drawn.segments.ne(SEGMENTS["faces"].index("background"))
        return (drawn.images.amax(1) - drawn.images.amin(1))[head].mean()

    assert chroma("statue") < 0.5 * chroma("face")


def test_classes_draw_different_pictures_and_a_category_is_as_before():
    one, two = render("sedan", 0, range(2), 32), render("van", 0, range(2), 32)
    assert one.images.shape == (2, 3, 32, 32) and not torch.equal(one.images, two.images)
    again = render("van", 0, [1], 32)
    torch.testing.assert_close(again.images[0], two.images[1])
    assert module_of("cars") is MODULES["cars"]


def test_columns_are_distinct_and_shared_by_name():
    found, count = columns(names())
    for name, index in found.items():
        assert len(index) == codes(name, 0, [0])[0].shape[1] == len(index.unique()) and 0 <= index.min() and index.max() < count
    assert torch.equal(found["sedan"], found["truck"])
    categories = {CLASSES[name].category: name for name in names()}
    for a in categories:
        for b in categories:
            for key in {*numbers(a)} & {*numbers(b)}:
                if key[0]:
                    assert found[categories[a]][numbers(a).index(key)] == found[categories[b]][numbers(b).index(key)]


def test_classes_in_turn_are_their_own_scenes_with_one_numbering_of_segments():
    classes = ["van", "horse", "face"]
    found = in_turn(classes, 3, range(2, 6), 32, challenging=True)
    there = all_segments(classes)
    assert {*found.factors} == {*common_factors(classes)} and "pose" in found.factors
    for place, index in enumerate(range(2, 6)):
        name = classes[index % 3]
        one = render(name, 3, [index], 32, challenging=True)
        torch.testing.assert_close(found.images[place], one.images[0])
        assert found.factors["pose"][place] == one.factors["pose"][0]
        own = SEGMENTS[CLASSES[name].category]
        assert [there[i] for i in found.segments[place].flatten()] == [own[i] for i in one.segments.flatten()]


def test_an_unknown_name_is_told_all_there_are():
    with pytest.raises(ValueError, match="cars.*sedan"):
        render("tank", 0, [0])
