"""Laws of the generator's training, on a network that trains in a second."""

from functools import partial
from types import SimpleNamespace

import torch
from torch.nn.functional import avg_pool2d

from samlib.training.gan import Settings, train
from samlib.training.losses import r1_penalty
from samlib.training.paired import PairedLoss, warm_up
from samlib.training.steps import pace_of


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


def test_warm_up_goes_on_from_the_share_that_is_done(tmp_path, monkeypatch):
    """16 px of 32 come first, 5 % of the warm-up; a run that starts from a generator with that share skips them."""
    monkeypatch.setattr("samlib.training.gan.warm_up", partial(warm_up, report_every=1))
    torch.manual_seed(0)
    images, codes = torch.randint(0, 255, (8, 3, 32, 32), dtype=torch.uint8), torch.rand(8, 5, dtype=torch.float64)
    settings = Settings(resolution=32, channel_base=64, channel_max=8, w_dim=8, mapping_layers=2, judges="stylegan2", batch=4,
                        noise="none", warm_up=1.0, images=24, lesson=2)
    rows = []
    keep = lambda training, row: rows.append(row)
    train(images, tmp_path / "whole", settings, codes=codes, lesson=(codes, codes), on_report=keep, progress=False)
    assert [row.get("size", "lesson") for row in rows] == ["lesson", 16, 32, 32, 32, 32][:len(rows)] and rows[-1]["size"] == 32
    generator = tmp_path / "whole" / "generator.safetensors"
    rows.clear()
    train(images, tmp_path / "rest", settings, codes=codes, start=generator, warm=0.05, on_report=keep, progress=False)
    assert {row["size"] for row in rows} == {32}
    rows.clear()
    train(images, tmp_path / "rest", settings, codes=codes, on_report=keep, progress=False)
    assert not rows  # done, and so it says in its checkpoint


def test_lesson_and_set_up_take_no_time_from_the_sizes(tmp_path, monkeypatch):
    """By a clock that a step moves on by 1 s: of 30 s, 16 px have 5 %, so 2 steps, and 32 px the other 28."""
    now, rows = [0.0], []

    def moving(seconds, call, *arguments):
        now[0] += seconds
        return call(*arguments)

    monkeypatch.setattr("samlib.training.paired.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr("samlib.training.paired.teach_mapping", lambda *_: moving(500, float))
    monkeypatch.setattr("samlib.training.paired.graphed", lambda step, device: moving(1000, partial, moving, 1, step))
    monkeypatch.setattr("samlib.training.gan.warm_up", partial(warm_up, report_every=1))
    images, codes = torch.randint(0, 255, (8, 3, 32, 32), dtype=torch.uint8), torch.rand(8, 5, dtype=torch.float64)
    settings = Settings(resolution=32, channel_base=64, channel_max=8, w_dim=8, mapping_layers=2, judges="stylegan2", batch=4,
                        noise="none", warm_up=1.0)
    train(images, tmp_path, settings, 30, codes, (codes, codes), on_report=lambda training, row: rows.append(row), progress=False)
    assert rows[0] == {"mapping": 0.0, "seconds": 500}
    assert [row["size"] for row in rows[1:]] == [16] * 2 + [32] * 28
    assert {row["setup"] for row in rows[1:]} == {1000} and rows[-1]["seconds"] == 500 + 2 * 1000 + 30


def test_paired_loss_is_zero_for_equal_images_and_sees_both_views():
    loss = PairedLoss("st-lpips-alex")
    x = torch.rand(2, 3, 256, 256) * 2 - 1
    assert float(loss(x, x)) == 0
    for changed in (0, 1):  # the first image is compared at half size, the second in a crop
        y = x.clone()
        y[changed] = -y[changed]
        plain = (y - x).abs().mean() + (avg_pool2d(y, 8) - avg_pool2d(x, 8)).abs().mean()
        assert float(loss(y, x) - plain) > 0.01


def test_judges_slow_down_where_they_have_won():
    shares = [1.0]
    for loss in (0.04, 0.01, 0.07, 0.3, 0.3, 0.3):
        shares.append(pace_of(shares[-1], loss, floor=0.05))
    assert shares == [1.0, 0.5, 0.25, 0.25, 0.5, 1.0, 1.0]
    assert pace_of(1 / 64, 0.0, floor=0.05) == 1 / 64
