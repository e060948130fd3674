"""What the figures of the paper measure and draw, on a domain of random weights."""

import pytest
import torch

from samlib import architecture, paper_figures


@pytest.fixture()
def inversion(tiny):
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    layer_map = torch.arange(64).div(22, rounding_mode="floor").expand(64, 64)  # three upright parts, one in each space
    return tiny.invert(x, layer_map=layer_map, steps=2, progress=False)


def test_an_image_is_formed_by_the_changes_one_after_the_other(tiny, inversion):
    formed = paper_figures.formation(tiny.generator, inversion)
    assert list(formed) == ["W+", "F4", "F6"]
    assert torch.equal(formed["F6"].image, inversion.images)
    alone = tiny.generator.synthesis(inversion.w_plus, noise=inversion.noise).clamp(-1, 1)
    assert torch.equal(formed["W+"].image, alone) and not formed["W+"].change.any()
    for one in (formed["F4"], formed["F6"]):
        assert one.change.any() and not (one.change * (one.mask == 0)).any()
    assert sum(one.mask.mean() for one in formed.values()) == pytest.approx(1, abs=1e-3)


def test_the_formation_can_be_drawn(tiny, inversion):
    formed = paper_figures.formation(tiny.generator, inversion)
    figure = paper_figures.show_formation(formed, inversion.images, dict.fromkeys(formed, 20.0), inversion.images)
    assert [axis.get_title() for axis in figure.axes[:3]] == ["W+   16 ch, 4 px", "F4   8 ch, 16 px", "F6   8 ch, 32 px"]
    last = figure.axes[len(formed)::len(formed) + 1]
    assert last[0].get_title() == "layer map" and last[4].get_xlabel() == "input" and not any(axis.images for axis in last[1:4])


def test_a_feature_is_drawn_by_what_varies_most():
    x = torch.zeros(1, 5, 4, 4)
    x[:, 2, :2] = 1  # one channel alone varies
    image = paper_figures.feature_image(x)
    assert image.shape == (1, 3, 4, 4) and image[0, 0, :2].min() > image[0, 0, 2:].max()
    assert torch.equal(paper_figures.feature_image(x, x), image)


def test_an_edit_works_that_goes_half_as_far_as_in_the_first_space():
    moved = {"W+": {"size": 1.0, "red": 0.1, "pose": -1.0}, "F4": {"size": 0.6, "red": 0.3, "pose": 0.1},
             "F6": {"size": 0.4, "red": 0.1, "pose": 0.0}}
    works = paper_figures.verdicts(moved)
    assert works["W+"] == {"size": True, "red": False, "pose": False}
    assert works["F4"] == {"size": True, "red": True, "pose": False} and not any(works["F6"].values())


def test_the_tradeoff_has_a_row_a_space(inversion):
    x = inversion.images
    edited = {space: {"size": x, "red": x} for space in ("W+", "F4")}
    works = {"W+": {"size": True, "red": True}, "F4": {"size": False, "red": True}}
    figure = paper_figures.show_tradeoff(x, dict.fromkeys(edited, x), edited, {"W+": 15.0, "F4": 18.0}, works, {"size": "size -2"})
    assert [axis.get_title() for axis in figure.axes[:4]] == ["input", "inversion", "size -2", "red"]
    assert len(figure.axes) == 2 * 4 + 1 and [bar.get_width() for bar in figure.axes[-1].patches] == [15.0, 18.0]


def test_the_architecture_is_read_off_the_network(tiny):
    figure, parts = architecture.show_predictor(tiny.predictor, torch.zeros(1, 3, 64, 64))
    assert parts["base"].shape == (8, 64, 64)
    assert [part.name for part in parts["heads"]] == ["heads.W+", "heads.F4", "heads.F6"]
    assert parts["heads"][0].weights == (8 * 9 + 1) * 4 + 2 * 4 + 4 + 1  # two convolutions with bias, and BatchNorm
    assert [part.name.split(".")[-1] for part in parts["backbone"]] == ["conv1", "layer1", "layer2", "layer3", "layer4"]
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"head W+", "head F4", "head F6"} <= set(texts)


def test_the_teaser_has_a_row_a_method(tiny, inversion):
    x, edits = inversion.images, {"size": inversion.images, "trees": inversion.images}
    inversions, edited = {"W+": inversion, "SAM": inversion}, {"W+": edits, "SAM": edits}
    figure = paper_figures.show_teaser(x, inversions, edited, tiny.spaces, {"W+": 1.0, "SAM": 2.0})
    assert len(figure.axes) == 2 * 5 and figure.axes[5].get_ylabel() == "SAM\n2.0 dB"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["W+", "F4", "F6"]


def test_the_error_that_s_learns_is_none_where_the_inversion_is_the_image(tiny):
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    changed = x.clone()
    changed[1, :, 32:] = 0
    errors = paper_figures.error_maps(tiny.metric, changed, x)
    assert errors.shape == (2, 64, 64) and errors[0].abs().max() < 1e-6
    assert errors[1, 40:].mean() > 2 * errors[1, :24].mean()


def test_the_use_of_s_is_drawn_space_by_space(tiny, inversion):
    x = inversion.images
    found = tiny.predict(x)
    errors = {"W+": torch.rand(1, 64, 64), "F6": torch.rand(1, 64, 64)}
    figure = paper_figures.show_predictor_use(x, dict.fromkeys(errors, x), errors, found, found["error_maps"], tiny.spaces)
    assert len(figure.axes) == 2 * 5 + 1 + 2 and figure.axes[5].get_ylabel() == "F6"
    bar = figure.axes[2 * 5]
    assert bar.get_ylabel() == "error" and bar.get_ylim() == (0, max(float(error.max()) for error in errors.values()))
