"""Refinement and selection: the reference's choices exactly, hand-computed values, and the laws of masks."""


import numpy as np
import pytest
import torch
from reference import file as reference_file

from samlib import layer_map
from samlib.spaces import stylegan2_spaces

NAMES = ("W+", "F4", "F6", "F8", "F10")
SPACES = stylegan2_spaces(48, {2**i: 8 for i in range(2, 9)})


@pytest.fixture(scope="module")
def reference():
    arrays = np.load(reference_file("stylegan2_tiny_r256.npz"))
    maps = torch.cat([torch.from_numpy(arrays[f"refine/map/{name}"]) for name in NAMES], 1)
    chosen = {tau: torch.from_numpy(arrays[f"refine/tau{tau}"]) for tau in (0.15, 0.25, 0.35)}
    return maps, torch.from_numpy(arrays["refine/segments"])[None], chosen


@pytest.mark.parametrize("tau", [0.15, 0.25, 0.35])
def test_the_selected_spaces_are_the_reference_s(reference, tau):
    maps, segments, chosen = reference
    assert torch.equal(layer_map.select(maps, segments, tau)[0], chosen[tau])


def test_every_image_can_have_its_own_tau(reference):
    maps, segments, chosen = reference
    got = layer_map.select(maps.repeat(3, 1, 1, 1), segments.repeat(3, 1, 1), torch.tensor([*chosen]))
    assert torch.equal(got, torch.stack([*chosen.values()]))


def test_segment_means_by_hand():
    errors = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]], [[0.0, 0.5], [2.0, 4.0]]]])  # two spaces
    segments = torch.tensor([[[9, 9], [9, 10**12]]])  # any numbering
    want = torch.tensor([[[[3.0, 3.0], [3.0, 7.0]], [[5 / 6, 5 / 6], [5 / 6, 4.0]]]])
    torch.testing.assert_close(layer_map.segment_means(errors, segments), want)


def test_selection_by_hand():
    errors = torch.tensor([0.4, 0.225, 0.1]).reshape(1, 3, 1, 1)
    taus = {0.5: 0, 0.4: 0, 0.3: 1, 0.225: 1, 0.2: 2, 0.05: 2}  # at most tau; none: the last
    assert {tau: layer_map.select_per_pixel(errors, tau).item() for tau in taus} == taus


def test_a_batch_is_its_images_one_by_one_also_where_they_share_ids():
    generator = torch.Generator().manual_seed(0)
    errors = torch.rand(3, 4, 16, 24, generator=generator)
    segments = torch.randint(5, (3, 16, 24), generator=generator) * torch.tensor([1, 1, 7])[:, None, None]
    tau = torch.tensor([0.45, 0.5, 0.49])
    singles = [layer_map.select(errors[i : i + 1], segments[i : i + 1], float(tau[i])) for i in range(3)]
    assert torch.equal(layer_map.select(errors, segments, tau), torch.cat(singles))
    assert len(torch.cat(singles).unique()) > 1


def test_refinement_makes_segments_uniform_and_the_ablation_does_not():
    errors = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    segments = torch.arange(16)[None, :, None].expand(1, 16, 16) // 4
    refined = layer_map.select(errors, segments, 0.5)
    assert all(len(refined[segments == i].unique()) == 1 for i in range(4))
    assert len(layer_map.select_per_pixel(errors, 0.5)[segments == 0].unique()) > 1


def test_spaces_per_segment_by_hand():
    segments = torch.tensor([[[3, 3, 3, 3], [8, 8, 8, 8]]]).repeat(2, 1, 1)
    chosen = torch.tensor([[[0, 1, 2, 2], [4, 4, 4, 4]], [[0, 0, 0, 0], [1, 1, 1, 0]]])
    assert layer_map.spaces_per_segment(chosen, segments).tolist() == [2.0, 1.5]  # (3 + 1) / 2 and (1 + 2) / 2
    assert layer_map.spaces_per_segment(chosen, segments, least=0.3).tolist() == [1.0, 1.0]  # a quarter is too little
    with pytest.raises(ValueError, match="want equal shapes"):
        layer_map.spaces_per_segment(chosen, segments[:1])


def test_refinement_leaves_one_space_for_each_segment():
    errors = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    segments = torch.arange(16)[None, :, None].expand(2, 16, 16) // 4
    assert layer_map.spaces_per_segment(layer_map.select(errors, segments, 0.5), segments).tolist() == [1.0, 1.0]
    assert (layer_map.spaces_per_segment(layer_map.select_per_pixel(errors, 0.5), segments) > 2).all()


def test_a_larger_tau_never_chooses_a_later_space():
    errors = torch.rand(1, 5, 16, 16, generator=torch.Generator().manual_seed(0))
    maps = [layer_map.select_per_pixel(errors, tau) for tau in (0.1, 0.2, 0.4, 0.8)]
    assert all((a >= b).all() for a, b in zip(maps, maps[1:]))
    assert (maps[0] > maps[-1]).any()


def test_classes_as_the_map():
    segments = torch.tensor([[[0, 4], [7, 2]]])
    assert layer_map.from_classes(segments, {4, 7}, outside=2).tolist() == [[[2, 0], [0, 2]]]


def test_masks_by_hand():
    space = torch.zeros(1, 64, 64, dtype=torch.long)
    space[:, :, 32:] = 1  # F4 on the right half: both halves align with its 16 cells
    space[:, :4, :4] = 2
    masks = layer_map.masks(space, SPACES)
    assert list(masks) == ["F4", "F6", "F8", "F10"]
    assert masks["F4"].shape == (1, 1, 16, 16) and masks["F10"].shape == (1, 1, 128, 128)
    assert masks["F4"][..., 9:].min() == 1 and masks["F4"][..., :7].max() == 0
    assert masks["F6"][0, 0, 0, 0] > 0.9 and masks["F6"][0, 0, 4:].max() == 0
    assert masks["F8"].max() == masks["F10"].max() == 0


def test_a_stripe_of_one_pixel_weighs_in_every_cell_that_a_triangle_around_it_reaches():
    """Antialiased: four pixels a cell, so the filter is a triangle from 4 pixels before a cell's middle to 4 after it. Column 5 is
    3.5, 0.5 and 4.5 from the middles of cells 0 to 2; of cell 1, whose eight weights (1, 3, 5, 7, 7, 5, 3, 1) / 8 add up to 4, it
    gets 7 / 32; of cell 0, cut at the border to six that add up to 3.5, 1 / 28."""
    space = torch.zeros(1, 64, 64, dtype=torch.long)
    space[:, :, 5] = 1
    found = layer_map.masks(space, SPACES)["F4"]
    want = torch.zeros(16)
    want[:2] = torch.tensor([1 / 28, 7 / 32])
    torch.testing.assert_close(found, want.expand(1, 1, 16, 16))


@pytest.mark.parametrize("size", [37, 64, 256])
def test_masks_share_out_every_cell(size):
    space = torch.randint(5, (2, size, size), generator=torch.Generator().manual_seed(0))
    equal = [s.__class__(s.name, 32, 8, s.layer) for s in SPACES]  # all at one size, so that they can be added
    total = sum(layer_map.masks(space, tuple(equal)).values())
    torch.testing.assert_close(total, torch.ones_like(total))


def test_a_uniform_map_is_one_space_everywhere():
    masks = layer_map.masks(layer_map.uniform(2, 64, 3), SPACES)
    assert masks["F8"].min() == 1 and all(masks[name].max() == 0 for name in ("F4", "F6", "F10"))


def test_bad_input_says_what_was_got_and_wanted():
    errors, segments = torch.rand(2, 5, 8, 8), torch.zeros(2, 8, 8, dtype=torch.long)
    for call, words in (
        (lambda: layer_map.select(errors[0], segments, 0.2), "N, S, H, W"),
        (lambda: layer_map.select(errors, segments[:1], 0.2), "(2, 8, 8)"),
        (lambda: layer_map.select(errors, segments.float(), 0.2), "integer ids"),
        (lambda: layer_map.select(errors, segments, torch.rand(3)), "each of 2 images"),
        (lambda: layer_map.masks(torch.zeros(1, 8, 6, dtype=torch.long), SPACES), "(1, 8, 6)"),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        assert words in str(caught.value) and "\n" not in str(caught.value)
