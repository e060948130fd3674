"""The pSp and e4e encoders: reference outputs, loading by key, checkpoints as data."""

import argparse
import json

import numpy as np
import pytest
import torch
from reference import file as reference_file

from samlib.checkpoints import CheckpointError
from samlib.irse import Encoder, from_arrays, load_encoder

SMALL = dict(codes=8, widths=(16, 16, 16, 16))


def filled(shapes: dict) -> dict:
    """Arrays of `shapes` (name -> shape) by the rule of the reference numbers."""
    arrays = {}
    for j, name in enumerate(sorted(shapes)):
        s = np.sin(0.7 * np.arange(int(np.prod(shapes[name])), dtype=np.float64) + j).reshape(shapes[name])
        if name.endswith("num_batches_tracked"):
            arrays[name] = np.zeros(shapes[name], np.int64)
            continue
        if len(shapes[name]) >= 2:
            s *= np.sqrt(2 / (s.size / s.shape[0]))
        elif name.endswith("running_var"):
            s = 1 + 0.5 * abs(s)
        elif name.endswith(("bias", "running_mean")):
            s *= 0.1
        else:
            s = 1 + 0.1 * s
        arrays[name] = s.astype(np.float32)
    return arrays


@pytest.fixture(scope="module")
def published():
    return filled(json.loads(reference_file("e4e_256_keys.json").read_text()))


@pytest.mark.parametrize("kind", ["e4e", "psp"])
def test_codes_match_the_reference(kind, published):
    keys = json.loads(reference_file(f"{kind}_256_keys.json").read_text())
    assert {name: list(array.shape) for name, array in published.items()} == keys
    encoder = from_arrays(dict(published), kind)
    image = torch.sin(0.013 * torch.arange(3 * 256 * 256, dtype=torch.float64)).float().reshape(1, 3, 256, 256)
    with torch.inference_mode():
        codes = encoder(image)
    wanted = torch.from_numpy(np.load(reference_file(f"{kind}_256.npz"))["codes"])
    assert codes.shape == wanted.shape
    assert (codes - wanted).abs().max() <= 1e-4 * wanted.abs().max()


def small_encoder(kind="e4e"):
    torch.manual_seed(0)
    encoder = Encoder(kind, **SMALL).eval().requires_grad_(False)
    for name, buffer in encoder.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
    return encoder


def write(encoder, path, **changes):
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    state["decoder.input.input"] = torch.ones(1, 4, 4, 4)
    opts = dict(encoder_type="Encoder4Editing", start_from_latent_avg=True, learning_rate=1e-4, exp_dir="x")
    content = {"state_dict": state, "latent_avg": torch.arange(16.0), "opts": opts, **changes}
    torch.save({key: value for key, value in content.items() if value is not None}, path)


def images():
    return torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("kind, name", [("e4e", "Encoder4Editing"), ("psp", "GradualStyleEncoder")])
def test_a_checkpoint_loads_with_its_kind_and_mean(kind, name, tmp_path):
    encoder = small_encoder(kind)
    options = argparse.Namespace(encoder_type=name, start_from_latent_avg=True, device=None, weights=[1, 2.5])
    write(encoder, tmp_path / "a.pt", opts=options)
    loaded = load_encoder(tmp_path / "a.pt")
    torch.testing.assert_close(loaded(images()), encoder(images()) + torch.arange(16.0))
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())


@pytest.mark.parametrize("latent_avg", [torch.arange(16.0), torch.arange(16.0).repeat(8, 1)])
def test_the_mean_may_be_one_w_or_one_for_each_row(latent_avg, tmp_path):
    write(small_encoder(), tmp_path / "a.pt", latent_avg=latent_avg)
    assert torch.equal(load_encoder(tmp_path / "a.pt").latent_avg, torch.arange(16.0).repeat(8, 1))


def test_the_mean_is_left_out_where_training_left_it_out(tmp_path):
    write(small_encoder(), tmp_path / "a.pt", opts=dict(encoder_type="Encoder4Editing", start_from_latent_avg=False))
    assert not load_encoder(tmp_path / "a.pt").latent_avg.any()


def test_e4e_adds_each_row_to_the_first():
    psp, e4e = small_encoder("psp"), small_encoder("e4e")
    rows = psp(images())
    torch.testing.assert_close(e4e(images())[:, 0], rows[:, 0])
    torch.testing.assert_close(e4e(images())[:, 5], rows[:, 0] + rows[:, 5])


def test_a_batch_equals_its_images():
    encoder = small_encoder()
    torch.testing.assert_close(encoder(images()), torch.cat([encoder(i[None]) for i in images()]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s.pop("encoder.styles.3.convs.2.bias"), "styles.3.convs.2.bias is missing"),
        (lambda s: s.pop("encoder.body.7.res_layer.1.weight"), "body.7.res_layer.1.weight is missing"),
        (lambda s: s.update({"encoder.latlayer1.bias": torch.ones(3)}), r"latlayer1.bias has shape \(3,\); want"),
        (lambda s: s.update({"encoder.latlayer3.bias": torch.ones(3)}), "'latlayer3.bias' is left over"),
    ],
)
def test_a_wrong_tensor_is_named(change, message, tmp_path):
    state = {f"encoder.{name}": tensor for name, tensor in small_encoder().state_dict().items()}
    change(state)
    write(small_encoder(), tmp_path / "a.pt", state_dict=state)
    with pytest.raises(CheckpointError, match=message):
        load_encoder(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(opts=dict(encoder_type="BackboneEncoder")), "BackboneEncoder"),
        (dict(opts=None), "pass kind="),
        (dict(state_dict=None), "no known checkpoint"),
        (dict(latent_avg=torch.ones(7)), "latent_avg"),
    ],
)
def test_another_checkpoint_is_refused(changes, message, tmp_path):
    write(small_encoder(), tmp_path / "a.pt", **changes)
    with pytest.raises(CheckpointError, match=message):
        load_encoder(tmp_path / "a.pt")


@pytest.mark.parametrize("shape", [(1, 3, 512, 512), (1, 1, 256, 256), (3, 64, 64)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="want"):
        small_encoder()(torch.zeros(shape))
