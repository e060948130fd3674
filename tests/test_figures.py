import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from samlib import figures
from samlib.images import read_image, to_uint8
from samlib.spaces import stylegan2_spaces

SPACES = stylegan2_spaces(8, {4: 1, 8: 1, 16: 1, 32: 1, 64: 1, 128: 1, 256: 1})


def luminance(colour):
    linear = [(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4) for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_space_has_a_colour_and_later_is_lighter_even_in_grey():
    lightness = [luminance(figures.SPACE_COLOURS[space.name]) ** (1 / 3) for space in SPACES]
    steps = [b - a for a, b in zip(lightness, lightness[1:])]
    assert len(SPACES) == 5 and min(steps) > 0.08


def test_layer_map_image_has_the_colour_of_each_space():
    layer_map = torch.arange(5).reshape(1, 1, 5)
    pixels = to_uint8(figures.layer_map_image(layer_map, SPACES))[0, 0]
    wanted = [[round(255 * c) for c in to_rgb(figures.SPACE_COLOURS[space.name])] for space in SPACES]
    assert pixels.tolist() == wanted


def test_colour_map_batches_as_singles():
    index = torch.randint(0, 5, (3, 4, 6))
    names = ["W+", "F4", "F6", "F8", "F10"]
    batch = figures.layer_map_image(index, names)
    assert torch.equal(batch, torch.cat([figures.layer_map_image(one[None], names) for one in index]))


def test_segment_colours_do_not_depend_on_what_else_is_there():
    assert figures.segment_colours(30)[:4] == figures.segment_colours(4)
    assert len(set(figures.segment_colours(20))) == 20


def test_layer_map_legend_names_every_space_and_its_share():
    layer_map = torch.tensor([[[0, 0, 0, 4]]])
    figure = figures.show_layer_map(layer_map, SPACES, torch.zeros(1, 3, 1, 4))
    labels = [text.get_text().split() for text in figure.legends[0].get_texts()]
    assert labels == [["W+", "75%"], ["F4", "0%"], ["F6", "0%"], ["F8", "0%"], ["F10", "25%"]]
    assert sum(bool(axis.images) for axis in figure.axes) == 2


def test_segments_legend_names_only_what_is_there():
    figure = figures.show_segments(torch.tensor([[[0, 2]]]), classes=("sky", "road", "car"))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["sky", "car"]


def test_error_maps_share_one_scale():
    maps = torch.tensor([0.4, 0.1]).reshape(2, 1, 1).expand(2, 8, 8)
    figure = figures.show_error_maps(maps, ["W+", "F4"], image=torch.zeros(3, 8, 8))
    drawn = [axis.images[0] for axis in figure.axes[1:3]]
    assert all(image.get_clim() == (0, pytest.approx(0.4)) for image in drawn)
    assert [axis.get_title() for axis in figure.axes[1:3]] == ["W+   0.40", "F4   0.10"]


def test_edits_are_a_row_each_sorted_by_strength():
    strip = {strength: torch.full((1, 3, 4, 4), strength / 2) for strength in (2, -2, 0)}
    figure = figures.show_edits({"size": strip, "trees": strip}, original=torch.zeros(3, 4, 4))
    axes = figure.axes
    assert [axis.get_title() for axis in axes[:4]] == ["input", "-2", "0", "+2"]
    assert [axes[0].get_ylabel(), axes[4].get_ylabel()] == ["size", "trees"]
    assert axes[1].images[0].get_array().max() == 0 and axes[3].images[0].get_array().min() == 255


def test_edits_of_different_strengths_say_so_in_every_row():
    def strip(*strengths):
        return {strength: torch.zeros(3, 4, 4) for strength in strengths}

    figure = figures.show_edits({"size": strip(-1, 1), "trees": strip(-2, 2)})
    assert [axis.get_title() for axis in figure.axes] == ["-1", "+1", "-2", "+2"]


def test_grid_breaks_a_row_and_leaves_the_rest_empty():
    figure = figures.grid(torch.zeros(5, 3, 4, 4), columns=3)
    assert [len(axis.images) for axis in figure.axes] == [1, 1, 1, 1, 1, 0]


def test_save_writes_a_picture_and_a_pdf(tmp_path):
    figures.save(figures.grid(torch.zeros(2, 3, 8, 8)), tmp_path / "a.png", pdf=True)
    assert read_image(tmp_path / "a.png").shape[-1] > 100
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pdf", "a.png"]


def test_the_style_does_not_leak_into_the_readers_own_figures():
    before = plt.rcParams["font.size"]
    figures.grid(torch.zeros(1, 3, 4, 4))
    assert plt.rcParams["font.size"] == before


def test_a_pdf_has_pictures_of_256_colours_and_the_figure_keeps_its_own(tmp_path):
    ramp = torch.linspace(-1, 1, 64)
    picture = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64), torch.zeros(64, 64)])  # 4096 colours
    figure = figures.grid(picture[None])
    figures.save(figure, tmp_path / "a.png", pdf=True)
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert np.array_equal(shown, to_uint8(picture).numpy())
    assert b"/Indexed" in (tmp_path / "a.pdf").read_bytes()
    few = figures.few_colours(shown)
    assert len(np.unique(few.reshape(-1, 3), axis=0)) <= 256 and np.abs(few.astype(int) - shown).max() <= 16
