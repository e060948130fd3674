"""Laws of the generator's training, on a network that trains in a second."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import avg_pool2d

from samlib.checkpoints import load_generator
from samlib.training import category
from samlib.training.gan import Settings, Training, train
from samlib.training.losses import r1_penalty
from samlib.training.paired import PairedLoss, warm_up
from samlib.training.stages import run_stages
from samlib.training.steps import pace_of, reseed


@pytest.fixture(autouse=True)
def small_metric(monkeypatch):
    """At 32 px the loss on pairs has no use for its metric, so it may be the one that is quickly there."""
    monkeypatch.setattr("samlib.training.gan.PairedLoss", partial(PairedLoss, "st-lpips-alex"))


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


TINY = Settings(resolution=16, channel_base=64, channel_max=8, w_dim=8, mapping_layers=2, judges="stylegan2", batch=4, r1_every=2,
                path_length_every=1)


def test_a_run_that_goes_on_is_the_one_that_did_not_stop_but_for_its_random_numbers(tmp_path):
    """Two steps, and two more: where the run that did not stop is given those of the second half, all ends the same."""
    torch.manual_seed(5)
    images = torch.randint(0, 255, (8, 3, 16, 16), dtype=torch.uint8)

    def same(one, other):
        one, other = one.state(), other.state()
        for key in ("generator", "ema", "judges", "path_mean", "steps", "warm_steps", "warm"):
            torch.testing.assert_close(one[key], other[key], rtol=0, atol=0)
        for key in ("g_adam", "d_adam"):
            torch.testing.assert_close(one[key]["state"], other[key]["state"], rtol=0, atol=0)
            assert [group["lr"] for group in one[key]["param_groups"]] == [group["lr"] for group in other[key]["param_groups"]]

    whole = Training(images, TINY)
    numbers = torch.rand(4)
    reseed(TINY, 0, 0)
    assert torch.equal(torch.rand(4), numbers)
    whole.capture()
    whole.step(), whole.step()
    whole.g_adam.rate(0.5)
    whole.save(tmp_path)
    stopped = Training(images, TINY)
    stopped.resume(tmp_path)
    same(whole, stopped)
    assert whole.steps == 2 and whole.path_mean > 0
    stopped.capture()
    stopped.step(), stopped.step()
    reseed(TINY, 2, 0)
    assert not torch.equal(torch.rand(4), numbers)
    reseed(TINY, 2, 0)
    whole.next_real()  # as `capture` does
    whole.step(), whole.step()
    same(whole, stopped)


def test_what_is_captured_leaves_the_mean_of_path_lengths_and_no_gradient(monkeypatch):
    def at_once(step, device):
        step()
        return step

    monkeypatch.setattr("samlib.training.gan.graphed", at_once)
    training = Training(torch.randint(0, 255, (8, 3, 16, 16), dtype=torch.uint8), TINY)
    training.path_mean.fill_(0.7)
    training.capture()
    assert float(training.path_mean) == pytest.approx(0.7) and not training.g_adam.flat.any() and not training.d_adam.flat.any()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_checkpoint_is_written_at_the_first_report_after_each_minute(tmp_path, monkeypatch, share):
    """With judges and in the warm-up. By a clock that a report moves on by 25 s: at the third."""
    now, saved = [0.0], []
    monkeypatch.setattr("samlib.training.steps.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr("samlib.training.gan.warm_up", partial(warm_up, report_every=1))
    monkeypatch.setattr(Training, "save", lambda self, out: saved.append(self.steps + self.warm_steps))
    images, codes, settings = of_codes(images=20, warm_up=share)

    def later(training, row):
        now[0] += 25

    train(images, tmp_path, settings, codes=codes, report_every=1, on_report=later, progress=False)
    assert {2, 3} & {*saved} == {3}  # and where a size or the run ends


def of_codes(**changes):
    """Images of 32 px, their codes, and settings with a warm-up: 16 px first, 5 % of it."""
    torch.manual_seed(0)
    images, codes = torch.randint(0, 255, (8, 3, 32, 32), dtype=torch.uint8), torch.rand(8, 5, dtype=torch.float64)
    return images, codes, Settings(**{**dict(resolution=32, channel_base=64, channel_max=8, w_dim=8, mapping_layers=2, judges="stylegan2",
                                             batch=4, noise="none", lesson=2), **changes})


def saved(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def test_a_run_without_time_stops_at_its_first_reports(tmp_path, monkeypatch):
    """16 px take a step more than they have time for, so 32 px get none, and the judges two."""
    monkeypatch.setattr("samlib.training.gan.warm_up", partial(warm_up, report_every=1))
    images, codes, settings = of_codes(images=400)
    for seconds in (0, -3):
        out = tmp_path / str(seconds)
        train(images, out, settings, seconds, codes, (codes, codes), report_every=2, progress=False)
        assert (saved(out)["warm_steps"], saved(out)["warm"], saved(out)["steps"]) == (1, 1.0, 2)


def test_the_warm_up_has_its_share_of_the_images(tmp_path, monkeypatch):
    """Of 40 images 24, in a step of 8 and four of 4; four steps of the judges are left, or all ten where it has no share."""
    monkeypatch.setattr("samlib.training.gan.warm_up", partial(warm_up, report_every=1))
    for share, steps in ((0.6, (5, 4)), (0.0, (0, 10))):
        images, codes, settings = of_codes(images=40, warm_up=share)
        train(images, tmp_path / str(share), settings, codes=codes, lesson=(codes, codes), progress=False)
        state = saved(tmp_path / str(share))
        assert (state["warm_steps"], state["steps"]) == steps


def test_ctrl_c_in_the_warm_up_loses_nothing(tmp_path, monkeypatch):
    """Of 40 images 8 at 16 px and 32 at 32 px: stopped after the third step of these, with 20, the rest takes 5 steps more."""
    monkeypatch.setattr("samlib.training.gan.warm_up", partial(warm_up, report_every=1))
    images, codes, settings = of_codes(images=40, warm_up=1.0)
    rows = []

    def stop(training, row):
        rows.append(row)
        if row.get("warm_up") == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(images, tmp_path, settings, codes=codes, lesson=(codes, codes), on_report=stop, progress=False)
    before = saved(tmp_path)
    assert before["warm"] == 0.5 and before["warm_steps"] == 4
    rows.clear()
    ema = train(images, tmp_path, settings, codes=codes, lesson=(codes, codes), on_report=lambda _, row: rows.append(row), progress=False)
    assert [row.get("size", "lesson") for row in rows] == [32] * 5 and saved(tmp_path)["warm"] == 1
    loaded = load_generator(tmp_path / "generator.safetensors")
    torch.testing.assert_close(loaded.state_dict(), ema.state_dict(), rtol=1e-3, atol=1e-3)  # 16 bits


def test_ctrl_c_in_the_lesson_has_it_again(tmp_path, monkeypatch):
    images, codes, settings = of_codes(images=24, warm_up=1.0)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("samlib.training.paired.teach_mapping", stop)
        train(images, tmp_path, settings, codes=codes, lesson=(codes, codes), progress=False)
    assert saved(tmp_path)["warm"] == 0
    rows = []
    train(images, tmp_path, settings, codes=codes, lesson=(codes, codes), on_report=lambda _, row: rows.append(row), progress=False)
    assert "mapping" in rows[0]


def test_ctrl_c_beside_the_judges_saves_and_stops(tmp_path):
    images, codes, settings = of_codes(images=400, warm_up=0.0)

    def stop(training, row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(images, tmp_path, settings, codes=codes, report_every=3, on_report=stop, progress=False)
    assert saved(tmp_path)["steps"] == 3


def test_warm_up_goes_on_from_the_share_that_is_done(tmp_path, monkeypatch):
    """16 px of 32 come first, 5 % of the warm-up; a run that starts from a generator with that share skips them."""
    monkeypatch.setattr("samlib.training.gan.warm_up", partial(warm_up, report_every=1))
    images, codes, settings = of_codes(warm_up=1.0, images=24)
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
    images, codes, settings = of_codes(warm_up=1.0)
    train(images, tmp_path, settings, 30, codes, (codes, codes), on_report=lambda training, row: rows.append(row), progress=False)
    assert rows[0] == {"mapping": 0.0, "seconds": 500}
    assert [row["size"] for row in rows[1:]] == [16] * 2 + [32] * 28
    assert {row["setup"] for row in rows[1:]} == {1000} and rows[-1]["seconds"] == 500 + 2 * 1000 + 30


def test_a_finished_generator_is_trained_on_only_where_there_is_something_to_go_on_from(tmp_path, capsys):
    """A shipped domain has no checkpoint; a second run there, without --generator, must leave its generator alone."""
    calls = []
    table = {"gan": (lambda subject, out, profile, device, start=None: calls.append(start), "generator.safetensors")}

    def run(start=None):
        run_stages(["gan"], table, "cars", tmp_path, {}, "cpu", {"gan": ("start",)}, {"start": start})
        return "is there, skipped" in capsys.readouterr().out

    assert not run() and not run("a.safetensors")
    (tmp_path / "generator.safetensors").touch()
    assert run() and not run("b.safetensors")
    (tmp_path / "checkpoint.pt").touch()
    assert not run()
    assert calls == [None, "a.safetensors", "b.safetensors", None]


@pytest.mark.parametrize("arguments, said", [
    (["boats"], "invalid choice: 'boats'"), (["cars", "gane"], "no stage gane; there are gan, segmenter"),
    (["cars", "--gan", "foo=1"], "no setting of the GAN foo; there are resolution"),
    (["cars", "--gan", "judges=nobody"], "no judges 'nobody'"), (["cars", "--gan", "batch=many"], "batch=many: want something like"),
    (["cars", "gan", "--part", "2", "--parts", "2"], "no part 2 of 2; the first is 0, the last 1"),
    (["cars", "gan", "--generator", "nowhere.safetensors"], "'nowhere.safetensors' is no file"),
])
def test_mistakes_on_the_command_line_are_told_what_there_is(tmp_path, capsys, arguments, said):
    with pytest.raises(SystemExit):
        category.main([*arguments, "--out", str(tmp_path / "out"), "--profile", "quick"])
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_judges_need_no_quotation_marks(tmp_path, monkeypatch):
    profiles = []
    monkeypatch.setattr(category, "train", lambda name, out, stages, profile, **_: profiles.append(profile))
    category.main(["cars", "gan", "--out", str(tmp_path), "--gan", "judges=both", "images=8"])
    assert (profiles[0]["gan"].judges, profiles[0]["gan"].images) == ("both", 8)


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
