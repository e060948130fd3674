"""Laws of BigGAN's training, at a size that trains in seconds: pairs teach, runs resume, z of scenes are normal."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from samlib import load_generator
from samlib.inversion import Inversion
from samlib.scenes import codes
from samlib.scenes.classes import columns
from samlib.spaces import Space
from samlib.training import biggan, biggan_domain, biggan_lesson
from samlib.training.biggan import Data, Settings, Training, train
from samlib.training.biggan_evaluate import as_classes, changes, class_change, next_of_kind, other_class, shares
from samlib.training.biggan_lesson import standardized, teach
from samlib.training.biggan_scenes import scene_data, z_of
from samlib.training.projected import ProjectedDiscriminator
from samlib.training.projection import ProjectionDiscriminator

NAMES = ["sedan", "van"]
SMALL = dict(resolution=16, width=8, z_dim=110, class_dim=4, attention=8, batch=8, lesson_batch=32, lesson=5,
             metric="st-lpips-alex", ema_images=200, statistics=2)  # fmt: skip


@pytest.fixture(scope="module")
def meant():
    return scene_data(NAMES, 8, 16, 110, "cpu")


@pytest.fixture(scope="module")
def data(meant):
    """Without what the codes mean, and so without the lesson."""
    return replace(meant, meaning=None)


def dots(n=64):
    """Images that z says all about: a spot at (z0, z1), as bright as z2, red in class 0 and blue in class 1."""
    z = torch.randn(n, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(n) % 2
    grid = torch.linspace(-2, 2, 16)
    spot = torch.exp(-((grid[:, None] - z[:, 0, None, None]) ** 2 + (grid - z[:, 1, None, None]) ** 2))
    colours = torch.tensor([[255.0, 60, 0], [0, 60, 255]])[labels]
    images = spot[:, None] * colours[:, :, None, None] * z[:, 2].sigmoid()[:, None, None, None]
    return Data(images.byte(), labels, ["red", "blue"], z)


def test_pairs_teach_which_image_belongs_to_which_z_and_class(tmp_path):
    torch.manual_seed(0)
    data = dots()
    settings = Settings(**{**SMALL, "z_dim": 4, "batch": 16}, images=16 * 150, warm_up=1.0, warm_lr=5e-3)
    generator = train(data, tmp_path, settings, report_every=50, progress=False)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["phase"] for row in rows] == [16] * 3 and rows[-1]["paired_step"][0] < rows[0]["paired_step"][0]
    real = data.images.float() / 127.5 - 1
    drawn = generator.synthesis(generator.mapping(data.z, classes=data.labels))
    swapped = generator.synthesis(generator.mapping(data.z.roll(1, 0), classes=data.labels))
    other = generator.synthesis(generator.mapping(data.z, classes=1 - data.labels))
    right, wrong_z, wrong_class = ((x - real).abs().mean() for x in (drawn, swapped, other))
    assert right < 0.6 * wrong_z and right < 0.6 * wrong_class
    assert generator.names == ("red", "blue") and not generator.training


def test_training_goes_on_from_where_it_stopped_through_both_phases(data, tmp_path):
    first = train(data, tmp_path, Settings(**SMALL, images=32, warm_up=1.0), report_every=1, progress=False)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert (state["steps"], state["phase"], state["done"]) == (4, 16, 1.0)
    second = train(data, tmp_path, Settings(**SMALL, images=96, warm_up=0.6), report_every=1, progress=False)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["steps"] == 4  # it was done: nothing is repeated
    state["done"] = 1 / 3
    torch.save(state, tmp_path / "checkpoint.pt")
    second = train(data, tmp_path, Settings(**SMALL, images=96, warm_up=0.6), report_every=1, progress=False)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["phase"] for row in rows] == [16] * 8 + ["judge"] * 4
    assert [row["images"] for row in rows] == [8 * (i + 1) for i in range(12)]
    assert {*rows[-1]} == {"images", "seconds", "phase", "d_step", "g_step", "held_out", "held_out_layout"} and len(rows[-1]["g_step"]) == 3
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))
    assert all(p.isfinite().all() for p in second.parameters())
    loaded = load_generator(tmp_path / "generator.safetensors")
    z = torch.randn(2, 110)
    torch.testing.assert_close(loaded.synthesis(loaded.mapping(z, classes="van")), second.synthesis(second.mapping(z, classes=1)),
                               rtol=0, atol=0.02)  # 16 bits


def test_pairs_are_redrawn_at_16_px_first_and_at_full_size_last(data):
    training = Training(data, Settings(**{**SMALL, "resolution": 64}, warm_up=0.5))
    expected = {0.0: (16, 0), 0.0625: (16, 0.5), 0.125: (32, 0), 0.225: (64, 0), 0.3625: (64, 0.5), 0.5: ("judge", 0), 0.75: ("judge", 0.5)}
    for training.done, (phase, over) in expected.items():
        assert training.next_phase() == (phase, pytest.approx(over))
    training.enter(16)
    assert training.draw(training.real_z.nan_to_num(), training.real_c, 16).shape == (32, 3, 16, 16)
    before = [p.clone() for p in training.generator.parameters()]
    training.step()
    moved = {name for (name, p), old in zip(training.generator.named_parameters(), before) if not torch.equal(p, old)}
    last = max(i for i, size in training.generator.generator.ends.items() if size == 16)
    assert {int(name.split(".")[2]) for name in moved if ".layers." in name} == set(range(last + 1))
    assert (training.shown, training.work) == (32, 8.0)  # a picture of a quarter of the size counts as a quarter
    training.enter(64)
    training.steps += 100
    biggan.set_rates(training, 0.0)
    rates = {group["lr"] for adam in training.adams.values() for group in adam.adam.param_groups}
    assert list(rates) == [pytest.approx(training.settings.warm_lr / 2)]  # by the root of 16 / 64


def test_small_pairs_are_of_the_sketches_and_none_is_of_what_is_held_out():
    def marked(size, count):  # z says which scene it is, and so does the image
        z = torch.arange(count)[:, None].repeat(1, 110).float()
        return Data(z[:, :3, None, None].expand(-1, -1, size, size).byte(), torch.arange(count) % 2, NAMES, z)

    training = Training(marked(64, 40), Settings(**{**SMALL, "resolution": 64, "batch": 200}), marked(32, 80))
    for phase, count in ((16, 70), (32, 70), (64, 35), ("judge", 35)):
        training.enter(phase)
        shown = {*training.real_z[:, 0].int().tolist()}
        assert shown <= set(range(count)) and len(shown) > 0.8 * count and training.source.held == count // 7
        assert torch.equal(training.real[:, 0, 0, 0], training.real_z[:, 0].byte())
        assert torch.equal(training.real_c.argmax(1), training.real_z[:, 0].long() % 2)
    training.enter(16)
    with torch.no_grad():
        training.sketch["16"].weight.zero_(), training.sketch["16"].bias.zero_()
    grey = (training.sketches.images[70:].float() / 127.5 - 1).abs().mean()
    assert training.held_out() == pytest.approx({"held_out": float(grey), "held_out_layout": float(grey)}, rel=1e-5)
    assert training.generator.training


def test_the_layout_is_what_is_left_at_16_px_and_texture_costs_nothing_there():
    real = torch.full((2, 3, 64, 64), 51, dtype=torch.uint8)  # -0.6
    drawn = torch.full((2, 3, 64, 64), -0.6)
    stripes = torch.tensor([0.3, -0.3]).repeat(32)
    assert float(biggan.layout(drawn + stripes, real)) == pytest.approx(0, abs=1e-6)
    drawn[:, :, :32, :16] += 0.4  # on an eighth of it
    assert float(biggan.layout(drawn, real)) == pytest.approx(0.05, abs=1e-6)


def test_the_generator_begins_gently_with_a_new_judge(data):
    training = Training(data, Settings(**SMALL))
    training.enter("judge")
    for steps, share in ((0, 1 / 500), (249, 0.5), (499, 1.0), (900, 1.0)):
        training.steps = steps
        biggan.set_rates(training, 0.0)
        rates = {name: adam.adam.param_groups[0]["lr"] for name, adam in training.adams.items()}
        assert rates["d_step"] == pytest.approx(training.settings.lr_d)
        assert rates["g_step"] == pytest.approx(training.settings.lr_g * share)


def test_half_of_what_the_judge_is_shown_is_of_new_z_and_makes_no_pairs(data, monkeypatch):
    training, seen = Training(data, Settings(**SMALL, new=0.25)), {}
    training.enter("judge")
    draw, pairs = training.draw, training.pairs
    monkeypatch.setattr(training, "draw", lambda z, c: seen.update(z=z) or draw(z, c))
    monkeypatch.setattr(training, "pairs", lambda drawn, real: seen.update(pairs=len(drawn)) or pairs(drawn, real))
    training.g_step()
    known = training.real_z.isfinite()
    assert torch.equal(seen["z"][:6][known[:6]], training.real_z[:6][known[:6]]) and seen["pairs"] == 6
    assert not torch.equal(seen["z"][6:][known[6:]], training.real_z[6:][known[6:]])


def test_without_codes_the_judge_stands_alone(data, tmp_path):
    plain = Data(data.images, data.labels, data.names)
    train(plain, tmp_path, Settings(**SMALL, images=16), report_every=1, progress=False)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["phase"] for row in rows] == ["judge"] * 2 and len(rows[0]["g_step"]) == 1


def test_the_judge_is_trained_by_its_own_step_alone(data):
    training = Training(data, Settings(**SMALL))
    training.enter("judge")
    training.d_step()
    assert training.adams["d_step"].flat.abs().sum() > 0 and training.adams["g_step"].flat.abs().sum() == 0
    training.adams["d_step"].flat.zero_()
    training.g_step()
    assert training.adams["d_step"].flat.abs().sum() == 0 and training.adams["g_step"].flat.abs().sum() > 0
    assert all(p.requires_grad for p in training.adams["d_step"].parameters)


def test_a_finished_run_goes_on_where_it_is_told_to(data, tmp_path):
    settings = Settings(**SMALL, images=32, warm_up=0.5)
    train(data, tmp_path, settings, report_every=1, progress=False)
    train(data, tmp_path, Settings(**SMALL, images=48, warm_up=0.8), done=0.75, report_every=1, progress=False)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["phase"] for row in rows] == [16] * 2 + ["judge"] * 2 + [16, "judge"]
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["steps"] == 6


def test_a_run_finished_by_its_images_goes_on_for_the_rest_of_as_many(data, tmp_path):
    """Where a quarter counts as over, 3 of the 4 steps are made again."""
    settings = Settings(**SMALL, images=32, warm_up=1.0)
    train(data, tmp_path, settings, report_every=1, progress=False)
    train(data, tmp_path, settings, done=0.25, report_every=1, progress=False)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert (state["steps"], state["work"], state["done"]) == (7, 32.0, 1.0)


def test_what_a_run_goes_on_from_is_where_it_stopped_and_its_random_numbers_are_new(data, tmp_path):
    settings = Settings(**SMALL, warm_up=0.0)
    first = Training(data, settings)
    numbers = torch.rand(4)
    first.enter("judge")
    for _ in range(2):
        first.step()
    first.checkpoint(tmp_path)
    second = Training(data, settings)
    second.resume(tmp_path)
    assert all(getattr(first, name) == getattr(second, name) for name in biggan.COUNTERS) and second.steps == 2
    for name in biggan.NETWORKS:
        torch.testing.assert_close(getattr(second, name).state_dict(), getattr(first, name).state_dict(), rtol=0, atol=0)
    for name, adam in first.adams.items():
        states = [one.adam.state_dict()["state"] for one in (adam, second.adams[name])]
        torch.testing.assert_close(*states, rtol=0, atol=0)
    biggan.reseed(settings, 2, 0)
    drawn = torch.randint(14, (8,))  # as it does in `enter`: 2 of the 16 scenes are held out
    assert torch.equal(second.real, data.images[drawn]) and not torch.equal(torch.rand(4), numbers)


def test_a_checkpoint_is_written_at_the_first_report_after_each_minute(data, tmp_path, monkeypatch):
    """By a clock that a report moves on by 25 s: at the third of five, the sixth would be the next."""
    now, saved = [0.0], []
    monkeypatch.setattr("samlib.training.steps.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(Training, "save", lambda self, out: None)
    monkeypatch.setattr(Training, "checkpoint", lambda self, out: saved.append(self.steps))

    def later(training, row):
        now[0] += 25

    train(data, tmp_path, Settings(**SMALL, images=40, warm_up=1.0), report_every=1, on_report=later, progress=False)
    assert saved == [3]


def test_a_run_can_begin_with_a_generator_and_leaves_the_lesson_out(data, meant, tmp_path):
    first = train(data, tmp_path / "a", Settings(**SMALL, images=16), report_every=1, progress=False)
    small = {**SMALL, "warm_lr": 0.0}
    second = train(data, tmp_path / "b", Settings(**small, images=16, warm_up=1.0), sketches=meant, done=0.5,
                   start=tmp_path / "a" / "generator.safetensors", report_every=1, progress=False)  # fmt: skip
    assert '"lesson"' not in (tmp_path / "b" / "log.jsonl").read_text()
    for a, b in zip(first.parameters(), second.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)  # 16 bits


def test_a_run_without_time_stops_at_its_first_report_with_every_file(data, tmp_path):
    train(data, tmp_path, Settings(**SMALL), seconds=-3, report_every=2, progress=False)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["steps"] == 2
    assert {"generator.safetensors", "log.jsonl", "settings.json"} < {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("part", ["lesson", "g_step"])
def test_ctrl_c_saves_and_stops(data, meant, tmp_path, part):
    def stop(training, row):
        if part in row:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path, Settings(**SMALL, images=400, warm_up=0.0), sketches=meant, report_every=1, on_report=stop, progress=False)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert (state["steps"], state["taught"]) == ((0, False) if part == "lesson" else (1, True))
    assert (tmp_path / "generator.safetensors").is_file()


def test_the_projected_judge_learns_and_its_features_stay():
    torch.manual_seed(0)
    images = torch.randint(256, (2, 3, 128, 128), dtype=torch.uint8)
    small = {**SMALL, "resolution": 128, "width": 4, "attention": 16, "z_dim": 8, "batch": 2}
    training = Training(Data(images, torch.tensor([0, 1]), ["a", "b"]), Settings(**small, judge="projected"))
    training.enter("judge")
    trained = {id(p) for p in training.adams["d_step"].parameters}
    assert trained == {id(p) for p in training.judge.heads.parameters()}
    training.g_step()
    assert {id(p) for p in training.judge.parameters() if p.requires_grad} == trained
    assert training.adams["d_step"].flat.abs().sum() == 0 and training.adams["g_step"].flat.abs().sum() > 0
    before = training.judge.features.state_dict()
    before = {name: x.clone() for name, x in before.items()}
    training.step()
    assert all(torch.equal(x, before[name]) for name, x in training.judge.features.state_dict().items())


def test_the_projected_judge_asks_for_the_class():
    torch.manual_seed(0)
    judge = ProjectedDiscriminator(128, width=8, classes=2).eval()
    images, (first, second) = torch.rand(2, 3, 128, 128) * 2 - 1, torch.eye(2)[:, None].expand(2, 2, 2)
    alone, one, other = judge(images), judge(images, first), judge(images, second)
    assert alone.shape == one.shape and (one - other).abs().max() > 0.01
    torch.testing.assert_close(judge(images, 0 * first), alone)
    torch.testing.assert_close(judge(images, first + second), one + other - alone)  # each class adds its own


class NoWaiting(TorchDispatchMode):
    """Refuses what a captured CUDA graph cannot hold: results that the host reads, sizes that depend on values, data from
    the host."""

    FORBIDDEN = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "lift_fresh", "equal", "_unique2"}

    def __torch_dispatch__(self, call, types, arguments=(), keywords=None):
        name = call.overloadpacket.__name__
        by_mask = name == "index" and any(x is not None and x.dtype == torch.bool for x in arguments[1])
        assert name not in self.FORBIDDEN and not by_mask, name
        return call(*arguments, **(keywords or {}))


@pytest.mark.parametrize("judge, size", [("projection", 64), ("projected", 128)])
def test_every_step_can_be_captured_in_16_bits_and_keeps_its_gradients(meant, monkeypatch, judge, size):
    def checked(step, device):
        def run():
            with NoWaiting():
                return step()
        return run

    for module in (biggan, biggan_lesson):
        monkeypatch.setattr(module, "graphed", checked)
        monkeypatch.setattr(module, "autocast", lambda device: torch.autocast("cpu", torch.bfloat16, cache_enabled=False))
    large = torch.nn.functional.interpolate(meant.images[::4].float(), (size, size)).byte()
    data = Data(large, meant.labels[::4], meant.names, meant.z[::4], meant.meaning[::4])
    training = Training(data, Settings(**{**SMALL, "resolution": size, "width": 4, "batch": 2, "lesson": 1}, judge=judge))
    assert min(teach(training, data)) > 0
    for phase in (16, 32, size, "judge"):
        training.enter(phase)
        assert len(training.real) == {16: 8, 32: 4 if size == 64 else 8}.get(phase, 2)
        gradients = {p: p.grad for adam in training.adams.values() for p in adam.parameters}
        for _ in range(2):
            assert all(x.isfinite().all() for x in training.step().values())
        assert all(p.grad is grad for p, grad in gradients.items())


def test_the_lesson_makes_the_meaning_readable():
    data = dots(400)
    training = Training(data, Settings(**{**SMALL, "z_dim": 4, "lesson": 60, "lesson_batch": 64}))
    meaning = torch.stack([data.z[:, 0] * 3 + 1, data.z[:, 1].sign(), torch.zeros(400)], 1)
    before = {name: p.clone() for name, p in training.generator.named_parameters()}
    loss, held = teach(training, replace(data, meaning=meaning))
    assert loss < 0.35 and held < 0.5  # of the variance, a third of which is 0 already
    moved = {name for name, p in training.generator.named_parameters() if not torch.equal(p, before[name])}
    assert "generator.layers.1.conv_3.weight" in moved and "generator.conv_to_rgb.weight" not in moved
    assert all(torch.equal(a, b) for a, b in zip(training.ema.parameters(), training.generator.parameters()))
    assert all(p.grad is None for p in training.generator.parameters())


def test_meaning_is_measured_within_each_class():
    meaning = torch.tensor([[0.0, 5], [2, 5], [10, 7], [30, 7]])
    classes = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    assert standardized(meaning, classes).tolist() == [[-1, 0], [1, 0], [-1, 0], [1, 0]]
    assert not standardized(torch.full((3000, 1), 40.1), torch.eye(3).repeat(1000, 1)).any()


def test_the_z_of_scenes_are_normal_and_shared_numbers_share_their_entry(data):
    index, count = columns(tuple(NAMES))
    z = z_of(codes("sedan", 0, range(300))[0], index["sedan"], 110)
    known = z[:, index["sedan"]]
    assert known.isfinite().all() and known.mean(0).abs().max() < 0.25 and (known.std(0) - 1).abs().max() < 0.2
    assert z[:, count:].isnan().all()
    assert data.images.shape == (16, 3, 16, 16) and data.images.dtype == torch.uint8
    assert sorted(data.labels.tolist()) == [0] * 8 + [1] * 8 != data.labels.tolist()  # mixed
    torch.testing.assert_close(row(data, z[3]).z[0], z[3], equal_nan=True)
    with pytest.raises(ValueError, match="entries of z, which has 20"):
        z_of(torch.rand(2, 93), index["van"], 20)


def row(data, z):
    """The one scene of z."""
    at = [(one.nan_to_num() == z.nan_to_num()).all().item() for one in data.z].index(True)
    meaning = None if data.meaning is None else data.meaning[at : at + 1]
    return Data(data.images[at : at + 1], data.labels[at : at + 1], data.names, data.z[at : at + 1], meaning)


def test_parts_of_the_data_are_the_whole_and_what_was_rendered_is_kept(tmp_path, monkeypatch):
    whole = scene_data(["van"], 5, 16, 110, "cpu")
    parts = [scene_data(["van"], 5, 16, 110, "cpu", part=i, parts=2, shard=2, keep=tmp_path) for i in range(2)]
    assert [len(part.images) for part in parts] == [3, 2] and len(torch.cat([part.z for part in parts]).nan_to_num().unique(dim=0)) == 5
    for part in parts:
        for image, z, meaning in zip(part.images, part.z, part.meaning):
            same = row(whole, z)
            assert torch.equal(same.images[0], image) and torch.equal(same.meaning[0], meaning)
    monkeypatch.setattr("samlib.training.biggan_scenes.render", None)
    again = scene_data(["van"], 5, 16, 110, "cpu", part=1, parts=2, shard=2, keep=tmp_path)
    assert torch.equal(again.images, parts[1].images)
    monkeypatch.setattr("samlib.training.biggan_scenes.code_of_scenes", lambda: "another")
    with pytest.raises(TypeError):  # it is rendered anew, which there is nothing for
        scene_data(["van"], 5, 16, 110, "cpu", part=1, parts=2, shard=2, keep=tmp_path)


def test_the_logit_of_a_class_is_its_own():
    """The projection is linear in the class: of a mixture it gives the mixture of logits."""
    torch.manual_seed(0)
    judge = ProjectionDiscriminator({4: 16, 8: 16, 16: 8}, 3).eval()
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    one, two = (judge(images, torch.eye(3)[[i] * 3]) for i in (0, 1))
    torch.testing.assert_close(judge(images, torch.tensor([[0.25, 0.75, 0]] * 3)), 0.25 * one + 0.75 * two)
    assert (one - two).abs().min() > 0
    torch.testing.assert_close(judge(images[:1], torch.eye(3)[:1]), one[:1])


def test_every_stage_of_the_domain_runs_and_what_is_there_is_not_made_again(tmp_path, capsys):
    import samlib

    biggan_domain.train(tmp_path, profile="quick", classes=NAMES, device="cpu")
    made = {path.name for path in tmp_path.iterdir()}
    assert {result for _, result in biggan_domain.STAGES.values() if result} <= made
    assert {"generated-rendered.jpg", "inversions.png"} <= made
    measured = json.loads((tmp_path / "evaluation.json").read_text())
    changed = {"class_change_of_its_kind", "class_change_any"}
    inverted = {"z+", "F2", "F4", "sam", "sam-F2", "sam-F2_over_z+", "shares"}
    assert {*measured} == {"images", "steps", "generated", *changed, *inverted} and {*measured["generated"]} == {*NAMES}
    domain = samlib.load(tmp_path, "cpu")
    assert domain.generator.names == tuple(NAMES) and "pose" in domain.directions
    for name, row in json.loads((tmp_path / "directions.json").read_text()).items():
        acts = domain.directions[name].any(1).nonzero().flatten()
        assert [int(acts[0]), int(acts[-1]) + 1] == row["rows"]
        assert not domain.directions[name][:, domain.generator.z_dim:].any()  # no class
    assert domain.predictor.spaces == ("Z+", "F2", "F4") and domain.weights == biggan_domain.INVERSION["weights"]
    capsys.readouterr()
    biggan_domain.train(tmp_path, ["classifier", "directions"], "quick", NAMES, "cpu")
    assert capsys.readouterr().out.count("is there, skipped") == 2


def test_unknown_stages_and_classes_are_told_what_there_is(tmp_path):
    with pytest.raises(ValueError, match="tank.*evaluate.*sedan"):
        biggan_domain.train(tmp_path, ["gan"], classes=["tank"])


@pytest.mark.parametrize("arguments, said", [
    (["gan", "--set", "scene=2"], "no setting scene; there are gan, scenes"),
    (["gan", "--set", "scenes=many"], "scenes=many: want something like 4"),
    (["gan", "--gan", "foo=1"], "no setting of the GAN foo; there are resolution"),
    (["gan", "--gan", "judge=nobody"], "no judge 'nobody'"),
    (["gan", "--gan", "judge"], "not NAME=VALUE"),
    (["gane"], "no stage gane; there are gan"),
    (["gan", "--classes", "tank"], "no class tank; there are"),
    (["gan", "--part", "2", "--parts", "2"], "no part 2 of 2; the first is 0, the last 1"),
    (["gan", "--generator", "nowhere.safetensors"], "'nowhere.safetensors' is no file"),
])
def test_mistakes_on_the_command_line_are_told_what_there_is(tmp_path, capsys, arguments, said):
    with pytest.raises(SystemExit):
        biggan_domain.main([*arguments, "--out", str(tmp_path / "out"), "--profile", "quick"])
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_settings_on_the_command_line_are_numbers_or_text(tmp_path, monkeypatch):
    profiles = []
    monkeypatch.setattr(biggan_domain, "train", lambda out, stages, profile, *_, **__: profiles.append(profile))
    biggan_domain.main(["gan", "--out", str(tmp_path), "--gan", "judge=projected", "lr_g=1e-3", "--set", "scenes=7", "metric=lpips-vgg"])
    s = profiles[0]
    assert (s["gan"].judge, s["gan"].lr_g, s["scenes"], s["metric"]) == ("projected", 1e-3, 7, "lpips-vgg")


def test_shares_of_spaces_are_counted_over_all_pixels():
    assert shares(torch.tensor([[[0, 1], [1, 1]]]), 3) == [0.25, 0.75, 0]


def test_the_class_after_one_is_drawn_by_the_same_category():
    assert next_of_kind(["sedan", "horse", "van", "zebra", "face", "truck"]) == [2, 3, 5, 1, 4, 0]
    assert next_of_kind(["goldfish", "sedan", "tench"]) == [2, 1, 0]  # two that nothing here draws


def test_another_class_is_there_for_every_class():
    assert other_class(["sedan", "horse", "van", "zebra", "face", "truck"]) == [2, 3, 5, 1, 5, 0]
    assert other_class(["sedan", "face"]) == [1, 0]


def test_what_a_change_of_class_keeps_is_measured():
    """A generator whose colour is its class, and whose pose is z: a change of class changes the one and keeps the other."""

    class Plain:
        names, spaces = ("a", "b"), (Space("Z+", None, 1, 0),)
        classify = staticmethod(lambda images: (images[:, 0].mean((1, 2)) > 0).long())

        def class_direction(self, w_plus, classes):
            return torch.nn.functional.pad((classes * 2.0 - 1)[:, None, None] - w_plus[..., 1:], (1, 0))

        def edit(self, w_plus, direction, deltas, masks, noise):
            return self.draw(w_plus + direction)

        def draw(self, code):
            return torch.stack([code[:, 0, 1], code[:, 0, 0], code[:, 0, 0]], 1)[..., None, None].expand(-1, 3, 4, 4)

    def regressor(images):
        return images[:, 1].mean((1, 2))[:, None] * 4

    class Domain:
        generator, device = Plain(), torch.device("cpu")

    regressor.names = ["pose"]
    code = torch.tensor([[[0.1, -1.0]], [[0.3, 1.0]], [[-0.2, -1.0]]])
    inversion = Inversion(code, Plain().draw(code))
    found = class_change(Domain, regressor, inversion, torch.tensor([1, 0, 0]))
    assert found == {"changed": 1.0, "pose_kept": 1.0, "both": 1.0, "images": 3}
    assert class_change(Domain, None, inversion, torch.tensor([1, 0, 0])) == {"changed": 1.0, "images": 3}  # nobody reads the pose
    assert torch.equal(as_classes(Domain, inversion, torch.tensor([0, 1, 0])), inversion.images)  # what they are already
    moved = Inversion(code, Plain().draw(code + torch.tensor([0.5, 0.0])))  # as if the edit had turned it
    assert class_change(Domain, regressor, moved, torch.tensor([1, 0, 0]))["both"] == 0
    one = Inversion(code, torch.cat([moved.images[:1], inversion.images[1:]]))
    each = {"changed": [True] * 3, "pose_kept": [False, True, True], "both": [False, True, True]}
    assert {name: x.tolist() for name, x in changes(Domain, regressor, one, torch.tensor([1, 0, 0])).items()} == each
