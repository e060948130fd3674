"""Edits of an inversion (Sec. 3.4): zero changes nothing, a segment follows after its space, a region confines."""

import pytest
import torch
from tiny import TinyMetric, tiny_generator

from samlib.edit import acts_in, combine, edit, sweep
from samlib.inversion import Inversion
from samlib.layer_map import masks as masks_of
from samlib.layer_map import uniform
from samlib.objective import Weights
from samlib.optimize import optimize

F4, F6 = 5, 7  # first rows after these spaces


@pytest.fixture(scope="module")
def generator():
    return tiny_generator()


@pytest.fixture(scope="module")
def inversion(generator):
    """Two images; the left half of each in F4, a quarter of the second in F6."""
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) - 0.5
    maps = uniform(2, 64, 0)
    maps[:, :, :32] = 1
    maps[1, 32:, 32:] = 2
    weights = Weights(gaussian=0)
    return optimize(generator, images, masks_of(maps, generator.spaces), TinyMetric(), steps=5, weights=weights,
                    progress=False)


@pytest.fixture(scope="module")
def directions():
    torch.manual_seed(3)
    early, late = 2 * torch.randn(2, 10, 12)
    early[F4:], late[:F6] = 0, 0
    return {"early": early, "late": late, "both": early + late}


def close(a, b, tolerance=1e-5):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_zero_strength_gives_the_inversion(generator, inversion, directions):
    close(edit(generator, inversion, directions, {"early": 0.0, "late": 0}), inversion.images)
    close(edit(generator, inversion, directions, {}), inversion.images)
    assert not torch.allclose(edit(generator, inversion, directions, {"late": 1.0}), inversion.images, atol=1e-2)


def test_directions_add_up(generator, inversion, directions):
    both = edit(generator, inversion, directions, {"both": 0.7})
    close(edit(generator, inversion, directions, {"early": 0.7, "late": 0.7}), both)


def test_every_image_can_have_its_own_strength(generator, inversion, directions):
    batch = edit(generator, inversion, directions, {"early": torch.tensor([1.0, -0.5]), "late": 0.5})
    for i, strength in enumerate((1.0, -0.5)):
        close(batch[i : i + 1], edit(generator, inversion[i], directions, {"early": strength, "late": 0.5}))


def test_a_sweep_is_one_edit_after_another(generator, inversion, directions):
    strengths = [{"early": -1.0}, {}, {"early": 1.0, "late": torch.tensor([0.5, 1.0])}]
    images = sweep(generator, inversion, directions, strengths)
    assert images.shape == (3, 2, 3, 64, 64)
    for got, chosen in zip(images, strengths):
        close(got, edit(generator, inversion, directions, chosen))


def test_w_plus_alone_is_the_generator_at_the_edited_code(generator, directions):
    w_plus = torch.randn(2, 10, 12)
    with torch.no_grad():
        plain = Inversion(w_plus, generator.synthesis(w_plus, noise="none").clamp(-1, 1))
        want = generator.synthesis(w_plus + directions["both"], noise="none").clamp(-1, 1)
    close(edit(generator, plain, directions, {"both": 1.0}), want)


def without_early_rgb():
    """A generator whose image comes from its last block alone: earlier rows change nothing but features."""
    generator = tiny_generator()
    with torch.no_grad():
        for resolution in (4, 8, 16, 32):
            getattr(generator.synthesis_network, f"b{resolution}").torgb.weight.zero_()
    return generator


def test_in_a_segment_only_the_rows_after_its_space_have_effect(directions):
    generator = without_early_rgb()
    maps = uniform(1, 64, 0)
    maps[:, :, :32] = 2  # the left half in F6
    masks = masks_of(maps, generator.spaces)
    w_plus, deltas = torch.randn(1, 10, 12), {"F6": torch.randn(1, 6, 32, 32)}
    with torch.no_grad():
        images = generator.synthesis(w_plus, deltas, masks, "none").clamp(-1, 1)
    inversion = Inversion(w_plus, images, deltas, {"F6": masks["F6"]})
    early = (edit(generator, inversion, directions, {"early": 1.0}) - images).abs()
    late = (edit(generator, inversion, directions, {"late": 1.0}) - images).abs()
    inside, outside = (..., slice(None, 24)), (..., slice(40, None))  # clear of the soft border
    assert early[inside].max() < 1e-5 and early[outside].mean() > 1e-3
    assert late[inside].mean() > 1e-3 and late[outside].mean() > 1e-3


def test_no_ghost_of_what_does_not_reach_a_segment(generator, inversion, directions):
    """As `early` ends before F4, a segment in F4 or F6 stays as it is; as published, early ToRGBs show the edit in it."""
    masks = {"F4": torch.ones(2, 1, 16, 16), "F6": torch.zeros(2, 1, 32, 32)}
    whole = Inversion(inversion.w_plus, inversion.images, inversion.deltas, masks)
    with torch.no_grad():
        images = generator.synthesis(whole.w_plus, whole.deltas, whole.masks, "none").clamp(-1, 1)
    assert (edit(generator, whole, directions, {"early": 1.0}, published=True) - images).abs().mean() > 1e-3
    close(edit(generator, whole, directions, {"early": 1.0}), images)
    close(sweep(generator, whole, directions, [{"early": 1.0}, {"late": 1.0}])[0], images)
    assert (edit(generator, whole, directions, {"late": 1.0}) - images).abs().mean() > 1e-3


def test_a_region_confines_an_edit(generator, inversion, directions):
    region = torch.zeros(2, 64, 64)
    region[0, :, 40:], region[1, :20] = 1, 1
    everywhere = edit(generator, inversion, directions, {"both": 1.0})
    confined = edit(generator, inversion, directions, {"both": 1.0}, region)
    change, outside = (confined - inversion.images).abs().mean(1), region == 0
    assert change[outside].max() < 1e-6
    assert change[region == 1].mean() > 0.3 * (everywhere - inversion.images).abs().mean(1)[region == 1].mean()


def test_a_region_of_ones_is_no_region_and_of_zeros_no_edit(generator, inversion, directions):
    ones, zeros = torch.ones(2, 64, 64), torch.zeros(2, 64, 64)
    everywhere = edit(generator, inversion, directions, {"both": 1.0})
    close(edit(generator, inversion, directions, {"both": 1.0}, ones), everywhere)
    close(edit(generator, inversion, directions, {"both": 1.0}, zeros), inversion.images)
    regions = torch.stack([ones[0], zeros[0]])
    swept = sweep(generator, inversion, directions, [{"both": 1.0}, {"both": -1.0}], regions)
    close(swept[0, 0], everywhere[0])
    close(swept[1, 1], inversion.images[1])


def test_the_table_of_what_acts_where(generator, directions):
    color = torch.zeros(10, 12)
    color[F6, 0] = 1
    assert acts_in(directions["early"], generator.spaces) == [True, False, False]
    assert acts_in(color, generator.spaces) == [True, True, True]
    assert acts_in(torch.zeros(10, 12), generator.spaces) == [False, False, False]
    middle = torch.zeros(10, 12)
    middle[F4] = 1
    assert acts_in(middle, generator.spaces) == [True, True, False]


def test_bad_input_says_what_was_got_and_wanted(generator, inversion, directions):
    for call, words in (
        (lambda: edit(generator, inversion, directions, {"size": 1}), "no direction size; there are both, early, late"),
        (lambda: combine(directions, {"early": torch.ones(3)}, 2), "each of 2 images"),
        (lambda: edit(generator, inversion, directions, {}, torch.ones(1, 64, 64)), "(2, H, W)"),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        assert words in str(caught.value)
