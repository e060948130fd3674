"""Laws of the renderer: a picture belongs to its (seed, index), its factors are in it, its segments tell what is there."""
import math

import pytest
import torch

from samlib import scenes
from samlib.scenes import FACTORS, SEGMENTS, clutter, draw, noise
from samlib.scenes import tracing as tools

CAR = [SEGMENTS["cars"].index(name) for name in ("car", "window", "wheel")]
SIZE = 48


@pytest.fixture(scope="module")
def ordinary():
    return scenes.render("cars", 3, range(48), SIZE)


@pytest.fixture(scope="module")
def challenging():
    return scenes.render("cars", 3, range(48), SIZE, challenging=True)


def share(s, *names):
    """Share of each picture's pixels in those segments, (N,)."""
    ids = torch.tensor([SEGMENTS["cars"].index(name) for name in names])
    return torch.isin(s.segments, ids).double().mean((1, 2))


def slope(a, b):
    """Correlation of two (N,) tensors."""
    return torch.corrcoef(torch.stack([a.double(), b.double()]))[0, 1].item()


def varied(name, values, count=6, size=SIZE):
    """Scenes that differ in one factor alone: for each value, the pictures (count, 3, H, W) and segments."""
    module = draw.module_of("cars")
    results = []
    original = module.sample
    for value in values:
        def sample(u, value=value):
            f, own = original(u)
            return {**f, name: torch.full_like(f[name], value)}, own
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "sample", sample)
            results.append(scenes.render("cars", 8, range(count), size))
    return results


def test_shapes_and_ranges(ordinary):
    assert ordinary.images.shape == (48, 3, SIZE, SIZE) and ordinary.images.dtype == torch.float32
    assert ordinary.segments.shape == (48, SIZE, SIZE) and ordinary.segments.dtype == torch.long
    assert torch.isfinite(ordinary.images).all() and ordinary.images.abs().max() <= 1
    assert ordinary.images.std((1, 2, 3)).min() > 0.1 and ordinary.images.mean().abs() < 0.5


def test_factors_in_their_ranges(ordinary):
    assert len(FACTORS["cars"]) >= 12 and list(ordinary.factors) == list(FACTORS["cars"])
    for name, (low, high) in FACTORS["cars"].items():
        values = ordinary.factors[name]
        assert values.shape == (48,) and values.min() >= low and values.max() <= high, name
        assert values.std() > 0.15 * (high - low), f"{name} hardly varies"
    f = ordinary.factors
    torch.testing.assert_close(f["pose"] ** 2 + f["front"] ** 2, torch.ones(48))
    torch.testing.assert_close(f["lightness"], (f["red"] + f["green"] + f["blue"]) / 3)


def test_picture_does_not_depend_on_batch_or_order(ordinary):
    some = scenes.render("cars", 3, [40, 2, 17], SIZE, batch=1)
    torch.testing.assert_close(some.images, ordinary.images[[40, 2, 17]], atol=1e-4, rtol=0)
    assert (some.segments == ordinary.segments[[40, 2, 17]]).float().mean() > 0.999
    torch.testing.assert_close(some.factors["size"], ordinary.factors["size"][[40, 2, 17]])


def test_seed_and_index_make_the_picture(ordinary):
    other = scenes.render("cars", 4, range(2), SIZE)
    assert (other.images - ordinary.images[:2]).abs().mean() > 0.05
    assert (ordinary.images[0] - ordinary.images[1]).abs().mean() > 0.05


def test_rounding_does_not_change_the_picture(ordinary):
    """Another precision is a harsher change than another device: the picture must be the same to within rounding."""
    double = scenes.render("cars", 3, range(4), SIZE, dtype=torch.float64)
    difference = (double.images - ordinary.images[:4]).abs()
    assert difference.mean() < 2e-3 and (difference > 0.05).double().mean() < 0.01
    assert (double.segments == ordinary.segments[:4]).double().mean() > 0.99


def test_car_is_whole_and_in_the_middle(ordinary):
    car = torch.isin(ordinary.segments, torch.tensor(CAR))
    assert not car[:, 0].any() and not car[:, -1].any() and not car[:, :, 0].any() and not car[:, :, -1].any()
    across = car.any(1).double()
    wide = across.mean(1)
    place = (across * torch.linspace(-0.5, 0.5, SIZE)).sum(1) / across.sum(1)
    assert wide.min() > 0.38 and wide.max() < 0.9 and 0.5 < wide.mean() < 0.75
    assert place.abs().max() < 0.13


def test_every_class_is_met(ordinary, challenging):
    met = torch.bincount(ordinary.segments.flatten(), minlength=len(SEGMENTS["cars"])) > 0
    assert {n for n, m in zip(SEGMENTS["cars"], met) if m} == {
        "sky", "tree", "building", "hill", "grass", "road", "car", "window", "wheel"}
    assert (torch.bincount(challenging.segments.flatten(), minlength=len(SEGMENTS["cars"])) > 0).all()


@pytest.mark.parametrize(
    "name, classes, sign",
    [
        ("trees", ["tree"], 1),
        ("buildings", ["building"], 1),
        ("size", ["car", "window", "wheel"], 1),
        ("road", ["grass"], -1),
        ("wheel_size", ["wheel"], 1),
        ("cabin", ["window"], 1),
    ],
)
def test_one_factor_moves_its_segment(name, classes, sign):
    low, high = FACTORS["cars"][name]
    few, many = varied(name, (low + 0.1 * (high - low), high))
    change = (share(many, *classes) - share(few, *classes)) * sign
    assert change.mean() > 0.002 and change.min() > -0.01


def test_wheel_type_changes_the_wheels_and_little_else():
    thin, disc = varied("wheel_type", (0.0, 1.0))
    assert torch.equal(thin.segments, disc.segments)
    changed = (thin.images - disc.images).abs().mean(1)
    wheel = thin.segments == SEGMENTS["cars"].index("wheel")
    assert changed[wheel].mean() > 20 * changed[~wheel].mean()


def test_paint_is_seen(ordinary):
    car = (ordinary.segments == CAR[0])[:, None]
    seen = (ordinary.images * car).sum((2, 3)) / car.sum((2, 3))
    f = ordinary.factors
    assert slope(f["lightness"], seen.mean(1)) > 0.6
    assert slope(f["red"] - f["blue"], seen[:, 0] - seen[:, 2]) > 0.7


def test_challenging_adds_and_moves_nothing(ordinary, challenging):
    added = torch.tensor([SEGMENTS["cars"].index(n) for n in ("fence", "shrub", "pole", "sign", "object")])
    new = torch.isin(challenging.segments, added)
    assert (challenging.segments == ordinary.segments)[~new].double().mean() > 0.99
    for name, values in ordinary.factors.items():
        assert torch.equal(values, challenging.factors[name])
    changed = (challenging.images - ordinary.images).abs().amax(1) > 0.1
    assert 0.15 < changed.double().mean() < 0.6
    c = clutter.settings("cars", 3, range(48))
    plain = torch.stack([c[f"has_{k}"][:, 0] for k in ("light", "paving", "mural", "lettering")]).sum(0) == 0
    untouched = ~new & ((challenging.images - ordinary.images).abs().amax(1) < 0.02)
    assert plain.any() and (untouched | new)[plain].double().mean() > 0.8
    kinds = sum(c[f"has_{k}"] for k in clutter.KINDS)
    assert kinds.min() >= 1 and kinds.max() <= 4


def test_tracing_finds_a_ball():
    ball = lambda x, y, z, p: (x * x + y * y + z * z).sqrt() - 1
    zero, one = torch.zeros(3), torch.ones(3)
    aside = torch.tensor([0.0, 0.6, 1.5])
    t = tools.trace(ball, (aside, zero, -4 * one), (zero, zero, one), tools.Params(), zero, 10 * one)
    torch.testing.assert_close(t[:2], torch.tensor([3.0, 4 - 0.8]), atol=3e-3, rtol=0)
    assert math.isinf(t[2])
    n = tools.normal(ball, torch.tensor([0.6]), torch.tensor([0.8]), torch.tensor([0.0]), None)
    torch.testing.assert_close(torch.cat(n), torch.tensor([0.6, 0.8, 0.0]), atol=5e-3, rtol=0)   # the step is 4e-3


def test_noise_is_smooth_and_wraps():
    u = torch.linspace(0, 16, 4001, dtype=torch.float64)
    v = noise.fbm(u, 0.37 * torch.ones_like(u))
    assert 0 <= v.min() and v.max() <= 1 and v.std() > 0.08
    assert v.diff().abs().max() < 0.05 and abs(v[0] - v[-1]) < 1e-9


def test_majority_and_mean_of_a_pixel():
    ids = torch.tensor([[1, 2, 5, 5, 1, 1, 5, 7]])                  # 2 rows of 4 rays: two pixels side by side are 1 x 2
    assert tools.majority(torch.cat([ids, ids], 1), 2, 2).tolist() == [[[1, 5], [1, 5]]]
    assert tools.shrink(torch.arange(16.0).reshape(1, 1, 16), 2, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("boats", 0, [0]), "boats"),
        (("cars", 0, [0], 8), "at least 16"),
        (("cars", 0, [-1]), "negative"),
        (("cars", -3, [0]), "negative"),
        (("cars", 0, [0], 32, False, "cpu", 0), "batch"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        scenes.render(*arguments)


def test_no_index_gives_no_picture():
    assert scenes.render("cars", 0, [], 32).images.shape == (0, 3, 32, 32)
