"""The whole method at the size of the paper's cars: a 512 px config-f network of random weights from the official layout,
LPIPS at 256, and a photograph that is no square, on the CPU, in two steps."""

from pathlib import Path

import pytest
import skimage.data
import torch
from PIL import Image

import samlib
from samlib import official, standin
from samlib.download import name_of
from samlib.images import to_square
from samlib.invertibility import InvertibilityPredictor
from samlib.stylegan2 import Generator, default_channels


def metric():
    """LPIPS proper where torchvision's backbone is on this machine already, or ST-LPIPS, which needs no download."""
    backbone = Path(torch.hub.get_dir(), "checkpoints", "vgg16-397923af.pth")
    return "lpips-vgg" if backbone.is_file() else "st-lpips-vgg"


@pytest.mark.slow
def test_the_whole_method_on_a_photograph_at_the_official_size(tmp_path, monkeypatch):
    torch.manual_seed(0)
    generator = Generator(512, channels=default_channels(512, base=32768))
    predictor = InvertibilityPredictor(generator.spaces, width=8, decoder=8, low_reduced=8).eval().requires_grad_(False)
    for head in predictor.heads.values():
        head.m[3].bias += 0.5  # or the last ReLU may let nothing through
    folder = tmp_path / "weights" / "lsun-cars"
    facts = standin.make(folder, "lsun-cars", generator, predictor, directions={"rims": torch.randn(16, 512)},
                         metric=metric(), segmenter="unsupervised")
    assert (folder / name_of(facts["generator"])).stat().st_size > 120e6
    monkeypatch.setitem(official.OFFICIAL, "lsun-cars", facts)
    monkeypatch.setenv("SAMLIB_WEIGHTS", str(tmp_path / "weights"))
    cars = samlib.load("lsun-cars", "cpu")
    assert [(s.name, s.channels) for s in cars.spaces] == [("W+", 512), ("F4", 512), ("F6", 512), ("F8", 512), ("F10", 256)]

    Image.fromarray(skimage.data.chelsea()).save(tmp_path / "cat.png")  # 451 x 300
    photo = samlib.read_image(tmp_path / "cat.png", 512, "whole")
    square, valid = to_square(photo, 512, "pad")
    assert valid[0, 0, :, 0].sum() == photo.shape[2] < 384  # wider than a car
    tau = cars.predict(square, valid=valid)["error_maps"][:, 0][valid[:, 0] > 0].median()

    inversion = cars.invert(photo, steps=2, tau=tau, progress=False)
    assert inversion.w_plus.shape == (1, 16, 512) and inversion.images.shape == (1, 3, 512, 512)
    assert inversion.images.isfinite().all() and inversion.error_maps.shape == (1, 5, 512, 512)
    assert len(inversion.layer_map[inversion.valid[:, 0] > 0].unique()) > 1 and inversion.deltas
    assert set(inversion.losses) == {"l2", "lpips", "gaussian", "spread", "feature"}
    assert all(history.shape == (2, 1) and history.isfinite().all() for history in inversion.losses.values())
    assert torch.equal(inversion.valid, valid) and not inversion.layer_map[inversion.valid[:, 0] == 0].any()
    edited = cars.edit(inversion, {"rims": 2.0})
    assert edited.shape == inversion.images.shape and (edited - inversion.images).abs().max() > 1e-3
