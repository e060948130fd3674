"""Laws of the generator's training, on a network that trains in a second."""

import torch

from samlib.training.gan import Settings, train
from samlib.training.losses import r1_penalty


def test_r1_is_the_squared_gradient():
    """Of a linear judge, whose gradient is its weight everywhere: 12 entries of 0.5 give 3."""
    penalty = r1_penalty(lambda x: 0.5 * x.sum((1, 2, 3)), torch.randn(4, 3, 2, 2))
    torch.testing.assert_close(penalty.detach(), torch.tensor(3.0))


def test_training_goes_on_from_where_it_stopped(tmp_path):
    images = torch.randint(0, 255, (8, 3, 16, 16), dtype=torch.uint8)
    small = dict(resolution=16, channel_base=64, channel_max=8, w_dim=8, mapping_layers=2, judges="stylegan2", batch=4)
    train(images, tmp_path, Settings(images=8, **small), progress=False)
    first = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    ema = train(images, tmp_path, Settings(images=16, **small), progress=False)
    second = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert (first["steps"], second["steps"]) == (2, 4)
    assert any(not torch.equal(first["ema"][k], second["ema"][k]) for k in first["ema"])
    assert all(p.isfinite().all() for p in ema.parameters())
