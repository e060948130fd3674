import json
import math

import numpy as np
import pytest
import torch
from reference import file as reference_file

from samlib.invertibility import LITE, Base, Head, InvertibilityPredictor, LiteBackbone, load_predictor

SPACES = ("W+", "F4", "F6", "F8", "F10")


def small(**settings) -> InvertibilityPredictor:
    torch.manual_seed(0)
    return InvertibilityPredictor(SPACES, **{"width": 8, "decoder": 16, "low_reduced": 8, **settings}).eval()


def filled(shapes: dict) -> dict:
    """The weights that the parity fixture was made with (its README has the rule)."""
    state = {}
    for j, name in enumerate(sorted(shapes)):
        shape = shapes[name]
        count = math.prod(shape)
        s = torch.sin(0.7 * torch.arange(count, dtype=torch.float64) + j).reshape(shape)
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros(shape, dtype=torch.long)
        elif len(shape) >= 2:
            state[name] = s * math.sqrt(2 / (count / shape[0]))
        elif name.endswith("running_var"):
            state[name] = 1 + 0.5 * s.abs()
        elif name.endswith(("running_mean", "bias")):
            state[name] = 0.1 * s
        else:
            state[name] = 1 + 0.1 * s
    return {name: tensor if tensor.dtype == torch.long else tensor.float() for name, tensor in state.items()}


@pytest.fixture(scope="module")
def published():
    keys = json.loads(reference_file("predictor_r101_keys.json").read_text())
    checkpoint = {name: filled(shapes) for name, shapes in keys.items()}
    return InvertibilityPredictor.published(("W+",)).eval().load_published(checkpoint)


@torch.inference_mode()
def test_published_predictor_matches_the_reference(published):
    expected = np.load(reference_file("predictor_r101.npz"))
    image = torch.sin(0.013 * torch.arange(3 * 64 * 96, dtype=torch.float64)).float().reshape(1, 3, 64, 96)
    base = published.sd_base(image)
    for got, name in ((base, "base"), (published.heads["W+"](base), "head"), (published(image), "head")):
        want = torch.from_numpy(expected[name])
        assert (got - want).abs().max() <= 1e-4 * want.abs().max(), name


@torch.inference_mode()
def test_a_published_file_is_read_as_data_and_matches_the_reference(published, tmp_path):
    heads = {"W+": published.heads["W+"].state_dict()}
    torch.save({"sd_base": published.sd_base.state_dict(), **heads}, tmp_path / "invertibility.pt")
    loaded = load_predictor(tmp_path / "invertibility.pt")
    assert loaded.config == published.config and not loaded.training
    expected = torch.from_numpy(np.load(reference_file("predictor_r101.npz"))["head"])
    image = torch.sin(0.013 * torch.arange(3 * 64 * 96, dtype=torch.float64)).float().reshape(1, 3, 64, 96)
    assert (loaded(image) - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_published_checkpoint_with_other_spaces_or_shapes_is_refused(published):
    good = {"sd_base": published.sd_base.state_dict(), "W+": published.heads["W+"].state_dict()}
    with pytest.raises(ValueError, match="F99"):
        published.load_published({**good, "F99": good["W+"]})
    with pytest.raises(ValueError, match="m.3.weight"):
        published.load_published({**good, "W+": {k: v for k, v in good["W+"].items() if k != "m.3.weight"}})
    with pytest.raises(ValueError, match="m.0.weight"):
        published.load_published({**good, "W+": {**good["W+"], "m.0.weight": torch.zeros(8, 4, 1, 1)}})


@torch.inference_mode()
def test_one_nonnegative_map_per_space_at_the_size_of_the_image():
    predictor = small()
    for height, width in ((32, 32), (64, 96), (75, 50)):
        maps = predictor(torch.randn(2, 3, height, width))
        assert maps.shape == (2, 5, height, width) and maps.min() >= 0


@torch.inference_mode()
def test_a_batch_gives_what_single_images_give():
    predictor, images = small(), torch.randn(3, 3, 48, 64)
    singles = torch.cat([predictor(image[None]) for image in images])
    torch.testing.assert_close(predictor(images), singles, rtol=1e-4, atol=1e-5)


def test_base_sees_at_a_sixteenth():
    low, high = small().sd_base.backbone(torch.randn(1, 3, 64, 128))
    assert low.shape[2:] == (16, 32) and high.shape[2:] == (4, 8)


@pytest.mark.parametrize("backbone", ["resnet18", LITE])
def test_built_in_size_stays_small(backbone):
    parameters = sum(p.numel() for p in InvertibilityPredictor(SPACES, backbone).parameters())
    assert 3e6 < parameters < 6.5e6


@torch.inference_mode()
def test_efficientnet_is_the_packages_own_up_to_its_last_stage_which_keeps_its_size():
    from efficientnet_lite_pytorch import EfficientNet

    torch.manual_seed(0)
    network = EfficientNet.from_name(LITE).eval()
    image, state = torch.randn(1, 3, 64, 128), {name: value.clone() for name, value in network.state_dict().items()}
    x, seen = torch.nn.functional.relu6(network._bn0(network._conv_stem(image))), []
    for block in network._blocks[:11]:
        x = block(x)
        seen.append(x)
    backbone = LiteBackbone(network).eval()
    low, high = backbone(image)
    assert torch.equal(low, seen[2]) and torch.equal(backbone.layer3(backbone.layer2(low)), seen[10])
    assert low.shape == (1, 24, 16, 32) and high.shape == (1, 320, 4, 8)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())  # the weights of the last stage, too
    predictor = InvertibilityPredictor(SPACES, LITE, decoder=16, low_reduced=8, backbone_state=backbone.state_dict()).eval()
    assert torch.equal(predictor.sd_base.backbone(image)[1], high)
    assert predictor(torch.randn(1, 3, 75, 50)).shape == (1, 5, 75, 50)


def test_backbone_state_is_taken_and_its_classifier_ignored():
    torch.manual_seed(1)
    other = small()
    state = {**other.sd_base.backbone.state_dict(), "fc.weight": torch.zeros(1)}
    predictor = small(backbone_state=state)
    assert torch.equal(predictor.sd_base.backbone.conv1.weight, other.sd_base.backbone.conv1.weight)


@torch.inference_mode()
def test_save_and_load_round_trip(tmp_path):
    predictor, images = small(), torch.randn(1, 3, 64, 64)
    path = predictor.save(tmp_path / "predictor.safetensors", metric="st-lpips-vgg")
    loaded = InvertibilityPredictor.load(path)
    torch.testing.assert_close(loaded(images), predictor(images), rtol=1e-2, atol=1e-2)
    again = InvertibilityPredictor.load(loaded.save(tmp_path / "again.safetensors"))
    assert torch.equal(again(images), loaded(images))
    assert loaded.spaces == SPACES and loaded.metadata["metric"] == "st-lpips-vgg"
    assert not list(tmp_path.glob("*.tmp"))


def test_wrong_input_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"\(3, 64, 64\)"):
        small()(torch.zeros(3, 64, 64))
    with pytest.raises(ValueError, match="resnet9"):
        InvertibilityPredictor(SPACES, backbone="resnet9")
    (tmp_path / "x.safetensors").write_bytes(b"not weights")
    with pytest.raises(ValueError, match="x.safetensors"):
        InvertibilityPredictor.load(tmp_path / "x.safetensors")


def test_keys_of_base_and_head_are_the_published_ones(published):
    keys = json.loads(reference_file("predictor_r101_keys.json").read_text())
    assert {k: list(v.shape) for k, v in published.sd_base.state_dict().items()} == keys["sd_base"]
    assert {k: list(v.shape) for k, v in Head().state_dict().items()} == keys["W+"]
    assert isinstance(published.sd_base, Base)
