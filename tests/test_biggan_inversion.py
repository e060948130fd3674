"""Sec. 6.3 end to end on a tiny BigGAN-deep: Eq. 9 by hand, inversion in Z+, F2, F4 and mixed, the class kept, edits."""

import copy
from dataclasses import replace

import pytest
import torch
from tiny import TinyMetric
from tiny_biggan import NAMES, save_domain, tiny_biggan

import samlib
from samlib.classifier import SceneClassifier
from samlib.edit import edit, sweep
from samlib.inversion import Inversion
from samlib.invertibility import InvertibilityPredictor
from samlib.layer_map import masks as masks_of
from samlib.layer_map import uniform
from samlib.objective import Weights, WStatistics, total, z_loss
from samlib.optimize import at_size, optimize
from samlib.training.predictor import invert_everywhere

F2, F4 = 4, 6  # first rows after these spaces


@pytest.fixture(scope="module")
def generator():
    return tiny_biggan()


@pytest.fixture(scope="module")
def foreign():
    noise = torch.rand(3, 3, 6, 6, generator=torch.Generator().manual_seed(2)) * 1.6 - 0.8
    return torch.nn.functional.interpolate(noise, (32, 32), mode="bilinear")


class SpatialMetric(TinyMetric):
    """With the call that error maps need."""

    def forward(self, x, y, spatial=False):
        errors = (x - y).square().mean(1)
        return errors if spatial else errors.mean((1, 2))


def run(generator, images, maps=None, **settings):
    maps = uniform(len(images), 32, 0) if maps is None else maps
    settings = {"steps": 8, "progress": False, "weights": Weights(gaussian=1e-4), **settings}
    return optimize(generator, images, masks_of(maps, generator.spaces), TinyMetric(), **settings)


def mixed():
    """Three layer maps: Z+ with a half in F2, all F4, and all three spaces."""
    maps = torch.cat([uniform(1, 32, 0), uniform(1, 32, 2), uniform(1, 32, 0)])
    maps[0, :, :16] = 1
    maps[2, :, :16], maps[2, 16:] = 1, 2
    return maps


def close(a, b, tolerance=1e-4):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_equation_9_by_hand():
    z = torch.tensor([[[1.0, 2], [1, 2], [4, 6]], [[0, 0], [0, 0], [0, 0]]])
    terms = z_loss(z, Weights(gaussian=1, spread=1))
    assert terms["gaussian"].tolist() == [5 + 5 + 52, 0]
    assert terms["spread"].tolist() == [5, 0]  # |(3, 4)|
    assert z_loss(z, Weights(spread_power=2))["spread"].tolist() == [25, 0]
    assert total(terms, Weights(gaussian=0.5, spread=2)).tolist() == [0.5 * 62 + 2 * 5, 0]
    measured = WStatistics(torch.tensor([1.0, 2]).double(), torch.diag(torch.tensor([1.0, 0.25])).double())
    assert z_loss(z, Weights(spread=0), measured)["gaussian"].tolist() == [9 + 4, 3 * (1 + 1)]
    assert z_loss(z, Weights(gaussian=0, spread=0)) == {}


def test_the_prior_without_statistics_is_the_limit_of_the_measured_one():
    """Mean and covariance of 200,000 samples give the same first term within a percent."""
    z = torch.randn(200_000, 4, generator=torch.Generator().manual_seed(0)).double()
    measured = WStatistics(z.mean(0), torch.linalg.inv(z.t().cov()))
    one, two = (z_loss(z[None, :50], Weights(), s)["gaussian"] for s in (None, measured))
    torch.testing.assert_close(one, two, rtol=0.01, atol=0)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_every_space_fits_and_keeps_the_class(generator, foreign, index):
    given = generator.conditioned(NAMES)
    found = run(given, foreign, uniform(3, 32, index), steps=30, learning_rate=0.1)
    assert (found.losses["l2"][-1] < found.losses["l2"][0]).all()
    close(found.w_plus[..., 6:], generator.embed(NAMES)[:, None].expand(-1, 7, -1), 0)
    assert {*found.deltas} == {s.name for s in generator.spaces[1:][index - 1 : index] if index}
    assert {*found.losses} == {"l2", "lpips", "gaussian", "spread", *(["feature"] if index else [])}
    assert found.w_plus[..., :6].abs().max() > 0.1


def test_later_spaces_fit_better(generator, foreign):
    weights = Weights(gaussian=0, spread=0, feature=0)
    errors = [run(generator.conditioned(NAMES), foreign, uniform(3, 32, i), steps=60, weights=weights, learning_rate=0.1)
              .losses["l2"][-1].mean() for i in range(3)]  # fmt: skip
    assert errors[0] > errors[1] > errors[2]


@pytest.fixture()
def double():
    """Everything in double precision: Adam makes much of a gradient that is only rounding."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_a_batch_is_its_images_one_by_one_each_with_its_class_and_masks(double, foreign):
    generator, foreign = tiny_biggan(), foreign.double()
    batch = run(generator.conditioned(NAMES), foreign, mixed(), steps=5)
    for i, name in enumerate(NAMES):
        single = run(generator.conditioned(name), foreign[i : i + 1], mixed()[i : i + 1], steps=5)
        close(batch[i].images, single.images, 1e-6)
        close(batch[i].w_plus, single.w_plus, 1e-6)
        for name in single.deltas:
            close(batch[i].deltas[name], single.deltas[name], 1e-6)


def test_z_alone_and_a_start(generator, foreign):
    shared = run(generator.conditioned("van"), foreign, shared_w=True)
    close(shared.w_plus, shared.w_plus[:, :1].expand(-1, 7, -1), 0)
    start = generator.mapping(torch.randn(3, 6), classes=NAMES)
    still = run(generator, foreign, start=start, learning_rate=0)  # a start brings the class: no view is needed
    close(still.w_plus, start, 0)
    close(still.images, generator.synthesis(start).clamp(-1, 1))


def test_without_a_class_it_says_so_and_with_a_classifier_it_finds_out(generator, foreign):
    with pytest.raises(ValueError, match="conditioned"):
        run(generator, foreign)
    telling = copy.copy(generator)
    telling.classify = lambda images: torch.tensor([2, 0, 1])
    found = run(telling, foreign, mixed())
    want = run(generator.conditioned(["truck", "sedan", "van"]), foreign, mixed())
    close(found.w_plus, want.w_plus, 0)
    assert telling.given is None
    close(run(telling.conditioned("van"), foreign).w_plus[:, 0, 6:], generator.embed("van").expand(3, -1), 0)  # given wins


def test_an_inversion_is_saved_with_its_class(generator, foreign, tmp_path):
    found = replace(run(generator.conditioned(NAMES), foreign, mixed()), layer_map=mixed(), tau=0.2)
    found.save(tmp_path / "a.safetensors")
    again = Inversion.load(tmp_path / "a.safetensors")
    assert again.spaces == ("Z+", "F2", "F4") and torch.equal(again.w_plus, found.w_plus)
    close(generator.synthesis(again.w_plus, again.deltas, again.masks).clamp(-1, 1), found.images)


@pytest.fixture(scope="module")
def inversion(generator, foreign):
    return run(generator.conditioned(NAMES), foreign, mixed(), steps=5)


def test_edits_by_direction(generator, inversion):
    directions = {"size": generator.z_direction(torch.ones(6)), "late": generator.z_direction(torch.ones(6), range(F4, 7))}
    close(edit(generator, inversion, directions, {"size": 0.0}), inversion.images)
    strengths = torch.tensor([1.0, -1.0, 0.5])
    batch = edit(generator, inversion, directions, {"size": strengths, "late": 0.3})
    for i in range(3):
        close(batch[i : i + 1], edit(generator, inversion[i], directions, {"size": strengths[i : i + 1], "late": 0.3}))
    swept = sweep(generator, inversion, directions, [{}, {"size": 1.0}])
    close(swept[0], inversion.images)
    close(swept[1], edit(generator, inversion, directions, {"size": 1.0}))


def test_edits_by_class(generator, inversion):
    """Figure 6, bottom row. All of image 1 is in F4, whose rows before do not see the new class."""
    change = {"van": generator.class_direction(inversion.w_plus, "van")}
    images = edit(generator, inversion, change, {"van": 1.0})
    close(images[1], inversion.images[1])  # it was a van
    assert (images[0] - inversion.images[0]).abs().mean() > 1e-3
    half = edit(generator, inversion, change, {"van": 0.5})
    assert not torch.allclose(half[0], images[0], atol=1e-3)
    trucks = {"truck": generator.class_direction(inversion.w_plus, "truck")}
    trucks["truck"][:, F4:] = 0
    close(edit(generator, inversion, trucks, {"truck": 1.0})[1], inversion.images[1])


def test_without_masks_a_class_edit_is_the_generator_at_the_new_class(generator, foreign):
    plain = run(generator.conditioned(NAMES), foreign)
    change = {"to": generator.class_direction(plain.w_plus, ["truck", "sedan", "van"])}
    code = plain.w_plus.clone()
    code[..., 6:] = generator.embed(["truck", "sedan", "van"])[:, None]
    close(edit(generator, plain, change, {"to": 1.0}), generator.synthesis(code).clamp(-1, 1))


def test_a_sweep_takes_a_change_for_each_image(generator, inversion):
    change = {"van": generator.class_direction(inversion.w_plus, "van")}
    swept = sweep(generator, inversion, change, [{}, {"van": 0.5}, {"van": 1.0}])
    for got, strength in zip(swept, (0.0, 0.5, 1.0)):
        close(got, edit(generator, inversion, change, {"van": strength}))


def test_single_space_data_and_a_predictor(generator, foreign):
    """The data of S: each image in Z+, F2, F4 as one batch; the class is told from the images of the batch."""
    telling, seen = copy.copy(generator), []
    telling.classify = lambda images: seen.append(len(images)) or torch.zeros(len(images), dtype=torch.long)
    found = invert_everywhere(telling, SpatialMetric(), foreign, steps=6, progress=False, learning_rate=0.1)
    assert seen == [9]
    assert found["error_maps"].shape == (3, 3, 32, 32) and found["psnr"].shape == (3, 3)
    assert found["psnr"][:, 2].mean() > found["psnr"][:, 0].mean()
    predictor = InvertibilityPredictor(generator.spaces, width=8, decoder=8, low_reduced=8).eval()
    assert predictor.spaces == ("Z+", "F2", "F4") and predictor(foreign).shape == (3, 3, 32, 32)


@pytest.fixture(scope="module")
def domain(tmp_path_factory):
    """A whole domain of random weights, as samlib.load reads it."""
    return samlib.load(save_domain(tmp_path_factory.mktemp("domains") / "biggan-tiny"), "cpu")


@pytest.mark.parametrize("method", ["sam", "z", "z+", "gaussian", "F2", "F4"])
def test_a_domain_inverts_with_the_class_its_classifier_finds(domain, foreign, method):
    foreign = at_size(foreign, 64)
    classes = SceneClassifier.load(domain.folder / "classifier.safetensors")(foreign)
    found = domain.invert(foreign, method, progress=False)
    close(found.w_plus[..., 6:], domain.generator.embed(classes)[:, None].expand(-1, 9, -1), 0)
    assert found.method == method and found.images.shape == foreign.shape
    assert {*found.deltas} == {method} & {"F2", "F4"} or method == "sam"
    if method == "z":
        close(found.w_plus, found.w_plus[:, :1].expand_as(found.w_plus), 0)


def test_a_domain_edits_by_direction_and_by_class(domain, foreign):
    foreign = at_size(foreign, 64)
    assert domain.methods == ("sam", "z", "z+", "gaussian", "F2", "F4")
    found = domain.invert(foreign, "z+", classes=NAMES, progress=False)
    assert torch.equal(found.w_plus[:, 0, 6:], domain.generator.embed(NAMES))
    want = domain.generator.synthesis(found.w_plus + domain.generator.class_direction(found.w_plus, "truck"))
    close(domain.edit(found, {"truck": 1.0}), want.clamp(-1, 1))
    close(domain.edit(found, {"truck": 1.0})[2], found.images[2])
    both = domain.edit(found, {"truck": 0.5, "size": torch.tensor([1.0, 0.0, -1.0])})
    assert both.shape == foreign.shape and not torch.allclose(both, want, atol=1e-3)
    with pytest.raises(ValueError, match="tank"):
        domain.edit(found, {"tank": 1.0})
    with pytest.raises(ValueError, match="no method 'pti'"):
        domain.invert(foreign, "pti")
    with pytest.raises(ValueError, match="^2 classes for 3 images; want one, or one for each$"):
        domain.invert(foreign, "z+", classes=NAMES[:2], progress=False)
    with pytest.raises(ValueError, match="^classes and a start, which has its own; leave one out"):
        domain.invert(foreign, "z+", classes=NAMES, start=found, progress=False)
