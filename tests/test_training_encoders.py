"""The training of the encoders on a tiny generator: laws, and that each one learns."""

import json
from dataclasses import replace

import pytest
import torch
from tiny import TinyMetric, tiny_generator

from samlib import encode, layer_map, weights
from samlib.encode import E4e, ReStyle, SamEncoder
from samlib.layer_map import masks
from samlib.objective import Weights, WStatistics
from samlib.optimize import optimize
from samlib.training import encoder_recipes as recipes
from samlib.training import encoders, loop
from samlib.training.encoder_recipes import Course, Settings, inherit, lesson, train_e4e, train_restyle, train_sam
from samlib.training.latent_judge import LatentJudge, sample_w

SETTINGS = Settings(batch=4, lesson=2, e4e=2, restyle=2, sam=2, learning_rate=3e-3)


def scenes(n=4):
    """Smooth pictures, and layer maps at two thresholds: halves of F4 and of F6."""
    few = torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    images = loop.as_uint8(torch.nn.functional.interpolate(few, (64, 64), mode="bilinear"))
    maps = torch.zeros(n, 2, 64, 64, dtype=torch.uint8)
    maps[:, 0, :32], maps[:, 1, 32:] = 1, 2
    return images, maps


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Encoders of a few channels; with less than 8, oneDNN writes where it must not on processors that have AVX2 alone (torch 2.14:
    the gradient of a strided 1x1 convolution in channels-last layout)."""
    for kind, small in ((E4e, {"width": 8}), (ReStyle, {"width": 8}), (SamEncoder, {"latent_width": 8, "width": 8})):
        whole = kind.of.__func__
        monkeypatch.setattr(kind, "of", classmethod(lambda cls, *a, whole=whole, small=small, **k: whole(cls, *a, **{**small, **k})))


@pytest.fixture()
def course():
    return Course(tiny_generator(), TinyMetric().requires_grad_(False), *scenes(), Weights(gaussian=0, spread=1e-3), SETTINGS,
                  progress=False)


def falls(losses, share):
    return losses[-3:].mean() < share * losses[:3].mean()


def test_the_lesson_teaches_the_generators_own_w(course):
    course.settings = replace(SETTINGS, batch=16)
    encoder = course.new(E4e)
    losses = lesson(course, encoder, 30)
    assert losses[0] == pytest.approx(1, rel=0.3)  # the mean w: the variance is what is left
    assert losses[-10:].mean() < 0.75 and not encoder.training
    restyle = course.new(ReStyle, "psp")
    assert lesson(course, restyle, 4).isfinite().all() and (restyle.net.last[0].weight != 0).any()
    assert lesson(course, restyle, 0).numel() == 0


@pytest.mark.parametrize("name", ["e4e", "restyle-psp", "restyle-e4e", "sam-encoder"])
def test_each_encoder_learns_a_fixed_batch(course, name):
    course.settings = replace(SETTINGS, lesson=2, e4e=15, restyle=15, sam=15)
    start = course.new(E4e)
    recipe = {"e4e": lambda: train_e4e(course), "restyle-psp": lambda: train_restyle(course, "psp", start),
              "restyle-e4e": lambda: train_restyle(course, "e4e", start), "sam-encoder": lambda: train_sam(course, start)}
    encoder, history = recipe[name]()
    assert type(encoder) is encode.ENCODERS[name] and not encoder.training
    assert falls(history["loss"], 0.97) and history["loss"].shape == (15,)
    again = recipe[name]()[1]
    torch.testing.assert_close(again["loss"], history["loss"])  # seeded


def test_the_loss_is_that_of_the_optimizer(course):
    """Before any training all deltas are 0 and w+ is the mean: what the optimizer measures at its first step."""
    encoder = course.new(SamEncoder).eval()
    x, maps = loop.as_float(course.images), course.layer_maps[:, 1]
    w_plus, deltas, _, formed = encoder(course.generator, x, maps)
    found = optimize(course.generator, x, masks(maps.long(), course.generator.spaces), course.metric, steps=1,
                     weights=course.weights, progress=False).losses
    want = sum(getattr(course.weights, name) * term[0] for name, term in found.items()).mean()
    torch.testing.assert_close(course.objective(x, formed, w_plus, deltas, course.weights), want)


def test_batches_pick_a_threshold_and_mirror_image_and_map_together(course):
    course.images[:, :, :, :32], course.layer_maps[:, :, :, :32] = 255, 1  # white is where the map says 1
    course.images[:, :, :, 32:], course.layer_maps[:, 0, :, 32:] = 0, 0
    course.layer_maps[:, 1, :, 32:] = 2
    x, maps = course.batch(torch.zeros(64, dtype=torch.long), torch.Generator().manual_seed(0))
    assert torch.equal(x[:, 0] > 0, maps == 1)
    assert 0 < (x[:, 0, 0, 0] > 0).float().mean() < 1
    second = (maps == 2).flatten(1).any(1)
    assert second.any() and not second.all()


def test_gradients_reach_every_weight_in_16_bit_too(course, monkeypatch):
    """Weights that autocast has cast without gradients must not be handed out again."""
    monkeypatch.setattr(loop, "autocast", lambda device: torch.autocast("cpu", torch.bfloat16))
    course.settings = replace(SETTINGS, lesson=0, restyle=3)
    course.seed = next(s for s in range(99) if torch.randint(5, (3,), generator=torch.Generator().manual_seed(s)).min() > 0)
    encoder, _ = train_restyle(course, "psp", course.new(E4e))
    fresh = course.new(ReStyle, "psp")
    inherit(fresh.net, course.new(E4e).net, last=False)
    moved = {name: not torch.equal(value, dict(fresh.named_parameters())[name]) for name, value in encoder.named_parameters()}
    assert all(moved.values()), [name for name, ok in moved.items() if not ok]


def test_what_is_inherited_gives_the_same(course):
    e4e, sam = course.new(E4e), course.new(SamEncoder)
    torch.nn.init.normal_(e4e.net.last[0].weight)
    inherit(sam.latent, e4e.net)
    x = torch.rand(2, 3, 64, 64)
    assert torch.equal(sam.latent.eval()(torch.cat([x, torch.rand(2, 1, 64, 64)], 1)), e4e.net.eval()(x))
    restyle = course.new(ReStyle, "e4e")
    inherit(restyle.net, e4e.net, last=False)
    assert torch.equal(restyle.net.heads[0][0].weight, e4e.net.heads[0][0].weight) and (restyle.net.last[0].weight == 0).all()


def test_offsets_appear_row_by_row(course, monkeypatch):
    seen = []
    monkeypatch.setattr(recipes, "editable", lambda course, judge, x, formed, w_plus, random: seen.append(
        int((w_plus != w_plus[:, :1]).any(2).any(0).sum())) or formed.mean())
    course.settings = replace(SETTINGS, e4e=20)
    encoder, _ = train_e4e(course)
    rows = course.generator.num_layers
    assert seen[0] == 0 and seen == sorted(seen) and seen[-1] == rows - 1 and encoder.net.active == rows


def test_the_judge_tells_w_from_others_and_wants_w(course):
    generator, random = course.generator, torch.Generator().manual_seed(0)
    judge = LatentJudge(generator, 1.0, learning_rate=0.01, gamma=0.1)
    strange = generator.w_avg + 3 + torch.zeros(8, 4, 12)
    before = dict(generator.named_parameters())["mapping_network.fc0.weight"].clone()
    losses = torch.stack([judge.update(strange, random) for _ in range(40)])
    assert falls(losses, 0.7)
    real = sample_w(generator, 8, random)[:, None].expand(-1, 4, -1)
    assert judge.loss(real) < judge.loss(strange)
    strange.requires_grad_()
    slope, = torch.autograd.grad(judge.loss(strange), strange)
    assert judge.loss(strange.detach() - 0.5 * slope / slope.abs().max()) < judge.loss(strange.detach())
    assert torch.equal(before, dict(generator.named_parameters())["mapping_network.fc0.weight"])
    assert {*dict(judge.named_parameters())} == {f"layers.{i}.{part}" for i in (0, 2, 4) for part in ("weight", "bias")}


def test_predicted_maps_are_those_of_the_domain(tiny):
    images = (torch.rand(6, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 255).byte()
    maps, taus = encoders.predicted_maps(tiny, images, torch.linspace(0.2, 0.9, 3), batch=4)
    assert maps.shape == (6, 3, 64, 64) and maps.dtype == torch.uint8 and taus == sorted(taus)
    shares = (maps == 0).float().mean((0, 2, 3))
    assert (shares.diff() >= 0).all() and shares[-1] > 0.6
    tiny.segmenter = tiny.segmenter.segmenter  # as it is, not tidied
    found = tiny.predict(loop.as_float(images), taus[1])
    assert torch.equal(maps[:, 1].long(), layer_map.select(found["error_maps"], found["segments"], taus[1]))


def test_training_goes_on_where_it_was(course, tmp_path, monkeypatch):
    report = encoders.train_encoders(course, tmp_path, taus=[0.1, 0.2])
    assert {*report} == {*encode.ENCODERS} and all(entry["seconds"] >= 0 and entry["loss"] for entry in report.values())
    assert weights.load(SamEncoder, tmp_path / "sam-encoder.safetensors").metadata["taus"] == [0.1, 0.2]
    kept = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    lost = tmp_path / "restyle-psp.safetensors"
    before = weights.load(ReStyle, lost).state_dict()
    lost.unlink()
    again = encoders.train_encoders(course, tmp_path)
    assert all(file.stat().st_mtime_ns == time for file, time in kept.items() if file != lost)
    assert again["sam-encoder"] == report["sam-encoder"] and again["restyle-psp"]["loss"] == report["restyle-psp"]["loss"]
    assert all(torch.equal(value, before[name]) for name, value in weights.load(ReStyle, lost).state_dict().items())


def test_evaluation_is_the_mean_over_the_images(tiny, tmp_path):
    tiny.folder = tmp_path
    images, _ = scenes(3)
    for name in ("e4e", "sam-encoder"):
        weights.save(encode.ENCODERS[name].of(tiny.generator), tmp_path / f"{name}.safetensors")
    found = encoders.evaluate_encoders(tiny, {"ordinary": images}, ("e4e", "sam-encoder"), batch=2)
    mean = tiny.generator.synthesis(tiny.generator.w_avg.expand(1, 10, -1), noise="none").clamp(-1, 1)
    want = [float(10 * torch.log10(4 / (mean[0] - x).square().mean())) for x in loop.as_float(images)]
    assert found["ordinary"]["e4e"]["psnr"] == pytest.approx(sum(want) / 3, abs=1e-3)
    assert found["ordinary"]["e4e"]["lpips"] == pytest.approx(found["ordinary"]["sam-encoder"]["lpips"], abs=1e-5)


def test_the_stage_makes_a_domain_whose_encoders_work(tiny_folder, tmp_path, monkeypatch):
    import shutil

    from samlib.training import category

    folder = shutil.copytree(tiny_folder, tmp_path / "tiny")
    monkeypatch.setattr(category, "scenes", lambda category, indices, *rest, **more: (scenes(len(indices))[0], None, None))
    profile = {"metric": "st-lpips-alex", "test": 2, "encoders": replace(encoders.QUICK, scenes=4)}
    encoders.train_encoders_stage("cars", folder, profile, torch.device("cpu"))
    measured = json.loads((folder / "encoders.json").read_text())
    assert measured["tau"] == 0.2 and len(measured["taus"]) == 2 and {*measured["training"]} == {*encode.ENCODERS}
    assert {*measured["challenging"]} == {*measured["ordinary"]} == {*encode.ENCODERS}
    monkeypatch.setattr(encoders, "predicted_maps", None)  # all are there: nothing of the training is needed, and they are measured anew
    (folder / "domain.json").write_text(json.dumps({"tau": 0.1, "metric": "st-lpips-alex"}))
    encoders.train_encoders_stage("cars", folder, profile, torch.device("cpu"))
    again = json.loads((folder / "encoders.json").read_text())
    assert again["tau"] == 0.1 and all(again[key] == measured[key] for key in ("taus", "training"))


def test_statistics_are_sampled_only_where_they_have_a_weight(course):
    assert course.statistics is None
    again = replace(course, weights=Weights(gaussian=1e-8))
    assert isinstance(again.statistics, WStatistics) and again.generator.compute_dtype is None
