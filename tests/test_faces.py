"""Laws of the faces: a picture belongs to its (seed, index), a factor changes what it is named for, segments tell what is there."""
import pytest
import torch

from samlib import scenes
from samlib.scenes import FACTORS, SEGMENTS, clutter, codes, draw, face_clutter

NAMES = SEGMENTS["faces"]
ORDINARY = NAMES[:10]
SIZE = 32


@pytest.fixture(scope="module")
def ordinary():
    return scenes.render("faces", 3, range(32), SIZE)


@pytest.fixture(scope="module")
def challenging():
    return scenes.render("faces", 3, range(32), SIZE, challenging=True)


def share(s, *names):
    """Share of each picture's pixels in those segments, (N,)."""
    return torch.isin(s.segments, torch.tensor([NAMES.index(name) for name in names])).double().mean((1, 2))


def seen(s, *names):
    """Mean colour (N, 3) of those segments."""
    inside = torch.isin(s.segments, torch.tensor([NAMES.index(name) for name in names]))[:, None]
    return (s.images * inside).sum((2, 3)) / inside.sum((2, 3)).clamp(min=1)


def varied(values, count=4, size=48, **fixed):
    """Scenes that differ in some factors alone: one Scenes for each of `values`, dictionaries of factors."""
    module = draw.module_of("faces")
    original = module.sample

    def with_factors(changed):
        def sample(u):
            f, own = original(u)
            return {k: torch.full_like(v, changed[k]) if k in changed else v for k, v in f.items()}, own
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "sample", sample)
            return scenes.render("faces", 8, range(count), size)
    return [with_factors({**fixed, **value}) for value in values]


def test_factors_in_their_ranges(ordinary):
    assert len(FACTORS["faces"]) >= 12 and list(ordinary.factors) == list(FACTORS["faces"])
    for name, (low, high) in FACTORS["faces"].items():
        values = ordinary.factors[name]
        assert values.min() >= low and values.max() <= high and values.std() > 0.12 * (high - low), name
    assert 0.2 < (ordinary.factors["glasses"] == 0).double().mean() < 0.8


def test_pictures_vary_and_are_exposed_well(ordinary):
    assert torch.isfinite(ordinary.images).all() and ordinary.images.abs().max() <= 1
    assert ordinary.images.std((1, 2, 3)).min() > 0.1 and ordinary.images.mean().abs() < 0.5
    assert (ordinary.images > 0.99).double().mean() < 0.02


def test_picture_does_not_depend_on_batch_or_order(ordinary):
    some = scenes.render("faces", 3, [30, 2, 17], SIZE, batch=1)
    torch.testing.assert_close(some.images, ordinary.images[[30, 2, 17]], atol=1e-4, rtol=0)
    assert (some.segments == ordinary.segments[[30, 2, 17]]).float().mean() > 0.999


def test_rounding_does_not_change_the_picture(ordinary):
    double = scenes.render("faces", 3, range(4), SIZE, dtype=torch.float64)
    difference = (double.images - ordinary.images[:4]).abs()
    assert difference.mean() < 2e-3 and (difference > 0.05).double().mean() < 0.01
    assert (double.segments == ordinary.segments[:4]).double().mean() > 0.99


def test_codes_are_few_and_make_the_picture():
    numbers, meaning = codes("faces", 0, range(50))
    assert numbers.shape[1] <= 110 and torch.isfinite(meaning).all()
    module = draw.module_of("faces")
    u = draw.Draw(numbers)
    p = module.settings(u, *module.sample(u))
    torch.testing.assert_close(torch.cat([p[k].flatten(1) for k in sorted(p) if k != "bearing"], 1), meaning)


def test_the_head_is_there_and_in_the_middle(ordinary):
    head = torch.isin(ordinary.segments, torch.tensor([NAMES.index(n) for n in ("skin", "hair", "eyes", "brows", "mouth", "glasses")]))
    assert head.double().mean((1, 2)).min() > 0.15 and head.double().mean((1, 2)).max() < 0.65
    place = (head.any(1) * torch.linspace(-0.5, 0.5, SIZE)).sum(1) / head.any(1).sum(1)
    assert place.abs().max() < 0.15
    for name in ("skin", "hair", "mouth", "neck", "clothes", "background"):
        assert share(ordinary, name).min() > 0, name
    assert (share(ordinary, "eyes", "glasses") > 0).all()


def test_every_class_is_met(ordinary, challenging):
    count = lambda s: torch.bincount(s.segments.flatten(), minlength=len(NAMES))
    assert {n for n, k in zip(NAMES, count(ordinary)) if k} == {*ORDINARY}
    assert (count(challenging) > 0).all()


@pytest.mark.parametrize("factor, classes, values", [
    ("glasses", ["glasses"], (0.0, 1.0)), ("brows", ["brows"], (0.0, 1.0)), ("smile", ["mouth"], (0.0, 1.0)),
    ("lips", ["mouth"], (0.0, 1.0)),
    ("hair_length", ["hair"], (0.0, 1.0)), ("hair_volume", ["hair"], (0.0, 1.0)), ("eyes", ["eyes"], (0.0, 1.0)),
    ("width", ["skin", "eyes", "brows", "mouth"], (0.92, 1.08))])
def test_one_factor_moves_its_segment(factor, classes, values):
    fixed = {"glasses": 0.0, "fringe": 0.0, "hair_length": 0.2, "pose": 0.0}
    few, many = varied([{**fixed, factor: value} for value in values])
    change = share(many, *classes) - share(few, *classes)
    assert change.min() > -0.001 and change.mean() > 0.1 * share(few, *classes).mean() and change.mean() > 5e-4


def test_glasses_come_without_a_jump():
    none, faint, clear = varied([{"glasses": v} for v in (0.0, 0.08, 0.7)])
    assert share(none, "glasses").max() == 0
    assert 0 < (faint.images - none.images).abs().mean() < 0.5 * (clear.images - none.images).abs().mean()


def test_laughing_shows_teeth_and_age_greys_the_hair():
    serious, laughing = varied([{"smile": 0.0}, {"smile": 1.0}], beard=0.0, lips=0.3, sun=0.0)
    assert (seen(laughing, "mouth") - seen(serious, "mouth")).mean(1).mean() > 0.05
    young, old = varied([{"age": 0.1}, {"age": 1.0}], hair_light=0.1)
    assert (seen(old, "hair").mean(1) - seen(young, "hair").mean(1)).min() > 0.2


def test_tones_are_seen(ordinary):
    f = ordinary.factors
    slope = lambda a, b: torch.corrcoef(torch.stack([a.double(), b.double()]))[0, 1].item()
    assert slope(f["skin"], seen(ordinary, "skin").mean(1)) > 0.6
    assert slope(f["red"] - f["blue"], seen(ordinary, "background")[:, 0] - seen(ordinary, "background")[:, 2]) > 0.7


def test_challenging_adds_and_moves_nothing(ordinary, challenging):
    new = torch.isin(challenging.segments, torch.tensor([i for i, n in enumerate(NAMES) if n not in ORDINARY]))
    assert (challenging.segments == ordinary.segments)[~new].double().mean() > 0.99
    assert all(torch.equal(v, challenging.factors[k]) for k, v in ordinary.factors.items())
    assert 0.15 < ((challenging.images - ordinary.images).abs().amax(1) > 0.1).double().mean() < 0.75
    c = clutter.settings("faces", 3, range(32), face_clutter.KINDS)
    plain = sum(c[f"has_{k}"][:, 0] for k in ("light", "paint")) == 0
    untouched = ~new & ((challenging.images - ordinary.images).abs().amax(1) < 0.02)
    assert plain.any() and (untouched | new)[plain].double().mean() > 0.8
