"""PTI and the other optimized baselines: the laws of their papers."""

import copy
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import TinyMetric, tiny_generator

from samlib import baselines
from samlib.baselines import Locality, pti
from samlib.edit import edit, sweep
from samlib.inversion import Inversion
from samlib.methods import GAUSSIAN_FACTOR, METHODS
from samlib.objective import Weights, WStatistics, w_loss
from samlib.optimize import optimize

SETTINGS = dict(weights=Weights(gaussian=0), steps=6, progress=False)


@pytest.fixture(scope="module")
def generator():
    return tiny_generator()


@pytest.fixture(scope="module")
def metric():
    return TinyMetric().requires_grad_(False)


@pytest.fixture(scope="module")
def images():
    few = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8
    return F.interpolate(few, (64, 64), mode="bilinear")


class Masked(torch.nn.Module):
    """TinyMetric, whose inputs are 0 where nothing is valid, and which has no padding of its own to leave out."""

    def __init__(self, metric):
        super().__init__()
        self.features, self.inner = metric.features, metric

    def distance(self, fx, fy, size=None, valid=None):
        return self.inner.distance(fx, fy, size)


def own_weights(generator, n):
    return {name: weight.detach().repeat(n, *[1] * weight.ndim) for name, weight in generator.synthesis_network.named_parameters()}


def distance(generator, metric, found):
    return (found.images - found.inputs).square().mean((1, 2, 3)) + metric.distance(
        metric.features(found.images), metric.features(found.inputs))


def test_without_tuning_it_is_the_pivot(generator, metric, images):
    found = pti(generator, images, {}, metric, tuning_steps=0, **SETTINGS)
    pivot = optimize(generator, images, {}, metric, shared_w=True, **SETTINGS)
    assert torch.equal(found.w_plus, pivot.w_plus)
    torch.testing.assert_close(found.images, pivot.images)
    assert all((change == 0).all() for change in found.tuned.values())
    assert all(torch.equal(found.losses[name], pivot.losses[name]) for name in pivot.losses)


def test_tuning_brings_the_pivot_closer_and_leaves_generator_and_w_alone(generator, metric, images):
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    pivot = optimize(generator, images, {}, metric, shared_w=True, **SETTINGS)
    with torch.inference_mode():
        found = pti(generator, images, {}, metric, tuning_steps=25, tuning_rate=0.01, **SETTINGS)
    assert torch.equal(found.w_plus, pivot.w_plus) and (found.w_plus == found.w_plus[:, :1]).all()
    assert (distance(generator, metric, found) < 0.8 * distance(generator, metric, pivot)).all()
    assert found.losses["l2"].shape == found.losses["lpips"].shape == (6 + 25, 2)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in generator.parameters())


def test_l2_comes_closer_the_more_it_weighs(generator, metric, images):
    one, five = (pti(generator, images, {}, metric, tuning_steps=10, tuning_rate=0.01, tuning_l2=weight, **SETTINGS).losses["l2"][-1]
                 for weight in (1.0, 50.0))
    assert (five < one).all()


def test_n_images_at_once_are_n_images_alone(generator, metric, images):
    """In double: Adam makes something of what single precision rounds differently, on some processors more than the tolerance."""
    generator, metric, images = copy.deepcopy(generator).double(), copy.deepcopy(metric).double(), images.double()
    settings = dict(tuning_steps=5, tuning_rate=0.01, **SETTINGS)
    batch = pti(generator, images, {}, metric, **settings)
    for i in range(2):
        alone = pti(generator, images[i:i + 1], {}, metric, **settings)
        torch.testing.assert_close(alone.images, batch.images[i:i + 1], atol=1e-3, rtol=0)
        torch.testing.assert_close(alone.losses["l2"], batch.losses["l2"][:, i:i + 1], atol=1e-4, rtol=1e-3)


def test_the_record_holds_what_forms_and_edits_its_images(generator, metric, images, tmp_path):
    pti(generator, images, {}, metric, tuning_steps=5, tuning_rate=0.01, **SETTINGS).save(tmp_path / "tuned")
    found = Inversion.load(tmp_path / "tuned")
    assert {change.dtype for change in found.tuned.values()} == {torch.float16}
    direction = {"any": torch.randn(generator.num_layers, 12)}
    torch.testing.assert_close(edit(generator, found, direction, {"any": 0.0}), found.images, atol=1e-6, rtol=1e-5)
    moved = edit(generator, found, direction, {"any": 0.5})
    for i, (own, part) in enumerate(found.generators(generator)):
        want = own.synthesis(found.w_plus[part] + 0.5 * direction["any"], noise="none").clamp(-1, 1)
        torch.testing.assert_close(moved[i:i + 1], want.detach())
    assert not torch.allclose(moved, edit(generator, replace(found, tuned={}), direction, {"any": 0.5}), atol=1e-3)
    torch.testing.assert_close(sweep(generator, found, direction, [{"any": 0.0}, {"any": 0.5}])[1], moved)


def test_locality_is_zero_for_equal_weights_and_only_then(generator, metric):
    near = Locality().near(generator, generator.w_avg.expand(2, generator.num_layers, -1), torch.Generator().manual_seed(0))
    weights = own_weights(generator, 2)
    weights["b8.conv1.weight"][1] = weights["b8.conv1.weight"][1] * 1.5 + 0.1
    after = baselines.form_each(generator, weights, near[:, None], "none")[:, 0]
    same, other = Locality().loss(generator.synthesis(near, noise="none"), after, metric)
    assert same < 1e-10 < 1e-6 < other


def test_each_image_is_formed_by_weights_of_its_own(generator):
    w_plus, weights = torch.randn(2, generator.num_layers, 12), own_weights(generator, 2)
    for weight in weights.values():
        weight[1] += 0.05 * torch.randn(weight[1].shape, generator=torch.Generator().manual_seed(3))
    other = tiny_generator(seed=0)
    other.synthesis_network.load_state_dict({name: weight[1] for name, weight in weights.items()}, strict=False)
    want = [one.synthesis(w, noise="const") for one, w in zip((generator, other), w_plus.split(1))]
    formed = baselines.form_each(generator, weights, w_plus[:, None], "const")
    torch.testing.assert_close(formed, torch.stack(want), atol=1e-5, rtol=1e-5)


def test_two_images_of_one_row_are_formed_by_the_same_weights(generator):
    w_plus, weights = torch.randn(2, 2, generator.num_layers, 12), own_weights(generator, 2)
    both = baselines.form_each(generator, weights, w_plus, "none")
    torch.testing.assert_close(both[:, 1:], baselines.form_each(generator, weights, w_plus[:, 1:], "none"), atol=1e-5, rtol=1e-5)


def test_products_form_what_convolutions_form(generator):
    """Images and the gradients of all weights."""
    w_plus, weights = torch.randn(2, 2, generator.num_layers, 12), own_weights(generator, 2)
    found = []
    for how in (nullcontext(), baselines.AsProducts()):
        own = {name: weight.clone().requires_grad_() for name, weight in weights.items()}
        with how:
            images = baselines.form_each(generator, own, w_plus, "none")
        images.square().sum().backward()
        found.append([images.detach(), *(weight.grad for weight in own.values() if weight.grad is not None)])
    assert len(found[0]) == len(found[1]) > 20
    for convolved, product in zip(*found):
        torch.testing.assert_close(product, convolved, atol=1e-4 * float(convolved.abs().max()), rtol=1e-4)


@pytest.mark.parametrize("size", [1, 3])
def test_a_product_is_the_convolution_of_its_size(size):
    x, weight = torch.randn(2, 3, 6, 8), torch.randn(5, 3, size, size)
    with baselines.AsProducts():
        product = F.conv2d(x, weight, padding=size // 2)
    torch.testing.assert_close(product, F.conv2d(x, weight, padding=size // 2))


def test_a_product_upsamples_as_the_transposed_convolution_does():
    x, weight = torch.randn(2, 3, 4, 8), torch.randn(3, 5, 6, 6)
    with baselines.AsProducts():
        product = F.conv_transpose2d(x, weight, stride=2, padding=2)
    assert product.shape == (2, 5, 8, 16)
    torch.testing.assert_close(product, F.conv_transpose2d(x, weight, stride=2, padding=2))


@pytest.mark.parametrize("some", [1, 2])
def test_so_many_are_tuned_at_once_makes_no_difference(generator, metric, images, monkeypatch, some):
    monkeypatch.setattr(baselines, "together", lambda generator: some)
    found = pti(generator, images, {}, metric, tuning_steps=5, tuning_rate=0.01, **SETTINGS)
    monkeypatch.setattr(baselines, "together", lambda generator: 3 - some)
    other = pti(generator, images, {}, metric, tuning_steps=5, tuning_rate=0.01, **SETTINGS)
    torch.testing.assert_close(found.losses["l2"], other.losses["l2"], atol=1e-5, rtol=1e-3)
    assert found.tuned.keys() == other.tuned.keys() and all(len(change) == 2 for change in found.tuned.values())


def test_locality_is_measured_at_its_distance_from_the_pivot(generator):
    pivot = generator.w_avg.expand(1, generator.num_layers, -1)
    near, far = (Locality(distance=length).near(generator, pivot, torch.Generator().manual_seed(0)) - pivot for length in (0.5, 2.0))
    torch.testing.assert_close(far, 4 * near)
    assert (near == near[:, :1]).all()


def test_nothing_has_moved_in_the_first_step_with_noise_or_without(metric, images, monkeypatch):
    generator, seen, real = tiny_generator(), [], Locality.loss
    with torch.no_grad():
        for name, strength in generator.synthesis_network.named_parameters():
            if name.endswith("noise_strength"):
                strength.fill_(0.5)
    monkeypatch.setattr(Locality, "loss", lambda *arguments: seen.append(real(*arguments).detach()) or seen[-1])
    for noise in ("none", "const"):
        pti(generator, images[:1], {}, metric, tuning_steps=1, noise=noise, **SETTINGS)
    assert len(seen) == 2 and torch.cat(seen).max() < 1e-8


def test_a_remainder_is_not_compiled(generator, metric, images, monkeypatch):
    asked, real = [], baselines.tune
    monkeypatch.setattr(baselines, "optimize", lambda *a, compiled, **k: optimize(*a, **k))
    monkeypatch.setattr(baselines, "tune", lambda *a: asked.append(a[-1]) or real(*a[:-1], False))
    monkeypatch.setattr(baselines, "together", lambda generator: 2)
    for count in (1, 3):
        pti(generator, images[[0, 1, 0][:count]], {}, metric, tuning_steps=1, compiled=True, **SETTINGS)
    assert asked == [True, True, False]


def test_locality_holds_the_generator_where_it_was(generator, metric, images):
    free, held = (
        pti(generator, images, {}, metric, tuning_steps=25, tuning_rate=0.01, locality=Locality(weight, weight), **SETTINGS)
        for weight in (0.0, 10.0))
    w = generator.mapping(torch.randn(4, 12, generator=torch.Generator().manual_seed(7))).detach()
    formed = generator.synthesis(w, noise="none")
    drift = [torch.stack([(own.synthesis(w, noise="none") - formed).square().mean() for own, _ in found.generators(generator)])
             for found in (free, held)]
    assert (drift[1] < 0.7 * drift[0]).all()


def test_padding_costs_nothing(generator, metric, images):
    valid = torch.ones(2, 1, 64, 64)
    valid[1, :, :, 40:] = 0
    other = images.clone()
    other[1, :, :, 40:] = 0.7  # what stands in the padding does not matter
    metric = Masked(metric)
    found = [pti(generator, x, {}, metric, tuning_steps=3, valid=valid, **SETTINGS).images for x in (images, other)]
    torch.testing.assert_close(*found, atol=1e-4, rtol=0)


def test_masks_and_ctrl_c(generator, metric, images, monkeypatch):
    with pytest.raises(ValueError, match="PTI inverts in W alone"):
        pti(generator, images, {"F4": torch.ones(2, 1, 16, 16)}, metric, **SETTINGS)

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(Locality, "loss", interrupt)
    early = pti(generator, images, {}, metric, tuning_steps=5, **SETTINGS)
    assert len(early) == 2 and early.losses["l2"].shape == (6, 2)


@pytest.mark.parametrize("in_pivot", [True, False])
def test_ctrl_c_ends_all_that_is_left(generator, metric, images, monkeypatch, in_pivot):
    """In the pivot: nothing is tuned. While the first image is tuned: the second is not."""
    calls, real = [], Locality.loss

    def loss(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    def interrupt(step, images):
        raise KeyboardInterrupt

    monkeypatch.setattr(Locality, "loss", loss)
    early = pti(generator, images, {}, metric, tuning_steps=5, tuning_rate=0.01, callback=interrupt if in_pivot else None, **SETTINGS)
    assert len(calls) == (0 if in_pivot else 3) and len(early.losses["l2"]) == (1 if in_pivot else 6)
    changed = [any(change[i].any() for change in early.tuned.values()) for i in range(2)]
    assert changed == [not in_pivot, False]


def test_pti_is_a_method_of_a_domain(tiny):
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    found = tiny.invert(images, "pti", steps=3, progress=False)
    assert found.method == "pti" and (found.layer_map == 0).all() and found.deltas == {}
    assert len(found.losses["l2"]) == 3 + round(3 * 350 / 450)
    assert tiny.edit(found, {"size": 1.0}).shape == images.shape
    with pytest.raises(ValueError, match="pti inverts in W"):
        tiny.invert(images, "pti", layer_map=torch.zeros(64, 64, dtype=torch.long))


def test_the_gaussian_baseline_is_the_prior_of_its_paper(generator):
    """Wulff and Torralba: undo the mapping's last LeakyReLU(0.2) with slope 5; then w is N(mu, Sigma), and the prior is the
    squared Mahalanobis distance, with no other term on w."""
    weights = METHODS["gaussian"](Weights(gaussian=1e-8, spread=1e-3))["weights"]
    assert weights.gaussian == pytest.approx(GAUSSIAN_FACTOR * 1e-8) and weights.spread == 0
    w = generator.mapping(torch.randn(4000, 12, generator=torch.Generator().manual_seed(1)))[:, :1].detach()
    before = torch.where(w < 0, 5 * w, w)[:, 0].double()
    deviation = before - before.mean(0)
    want = ((deviation @ torch.linalg.inv(deviation.t() @ deviation / (len(w) - 1))) * deviation).sum(1)
    found = w_loss(w, weights, WStatistics(before.mean(0), torch.linalg.inv(before.t().cov())))
    assert [*found] == ["gaussian"]
    torch.testing.assert_close(found["gaussian"].double(), want, rtol=1e-4, atol=1e-4)
    assert float(want.mean()) == pytest.approx(12, rel=0.01)  # the dimensions of w
