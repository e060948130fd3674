"""Directions for a differentiable score: laws on tiny generators, the cars with their factor regressor, and CLIP of random weights."""

import argparse
import json

import pytest
import torch
import torch.nn.functional as F
from tiny import TinyMetric, tiny_generator

from samlib import paths, text
from samlib.__main__ import main
from samlib.arguments import strength as strength_of
from samlib.text import add, direction_for, rise

CARS = paths.DATA / "cars"
CLIP = {"embed_dim": 16, "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}}


@pytest.fixture(scope="module")
def generator():
    return tiny_generator().requires_grad_(False)


def redness(images):
    return images[:, 0].mean((1, 2)) - images[:, 1:].mean((1, 2, 3))


def found(generator, score=redness, samples=32, **settings):
    return direction_for(generator, score, samples, **{"steps": 20, "progress": False, **settings})


@pytest.fixture(scope="module")
def direction(generator):
    return found(generator)


def test_strength_counts_standard_deviations_of_the_score(generator, direction):
    changes = [rise(generator, redness, direction, 64, strength=strength) for strength in (-2, -1, 0, 1, 2)]
    for strength, change in zip((-2, -1, 1, 2), (*changes[:2], *changes[3:])):
        assert 0.5 < change.mean() / strength < 1.2
    assert changes[2].abs().max() == 0 and (torch.stack(changes).diff(dim=0) > 0).float().mean() > 0.9


def test_the_unit_and_the_origin_of_a_score_do_not_matter(generator, direction):
    for score, strengths, sign in ((lambda images: 5 * redness(images) + 3, (-2, 2), 1), (lambda images: -redness(images), (2, -2), -1)):
        torch.testing.assert_close(sign * found(generator, score, strengths=strengths), direction, rtol=1e-3, atol=1e-4)


def test_only_the_chosen_rows_move(generator):
    moved = found(generator, rows=range(5, 8), steps=3)
    assert moved.shape == (10, 12) and moved.any(1).tolist() == [5 <= row < 8 for row in range(10)]


def test_a_seed_gives_one_direction_and_codes_can_be_given(generator):
    codes = text.codes(generator, 6, seed=4)
    for other in (found(generator, samples=6, seed=4, steps=5), found(generator, samples=codes, seed=4, steps=5)):
        assert torch.equal(found(generator, samples=6, seed=4, steps=5), other)
    assert not torch.equal(found(generator, samples=6, seed=5, steps=5), other)


def test_what_costs_more_changes_less(generator, direction):
    metric = TinyMetric().requires_grad_(False)

    def identity(before, after):
        return metric.distance(metric.features(before), metric.features(after))

    def change(moved):
        w_plus = text.codes(generator, 20, seed=9)
        return identity(*(text.render(generator, codes, None) for codes in (w_plus, w_plus + moved))).mean()

    kept = found(generator, identity=identity, identity_weight=30.0)
    assert change(kept) < 0.8 * change(direction)
    assert found(generator, w_weight=1.0).norm() < 0.8 * direction.norm()


def test_factors_that_are_to_stay_do_stay(generator):
    """Redness goes along with red. An identity term on brightness keeps that, and the score still rises."""

    def brightness(images):
        return images.mean((1, 2, 3))

    def drift(direction):
        return rise(generator, brightness, direction).abs().mean()

    def red(images):
        return images[:, 0].mean((1, 2))

    kept = found(generator, red, identity=lambda a, b: 300 * (brightness(b) - brightness(a)).square())
    assert drift(kept) < 0.7 * drift(found(generator, red)) and rise(generator, red, kept).mean() > 0.4


def test_a_smaller_rendering_is_enlarged_for_the_score(generator):
    sizes = set()

    def score(images):
        sizes.add(images.shape[-1])
        return redness(images)

    moved = found(generator, score, size=32, steps=10)
    assert sizes == {64} and rise(generator, redness, moved).mean() > 0.5


@pytest.mark.skipif(not (CARS / "factors.safetensors").is_file(), reason="the cars' weights are not here")
def test_size_of_the_cars_grows_and_the_other_factors_move_less():
    from samlib import load_generator
    from samlib.training.factors import FactorRegressor

    generator = load_generator(CARS / "generator.safetensors").requires_grad_(False)
    regressor = FactorRegressor.load(CARS / "factors.safetensors").requires_grad_(False)
    index = regressor.names.index("size")
    moved = direction_for(generator, lambda images: regressor(images)[:, index], 8, steps=6, batch=4, size=64, progress=False)
    w_plus = text.codes(generator, 4, seed=77)
    with torch.inference_mode():
        before = regressor(text.render(generator, w_plus, 64))
        smaller, larger = (regressor(text.render(generator, w_plus + s * moved, 64)) - before for s in (-2, 2))
    change = ((larger - smaller) / 2).mean(0)  # in standard deviations of the data
    others = torch.cat([change[:index], change[index + 1 :]]).abs().mean()
    assert change[index] > 0.5 and others < 0.4 * change[index]
    assert (larger[:, index] > smaller[:, index]).all()


def test_wrong_input_is_named(generator):
    for settings, words in (
        (dict(score=lambda images: images.mean((1, 2, 3)) * 0), "same for all of 32 images"),
        (dict(score=lambda images: images.mean((2, 3))), r"shape \(8, 3\); wanted \(8,\)"),
        (dict(rows=[10]), "0 to 9"),
        (dict(samples=torch.zeros(2, 3, 12)), r"\(2, 3, 12\); wanted \(N, 10, 12\)"),
    ):
        with pytest.raises(ValueError, match=words):
            found(generator, **settings)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Name and weights of a CLIP of random weights."""
    open_clip = pytest.importorskip("open_clip")
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("clip")
    (folder / "tiny-clip.json").write_text(json.dumps(CLIP))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    save_file(open_clip.create_model("tiny-clip").state_dict(), folder / "clip.safetensors")
    return "tiny-clip", folder / "clip.safetensors"


def test_clip_score_is_the_cosine_computed_by_hand(clip):
    import open_clip

    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    network, _, preprocess = open_clip.create_model_and_transforms(clip[0], pretrained=str(clip[1]))
    normalize = preprocess.transforms[-1]
    with torch.no_grad():
        seen = F.normalize(network.eval().encode_image(normalize((images + 1) / 2)), dim=1)
        tokens = open_clip.get_tokenizer(clip[0])([prompt.format("a red car") for prompt in text.PROMPTS])
        sentence = F.normalize(F.normalize(network.encode_text(tokens), dim=1).mean(0), dim=0)
        torch.testing.assert_close(text.CLIPScore("a red car", *clip)(images), seen @ sentence)


def test_clip_score_of_images_of_any_size(clip):
    score = text.CLIPScore("a red car", *clip)
    for size in ((32, 32), (48, 64)):
        images = (torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1).requires_grad_()
        values = score(images)
        assert values.shape == (3,) and values.abs().max() <= 1
        torch.testing.assert_close(values, torch.cat([score(one[None]) for one in images]), rtol=1e-4, atol=1e-5)
        (gradient,) = torch.autograd.grad(values.sum(), images)
        assert gradient.isfinite().all() and gradient.flatten(1).norm(dim=1).min() > 0
        assert (score(images + 0.5 * gradient / gradient.abs().max()) > values).all()


def test_clip_score_against_a_neutral_sentence(clip):
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    plus = text.CLIPScore("a red car", *clip, neutral="a car")(images)
    minus = text.CLIPScore("a car", *clip, neutral="a red car")(images)
    torch.testing.assert_close(plus, -minus)
    with pytest.raises(ValueError, match="mean the same"):
        text.CLIPScore("a car", *clip, neutral="a car")


def test_a_direction_for_a_sentence(clip, generator):
    score = text.CLIPScore("a red car", *clip)
    moved = found(generator, score, steps=15)
    assert rise(generator, score, moved).mean() > 0.4


def test_clip_that_cannot_be_had_is_one_line(clip, tmp_path):
    class Planted:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    torch.save({"state_dict": Planted()}, tmp_path / "planted.pt")
    for model, weights in ((clip[0], tmp_path / "none.pt"), ("no-such-model", clip[1]), (clip[0], tmp_path / "planted.pt"),
                           (clip[0], "")):
        with pytest.raises(FileNotFoundError) as caught:
            text.CLIPScore("a red car", model, weights)
        message = str(caught.value)
        assert "\n" not in message and str(weights) in message and model in message and "local file" in message
    assert not (tmp_path / "ran").exists()


def test_a_file_of_directions_grows_and_a_domain_reads_it(tiny, tmp_path):
    file, first, second = tmp_path / "more.safetensors", torch.randn(10, 16), torch.randn(10, 16)
    add(file, "a red car", first, sentence="a red car")
    add(file, "snow", second)
    assert tiny.add_directions(file) == ["a red car", "snow"] and "size" in tiny.directions
    torch.testing.assert_close(tiny.directions["a red car"], first, rtol=1e-3, atol=1e-3)  # 16 bits
    with pytest.raises(ValueError, match=r"\(10, 16\).*\(14, 16\)"):
        add(file, "other", torch.zeros(14, 16))
    add(tmp_path / "other.safetensors", "wide", torch.zeros(14, 16))
    with pytest.raises(ValueError, match=r"wide has shape \(14, 16\).*\(10, 16\)"):
        tiny.add_directions(tmp_path / "other.safetensors")


def test_the_command_makes_a_direction_that_edit_uses(clip, tiny_folder, photo, tmp_path, capsys):
    out = tmp_path / "more.safetensors"
    command = ["direction", "a red car", "--model", clip[0], "--pretrained", str(clip[1]), "--domain", str(tiny_folder),
               "--steps", "2", "--samples", "4", "--device", "cpu", "--out", str(out)]
    assert main(command) == 0 and "a red car: strength 1 raises" in capsys.readouterr().out
    edit = ["edit", str(photo), "--domain", str(tiny_folder), "--method", "w", "--steps", "1", "--device", "cpu",
            "--direction", "a red car=1", "--out", str(tmp_path / "edited.png")]
    assert main(edit) == 2 and "no direction a red car" in capsys.readouterr().err
    assert main([*edit, "--directions", str(out)]) == 0 and (tmp_path / "edited.png").is_file()


def test_the_command_names_what_is_wrong(tiny_folder, tmp_path, capsys):
    for arguments, words in (
        ([], "either a sentence or --factor"),
        (["a red car", "--factor", "size"], "either a sentence or --factor"),
        (["--factor", "size"], "measures no factors"),
    ):
        assert main(["direction", *arguments, "--domain", str(tiny_folder), "--device", "cpu",
                     "--out", str(tmp_path / "a.safetensors")]) == 2
        assert words in capsys.readouterr().err
    assert main(["direction", "--factor", "size", "--out", str(tmp_path / "a.png")]) == 2
    assert "safetensors" in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize("options, words", [
    (["--identity", "-1"], "no weight"), (["--identity", "nan"], "no weight"), (["--steps", "0"], "above 0"),
    (["--samples", "0"], "above 0"), (["--size", "-4"], "above 0"), (["--seed", "-1"], "no seed"), (["--name", "a=b"], "without '='"),
    (["--name", "__metadata__"], "other than __metadata__"), (["--neutral", "a car"], "--neutral goes with a sentence")])  # fmt: skip
def test_options_that_mean_nothing_are_refused_before_the_work(options, words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("samlib.text_command.load", lambda *args: pytest.fail("the work had begun"))
    try:
        code = main(["direction", "--factor", "size", "--out", str(tmp_path / "a.safetensors"), *options])
    except SystemExit as stop:
        code = stop.code
    assert code == 2 and words in capsys.readouterr().err


def test_a_name_that_a_file_or_a_command_cannot_have_is_refused(tmp_path):
    for name in ("__metadata__", "red=1"):
        with pytest.raises(ValueError, match="cannot be called"):
            add(tmp_path / "a.safetensors", name, torch.zeros(10, 16))
    assert not list(tmp_path.iterdir())


def test_a_strength_stands_behind_the_last_equals_sign():
    """A file of before may hold a name with one."""
    assert strength_of("a=b=2") == ("a=b", 2.0) and strength_of("size=-1.5") == ("size", -1.5)
    for wrong in ("=2", "2", "size"):
        with pytest.raises(argparse.ArgumentTypeError, match="NAME=STRENGTH"):
            strength_of(wrong)
