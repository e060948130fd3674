"""The optimizer on a tiny generator: it recovers images, batches equal singles, and Ctrl-C returns what is reached."""

import copy

import pytest
import torch
from tiny import TinyMetric, tiny_generator

from samlib.layer_map import masks as masks_of
from samlib.layer_map import uniform
from samlib.objective import Weights, WStatistics, total, w_loss
from samlib.optimize import Clamp, Reconstruction, at_size, optimize, schedule
from samlib.precision import fused

PLAIN = Weights(gaussian=0, spread=0, feature=0)


@pytest.fixture(scope="module")
def generator():
    return tiny_generator()


@pytest.fixture(scope="module")
def own(generator):
    """Three images of the generator itself, with their w+."""
    z = torch.randn(3, 12, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        w_plus = generator.mapping(z, truncation=0.8).clone()
        return generator.synthesis(w_plus, noise="none").clamp(-1, 1), w_plus


@pytest.fixture(scope="module")
def foreign():
    """Smooth images that the generator knows nothing of."""
    noise = torch.rand(3, 3, 6, 6, generator=torch.Generator().manual_seed(2)) * 1.6 - 0.8
    return torch.nn.functional.interpolate(noise, (64, 64), mode="bilinear")


def run(generator, images, masks=None, metric=None, **settings):
    settings = {"steps": 8, "progress": False, **settings}
    return optimize(generator, images, masks or {}, metric or TinyMetric(), **settings)


def test_it_recovers_the_generator_s_own_images(generator, own):
    images, _ = own
    found = run(generator, images, steps=80, weights=PLAIN)
    first, last = found.losses["l2"][0], found.losses["l2"][-1]
    assert (last < 0.1 * first).all()
    smooth = (found.losses["l2"] + found.losses["lpips"]).unfold(0, 16, 16).mean(2)
    assert (smooth.diff(dim=0) < 0).all()  # falls from each fifth of the run to the next
    assert (found.images - images).square().mean() < 0.1 * images.var()


def test_it_stays_where_the_answer_is(generator, own):
    images, w_plus = own
    found = run(generator, images, start=w_plus, steps=1, weights=PLAIN, learning_rate=0)
    assert found.losses["l2"].max() < 1e-10
    assert torch.equal(found.w_plus, w_plus)


def test_a_batch_is_its_images_one_by_one_with_their_own_masks(generator, foreign):
    generator, foreign = copy.deepcopy(generator).double(), foreign.double()  # Adam enlarges rounding from step to step
    maps = torch.cat([uniform(1, 64, 0), uniform(1, 64, 1), uniform(1, 64, 2)])
    maps[1, :, 40:] = 2
    statistics = WStatistics.sample(generator, 300)
    settings = dict(weights=Weights(gaussian=1e-4), statistics=statistics, steps=6, metric=TinyMetric().double())
    batch = run(generator, foreign, masks_of(maps, generator.spaces), **settings)
    assert {*batch.deltas} == {"F4", "F6"}
    for i in range(3):
        part = slice(i, i + 1)
        single = run(generator, foreign[part], masks_of(maps[part], generator.spaces), **settings)
        torch.testing.assert_close(batch[i].images, single.images, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(batch[i].w_plus, single.w_plus, rtol=1e-6, atol=1e-8)
        for name in batch.deltas:
            want = single.deltas.get(name, torch.zeros_like(batch[i].deltas[name]))
            torch.testing.assert_close(batch[i].deltas[name], want, rtol=1e-6, atol=1e-8)
        for name in single.losses:
            torch.testing.assert_close(batch[i].losses[name], single.losses[name], rtol=1e-6, atol=1e-8)


def test_masks_of_zeros_leave_w_plus_alone(generator, foreign):
    zeros = masks_of(uniform(3, 64, 0), generator.spaces)
    a, b = run(generator, foreign, zeros), run(generator, foreign, {})
    assert a.deltas == {} and torch.equal(a.images, b.images)


def test_outside_its_mask_a_change_stays_zero(generator, foreign):
    maps = uniform(3, 64, 0)
    maps[:, :32] = 1
    found = run(generator, foreign, masks_of(maps, generator.spaces))
    assert found.deltas["F4"][:, :, :7].abs().min() > 0 and found.deltas["F4"][:, :, 9:].abs().max() == 0


def test_a_feature_space_fits_what_w_plus_cannot(generator, foreign):
    settings = dict(steps=30, weights=Weights(gaussian=0, feature=0))
    errors = [
        run(generator, foreign, masks_of(uniform(3, 64, i), generator.spaces), **settings).losses["l2"][-1].mean()
        for i in range(3)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_the_history_has_each_term_and_only_those_with_a_weight(generator, foreign):
    mask = {"F4": torch.ones(3, 1, 16, 16)}
    every = run(generator, foreign, mask, steps=3, weights=Weights(gaussian=1e-4))
    assert {*every.losses} == {"l2", "lpips", "gaussian", "spread", "feature"}
    assert all(history.shape == (3, 3) and history.isfinite().all() for history in every.losses.values())
    assert total(every.losses, Weights()).shape == (3, 3)
    metric = TinyMetric()
    few = run(generator, foreign, mask, metric, steps=3, weights=Weights(lpips=0, gaussian=0, spread=0, feature=0))
    assert {*few.losses} == {"l2"} and metric.calls == 0
    optimize(generator, foreign, {}, None, steps=1, weights=Weights(lpips=0, gaussian=0), progress=False)


def test_the_features_of_the_input_are_computed_once(generator, foreign):
    metric = TinyMetric()
    run(generator, foreign, metric=metric, steps=5)
    assert metric.calls == 2 + 5  # of the input at each of the two sizes, of what is formed in each step


def test_the_regularization_keeps_what_it_weighs_small(generator, foreign):
    mask = {"F4": torch.ones(3, 1, 16, 16)}
    free, held = (
        run(generator, foreign, mask, steps=40, weights=Weights(gaussian=0, spread=s, feature=f))
        for s, f in ((0, 0), (1, 100))
    )
    assert held.deltas["F4"].square().mean() < 0.1 * free.deltas["F4"].square().mean()
    spread = [(x.w_plus - x.w_plus[:, :1]).norm(dim=2).sum() for x in (free, held)]
    assert spread[1] < 0.5 * spread[0]


def test_w_has_one_row_for_all(generator, foreign):
    found = run(generator, foreign, shared_w=True)
    assert found.w_plus.shape == (3, generator.num_layers, 12)
    assert torch.equal(found.w_plus, found.w_plus[:, :1].expand_as(found.w_plus))
    assert not torch.allclose(found.w_plus, generator.w_avg)


def test_the_rates_of_w_and_deltas_are_separate(generator, foreign):
    mask = {"F4": torch.ones(3, 1, 16, 16)}
    still = run(generator, foreign, mask, learning_rate=0, delta_learning_rate=0.05)
    torch.testing.assert_close(still.w_plus, generator.w_avg.expand_as(still.w_plus))
    assert still.deltas["F4"].abs().max() > 0.01
    still = run(generator, foreign, mask, delta_learning_rate=0)
    assert still.deltas["F4"].abs().max() == 0


def test_each_space_has_its_rate(generator, foreign):
    """Adam's first step is the rate in every number."""
    mask = {"F4": torch.ones(3, 1, 16, 16), "F6": torch.ones(3, 1, 32, 32)}
    found = run(generator, foreign, mask, steps=1, learning_rate=0.3, delta_learning_rate={"F4": 0.02, "F6": 0.001})
    height = schedule(0.5)
    for name, rate in (("F4", 0.02), ("F6", 0.001)):
        assert found.deltas[name].abs().median() == pytest.approx(rate * height, rel=1e-3)
    left_out = run(generator, foreign, mask, steps=1, learning_rate=0.3, delta_learning_rate={"F4": 0.02})
    assert left_out.deltas["F6"].abs().median() == pytest.approx(0.3 * height, rel=1e-3)


def test_it_starts_where_it_is_told(generator, foreign, own):
    delta = torch.randn(3, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = {"F4": torch.ones(3, 1, 16, 16)}
    kept = run(generator, foreign, mask, start=own[1], start_deltas={"F4": delta}, learning_rate=0)
    assert torch.equal(kept.deltas["F4"], delta) and torch.equal(kept.w_plus, own[1])
    with torch.no_grad():
        want = generator.synthesis(own[1], {"F4": delta}, mask, noise="none").clamp(-1, 1)
    torch.testing.assert_close(kept.images, want)
    assert delta.requires_grad is False and own[1].requires_grad is False


def test_a_start_of_one_image_is_that_of_all(generator, foreign, own):
    delta = torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = {"F4": torch.ones(3, 1, 16, 16)}
    one = run(generator, foreign, mask, start=own[1][:1], start_deltas={"F4": delta}, steps=2)
    each = run(generator, foreign, mask, start=own[1][:1].repeat(3, 1, 1), start_deltas={"F4": delta.repeat(3, 1, 1, 1)}, steps=2)
    assert torch.equal(one.deltas["F4"], each.deltas["F4"]) and torch.equal(one.images, each.images)
    assert not torch.equal(one.deltas["F4"][0], one.deltas["F4"][1])  # each image moves its own from there


def test_the_statistics_of_w_are_those_given_or_drawn_by_the_seed(generator, foreign):
    weights, drawn = Weights(gaussian=1e-3), [WStatistics.sample(generator, seed=seed) for seed in (0, 7)]
    losses = [run(generator, foreign, steps=1, weights=weights, **given).losses["gaussian"]
              for given in ({}, {"seed": 7}, {"statistics": drawn[0]}, {"statistics": drawn[1], "seed": 3})]
    assert torch.equal(losses[0], losses[2]) and torch.equal(losses[1], losses[3]) and not torch.equal(losses[0], losses[1])
    rows = generator.w_avg.expand(3, generator.num_layers, -1)
    torch.testing.assert_close(losses[1][0], w_loss(rows, weights, drawn[1])["gaussian"])


@pytest.mark.parametrize("at", [0, 4])
def test_ctrl_c_returns_what_has_been_reached(generator, foreign, at):
    seen = []

    def interrupt(step, images):
        seen.append(images.shape)
        if step == at:
            raise KeyboardInterrupt

    mask = {"F4": torch.ones(3, 1, 16, 16)}
    early = run(generator, foreign, mask, steps=50, callback=interrupt, callback_every=2)
    assert seen == [foreign.shape] * (at // 2 + 1)
    assert len(early) == 3 and all(len(history) == at + 1 for history in early.losses.values())
    with torch.no_grad():
        formed = generator.synthesis(early.w_plus, early.deltas, early.masks, early.noise).clamp(-1, 1)
    torch.testing.assert_close(early.images, formed)
    assert early.deltas["F4"].abs().max() > 0


def test_the_record_forms_its_own_images_with_either_noise(generator, foreign):
    noisy = tiny_generator()
    with torch.no_grad():
        for block in noisy.synthesis_network.blocks():
            block.conv1.noise_strength.fill_(0.5)
    found = {noise: run(noisy, foreign, noise=noise) for noise in ("none", "const")}
    for noise, inversion in found.items():
        with torch.no_grad():
            formed = noisy.synthesis(inversion.w_plus, noise=inversion.noise).clamp(-1, 1)
        torch.testing.assert_close(inversion.images, formed)
        assert inversion.noise == noise
    assert not torch.allclose(found["none"].images, found["const"].images)


def test_it_can_be_called_in_inference_mode_and_leaves_the_generator_as_it_was(foreign):
    generator, metric = tiny_generator().requires_grad_(True), TinyMetric()
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    with torch.inference_mode():
        images = foreign * 1
        mask = {"F4": torch.ones(3, 1, 16, 16)}
        found = run(generator, images, mask, metric, weights=Weights(gaussian=1e-4))
    assert found.losses["l2"][-1].mean() < found.losses["l2"][0].mean()
    assert all(p.requires_grad and p.grad is None for p in generator.parameters())
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


def test_autocast_comes_close(generator, foreign):
    a, b = run(generator, foreign, steps=20), run(generator, foreign, steps=20, precision=torch.bfloat16)
    assert (a.losses["l2"][-1] - b.losses["l2"][-1]).abs().max() < 0.1 * a.losses["l2"][-1].max()
    assert b.w_plus.dtype == b.images.dtype == torch.float32


class WeighingMetric(TinyMetric):
    """With the weights that the metrics have for pixels."""

    def distance(self, fx, fy, size=None, valid=None):
        maps = [(a - b).square().mean(1, keepdim=True) for a, b in zip(fx, fy)]
        valid = fx[0].new_ones(len(fx[0]), 1, 32, 32) if valid is None else valid
        cells = [torch.nn.functional.adaptive_avg_pool2d(valid, m.shape[-2:]) for m in maps]
        return sum((m * v).sum((1, 2, 3)) / v.sum((1, 2, 3)) for m, v in zip(maps, cells))


class ShareMetric:
    """Keeps the images and the shares it was given last."""

    def features(self, x):
        self.seen = x
        return [x]

    def distance(self, fx, fy, valid=None):
        self.valid = valid
        return fy[0].mean((1, 2, 3))


def frames(*rows):
    """valid (N, 1, 64, 64): for each image the rows that are."""
    valid = torch.zeros(len(rows), 1, 64, 64)
    for one, (top, bottom) in zip(valid, rows):
        one[:, top:bottom] = 1
    return valid


def test_what_is_in_the_padding_does_not_matter(generator, foreign):
    valid = frames((8, 56), (0, 33), (21, 50))  # the last two end within a pixel of the loss
    masks = masks_of(torch.where(valid[:, 0] > 0, 1, 0), generator.spaces)
    other = torch.where(valid > 0, foreign, 1 - 2 * torch.rand(3, 3, 64, 64))
    settings = dict(metric=WeighingMetric(), steps=6, valid=valid)
    a, b = run(generator, foreign, masks, **settings), run(generator, other, masks, **settings)
    assert torch.equal(a.w_plus, b.w_plus) and torch.equal(a.deltas["F4"], b.deltas["F4"])
    assert all(torch.equal(a.losses[name], b.losses[name]) for name in a.losses)
    without = [run(generator, images, masks, steps=6, metric=WeighingMetric()) for images in (foreign, other)]
    assert (without[0].w_plus - without[1].w_plus).abs().max() > 0.01


def test_the_padding_costs_nothing_however_wrong_it_is(generator, own):
    images, w_plus = own
    valid = frames((8, 56), (0, 33), (21, 50))
    wrong = torch.where(valid > 0, images, -images.sign())
    settings = dict(start=w_plus, steps=1, learning_rate=0, weights=PLAIN)
    found = run(generator, wrong, metric=WeighingMetric(), valid=valid, **settings)
    assert found.losses["l2"].max() < 1e-10 and found.losses["lpips"].max() < 1e-10
    assert run(generator, wrong, **settings).losses["l2"].min() > 0.01


def test_noise_that_half_the_size_does_not_see_counts_in_l2_and_in_the_end():
    noise = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(1, 3, 16, 16) * 0.5  # 32 px; the mean of four pixels is 0
    loss = Reconstruction(torch.zeros(1, 3, 32, 32), PLAIN, TinyMetric())
    early, late = loss(noise, 0.7), loss(noise, 0.8)
    assert early["l2"] == late["l2"] == 0.25
    assert early["lpips"] == 0 < late["lpips"]


def test_what_is_clamped_still_finds_back():
    x = torch.tensor([-3.0, -3.0, 0.5, 3.0, 3.0], requires_grad=True)
    clamped = Clamp.apply(x)
    assert clamped.tolist() == [-1, -1, 0.5, 1, 1]
    clamped.backward(torch.tensor([-1.0, 1.0, 1.0, -1.0, 1.0]))  # descent goes against it
    assert x.grad.tolist() == [-1, 0, 1, 0, 1]


def test_the_sizes_of_the_loss():
    def sizes(side, size=None):
        return Reconstruction(torch.zeros(1, 3, side, side), PLAIN, TinyMetric(), size=size).sizes
    assert sizes(256) == {"l2": (256, 256), "lpips": (128, 256)}
    assert sizes(512) == {"l2": (256, 256), "lpips": (256, 256)} == sizes(1024)  # as published
    assert sizes(64, 16) == {"l2": (16, 16), "lpips": (16, 16)}


def test_the_loss_is_the_mean_over_what_is_valid_by_hand(generator, foreign):
    valid = frames((16, 48), (16, 48), (16, 48))
    found = run(generator, foreign, steps=1, metric=WeighingMetric(), valid=valid, weights=PLAIN, loss_size=64)
    with torch.no_grad():
        formed = generator.synthesis(generator.w_avg.expand(3, 10, -1), noise="none").clamp(-1, 1)
    error = (formed - foreign)[:, :, 16:48].square().mean((1, 2, 3))
    torch.testing.assert_close(found.losses["l2"][0], error)


def test_everything_valid_is_the_plain_loss_to_the_bit(generator, foreign):
    a, b = run(generator, foreign), run(generator, foreign, valid=torch.ones(3, 1, 64, 64))
    assert torch.equal(a.w_plus, b.w_plus) and all(torch.equal(a.losses[name], b.losses[name]) for name in a.losses)


def test_a_batch_with_padding_is_its_images_one_by_one(generator, foreign):
    generator, foreign = copy.deepcopy(generator).double(), foreign.double()  # Adam enlarges rounding from step to step
    valid, metric = frames((8, 56), (0, 64), (21, 50)).double(), WeighingMetric().double()
    batch = run(generator, foreign, metric=metric, valid=valid)
    for i in range(3):
        single = run(generator, foreign[i:i + 1], metric=metric, valid=valid[i:i + 1])
        torch.testing.assert_close(batch[i].images, single.images, rtol=1e-6, atol=1e-8)


def test_a_pixel_of_the_loss_that_is_in_part_padding_counts_by_its_share():
    """Of four rows three are valid: the lower two of the loss's pixels are so by half, and hold the mean of what is valid."""
    x, x_hat, valid = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.9), torch.ones(1, 1, 4, 4)
    x_hat[:, :, :2], x_hat[:, :, 2], valid[:, :, 3] = 0.2, 0.4, 0
    metric = ShareMetric()
    found = Reconstruction(x, PLAIN, metric, valid, size=2)(x_hat, 0.5)
    assert metric.seen[0].flatten().tolist() == pytest.approx([0.2, 0.2, 0.4, 0.4] * 3)
    assert metric.valid.flatten().tolist() == [1, 1, 0.5, 0.5]
    assert float(found["l2"]) == pytest.approx((2 * 0.2**2 + 2 * 0.5 * 0.4**2) / 3)


def test_the_schedule_rises_stays_and_falls():
    assert schedule(0.025) == pytest.approx(0.5)
    assert schedule(0.05) == schedule(0.5) == schedule(0.75) == 1
    assert schedule(0.875) == pytest.approx(0.5)
    assert schedule(1) == 0
    assert schedule(0.5 / 1) == 1  # a single step is a whole one


def test_area_resize_by_hand():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert at_size(image, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


def test_bad_input_says_what_was_got_and_wanted(generator, foreign):
    mask = {"F4": torch.ones(3, 1, 16, 16)}
    for call, words in (
        (lambda: run(generator, foreign[:, :, :32]), "(N, 3, 64, 64)"),
        (lambda: run(generator, foreign, {"F10": torch.ones(3, 1, 8, 8)}), "F10"),
        (lambda: run(generator, foreign[:2], mask), "(2, 1, h, w)"),
        (lambda: run(generator, foreign, start=torch.zeros(3, 2, 12)), "(3, 10, 12)"),
        (lambda: run(generator, foreign, start_deltas={"F4": torch.zeros(3, 8, 16, 16)}), "no mask uses"),
        (lambda: run(generator, foreign, mask, start_deltas={"F4": torch.zeros(3, 8, 8, 8)}), "start_deltas of F4 has shape (3, 8, 8, 8)"),
        (lambda: run(generator, foreign, mask, start_deltas={"F4": torch.zeros(2, 8, 16, 16)}), "want (3, 8, 16, 16)"),
        (lambda: run(generator, foreign, noise="random"), "'const'"),
        (lambda: run(generator, foreign, valid=torch.ones(3, 64, 64)), "(3, 1, 64, 64)"),
        (lambda: run(generator, foreign, valid=torch.zeros(3, 1, 64, 64)), "something valid in every image"),
        (lambda: optimize(generator, foreign, {}, None, steps=1), "metric"),
        (lambda: run(generator, foreign, weights=Weights(0, 0, 0, 0, 0)), "weight other than 0"),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        assert words in str(caught.value) and "\n" not in str(caught.value)


def test_compiled_is_the_same(generator, foreign, monkeypatch):
    """Traced whole, but not turned into machine code, for which not every machine has a compiler."""
    real, traced = torch.compile, []

    def trace(function, dynamic):
        traced.append(function.__name__)
        return real(function, backend="aot_eager", fullgraph=True, dynamic=dynamic)

    monkeypatch.setattr(torch, "compile", trace)
    fused.cache_clear()
    layer_map = uniform(3, 64, 1)
    layer_map[:, :, 32:] = 0
    settings = dict(masks=masks_of(layer_map, generator.spaces), weights=Weights(gaussian=0), steps=4)
    plain, compiled = run(generator, foreign, **settings), run(generator, foreign, **settings, compiled=True)
    fused.cache_clear()
    assert sorted(traced) == ["formed", "perceptual"]
    torch.testing.assert_close(compiled.images, plain.images, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(compiled.losses["lpips"], plain.losses["lpips"], atol=1e-5, rtol=1e-4)
