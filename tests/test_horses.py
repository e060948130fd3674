"""Laws of the horses: every factor is in the picture, the segments are what they say, challenging pictures add and move nothing."""
import pytest
import torch

from samlib import scenes
from samlib.scenes import FACTORS, SEGMENTS, clutter, horse_body, horses
from samlib.scenes.tracing import Params

HORSE = ("horse", "head", "mane", "saddle")
SIZE = 48


@pytest.fixture(scope="module")
def ordinary():
    return scenes.render("horses", 3, range(20), SIZE)


@pytest.fixture(scope="module")
def challenging():
    return scenes.render("horses", 3, range(20), SIZE, challenging=True)


def at(s, *names):
    """Where those segments are, (N, H, W)."""
    return torch.isin(s.segments, torch.tensor([SEGMENTS["horses"].index(name) for name in names]))


def varied(changes, count=3, size=48, own=None):
    """The same scenes, their factors (and own numbers) replaced: for each dictionary of changes, the Scenes."""
    original, results, own = horses.sample, [], own or {}
    for change in changes:
        def sample(u, change=change):
            f, rest = original(u)
            rest = {name: torch.full_like(value, own[name]) if name in own else value for name, value in rest.items()}
            return {name: torch.full_like(value, change[name]) if name in change else value for name, value in f.items()}, rest
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(horses, "sample", sample)
            results.append(scenes.render("horses", 8, range(count), size))
    return results


def colour(s, where):
    """Mean display value (N, 3) of the images where `where` (N, H, W) holds."""
    return (s.images * where[:, None]).sum((2, 3)) / where.sum((1, 2))[:, None]


def test_shapes_ranges_and_factors(ordinary):
    assert ordinary.images.shape == (20, 3, SIZE, SIZE) and torch.isfinite(ordinary.images).all() and ordinary.images.abs().max() <= 1
    assert ordinary.images.std((1, 2, 3)).min() > 0.1 and ordinary.images.mean().abs() < 0.5
    assert len(FACTORS["horses"]) >= 12 and list(ordinary.factors) == list(FACTORS["horses"])
    for name, (low, high) in FACTORS["horses"].items():
        values = ordinary.factors[name]
        assert values.min() >= low and values.max() <= high, name
        assert values.std() > 0.15 * (high - low), f"{name} hardly varies"
    torch.testing.assert_close(ordinary.factors["pose"] ** 2 + ordinary.factors["front"] ** 2, torch.ones(20))


def test_codes_make_the_picture(ordinary):
    numbers, meaning = scenes.codes("horses", 3, range(4))
    assert numbers.shape[1] <= 110 and torch.isfinite(meaning).all()
    again, _ = scenes.codes("horses", 3, [2, 0])
    assert torch.equal(again, numbers[[2, 0]]) and not torch.equal(numbers[0], numbers[1])
    other = scenes.render("horses", 4, range(2), SIZE)
    assert (other.images - ordinary.images[:2]).abs().mean() > 0.05


def test_picture_does_not_depend_on_the_batch(ordinary):
    some = scenes.render("horses", 3, [19, 2, 17], SIZE, batch=1)
    torch.testing.assert_close(some.images, ordinary.images[[19, 2, 17]], atol=1e-4, rtol=0)
    assert (some.segments == ordinary.segments[[19, 2, 17]]).float().mean() > 0.999


def test_rounding_does_not_change_the_picture(ordinary):
    double = scenes.render("horses", 3, range(3), SIZE, dtype=torch.float64)
    difference = (double.images - ordinary.images[:3]).abs()
    assert difference.mean() < 2e-3 and (difference > 0.05).double().mean() < 0.01
    assert (double.segments == ordinary.segments[:3]).double().mean() > 0.99


def test_horse_is_whole_and_in_the_middle(ordinary):
    horse = at(ordinary, *HORSE)
    assert not horse[:, 0].any() and not horse[:, -1].any() and not horse[:, :, 0].any() and not horse[:, :, -1].any()
    across, down = horse.any(1).double(), horse.any(2).double()
    place = (across * torch.linspace(-0.5, 0.5, SIZE)).sum(1) / across.sum(1)
    assert place.abs().max() < 0.15
    large = torch.maximum(across.mean(1), down.mean(1))
    assert large.min() > 0.45 and large.max() < 0.95


def test_every_class_is_met(ordinary, challenging):
    names = lambda s: {SEGMENTS["horses"][i] for i in s.segments.unique().tolist()}
    assert names(ordinary) == {"sky", "tree", "hill", "grass", "path", *HORSE}
    assert names(challenging) == set(SEGMENTS["horses"])


@pytest.mark.parametrize(
    "name, classes, sign",
    [("trees", ["tree"], 1), ("size", HORSE, 1), ("path", ["path"], 1), ("mane", ["mane"], 1), ("hills", ["hill"], 1)],
)
def test_one_factor_moves_its_segment(name, classes, sign):
    low, high = FACTORS["horses"][name]
    few, many = varied([{name: low + 0.05 * (high - low)}, {name: high}])
    change = (at(many, *classes).double().mean((1, 2)) - at(few, *classes).double().mean((1, 2))) * sign
    assert change.mean() > 0.001 and change.min() > -0.01


def test_saddle_is_put_on_and_nothing_else_changes():
    bare, half, full = varied([{"saddle": 0.0}, {"saddle": 0.5}, {"saddle": 1.0}])
    assert not at(bare, "saddle").any()
    shares = [at(s, "saddle").double().mean((1, 2)) for s in (half, full)]
    assert (shares[0] > 0.001).all() and (shares[1] > shares[0]).all()
    far = ~(torch.nn.functional.max_pool2d(at(full, *HORSE)[:, None].float(), 7, 1, 3)[:, 0] > 0) & at(full, "sky", "tree", "hill")
    torch.testing.assert_close(bare.images.movedim(1, -1)[far], full.images.movedim(1, -1)[far], atol=1e-4, rtol=0)


def test_coat_is_seen():
    where = lambda s: at(s, "horse")
    plain = {"ginger": 0.5, "points": 0.0, "socks": 0.0}
    black, white = varied([{**plain, "white": 0.05}, {**plain, "white": 0.95}])
    assert (colour(white, where(white)).mean(1) - colour(black, where(black)).mean(1)).min() > 0.4
    grey, red = varied([{**plain, "white": 0.4, "ginger": 0.0}, {**plain, "white": 0.4, "ginger": 1.0}])
    warmth = lambda s: colour(s, where(s))[:, 0] - colour(s, where(s))[:, 2]
    assert (warmth(red) - warmth(grey)).min() > 0.1


def test_neck_lifts_the_head_and_stripes_make_a_zebra():
    row = torch.arange(48.0)[:, None]
    head = lambda s: (at(s, "head") * row).sum((1, 2)) / at(s, "head").sum((1, 2))
    grazing, upright = varied([{"neck": 0.0}, {"neck": 1.0}])
    assert (head(grazing) - head(upright)).min() > 7
    coat = {"white": 0.9, "saddle": 0.0}
    (horse,), (zebra,) = varied([coat]), varied([coat], own={"stripes": 1.0})
    assert torch.equal(horse.segments, zebra.segments)
    darker = (horse.images - zebra.images).mean(1) > 0.3
    share = (darker & at(horse, "horse")).sum((1, 2)) / at(horse, "horse").sum((1, 2))
    assert share.min() > 0.25 and share.max() < 0.75 and darker[~at(horse, *HORSE)].double().mean() < 0.01


def test_legs_stand_on_the_ground_and_are_no_longer_than_their_bones():
    u = iter(torch.rand(200, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    draw = lambda low=0.0, high=1.0: low + (high - low) * next(u)
    p = horses.settings(draw, *horses.sample(draw))
    ankle = torch.stack([p[f"{leg}_ankle_y"] for leg in horse_body.LEGS])
    assert ((ankle < 0.21).sum(0) >= 2).all() and ankle.max() < 0.36    # two feet at least carry the horse
    for leg in horse_body.LEGS:
        bone = ((p[f"{leg}_knee_x"] - p[f"{leg}_ankle_x"]) ** 2 + (p[f"{leg}_knee_y"] - p[f"{leg}_ankle_y"]) ** 2).sqrt()
        assert (bone - (0.325 if leg.endswith("fore") else 0.37)).abs().max() < 0.03, leg


def test_distance_is_short_of_the_true_one():
    """A sphere of the given radius about any point holds no other sign: what tracing relies on."""
    generator = torch.Generator().manual_seed(1)
    u = iter(torch.rand(200, 400, generator=generator, dtype=torch.float64))
    draw = lambda low=0.0, high=1.0: low + (high - low) * next(u)
    p = horses.settings(draw, *horses.sample(draw))
    flat = Params({name: p[name][:, 0] for name in horse_body.SHAPE})
    low, high = (torch.stack([v[:, 0] for v in corner]) for corner in horse_body.bounds(p))
    rays = torch.randn(3, 400, generator=generator, dtype=torch.float64)
    points = low + (high - low) * torch.rand(3, 400, generator=generator, dtype=torch.float64)
    gap = horse_body.distance(*points, flat)
    moved = horse_body.distance(*(points + 0.9 * gap * rays / rays.norm(dim=0)), flat)
    outside = gap > 0
    assert outside.double().mean() > 0.5 and (moved[outside] > -0.02).double().mean() > 0.98


def test_challenging_adds_and_moves_nothing(ordinary, challenging):
    new = at(challenging, "fence", "shrub", "pole", "sign", "object", "person")
    assert (challenging.segments == ordinary.segments)[~new].double().mean() > 0.99
    for name, values in ordinary.factors.items():
        assert torch.equal(values, challenging.factors[name])
    changed = (challenging.images - ordinary.images).abs().amax(1) > 0.1
    assert 0.1 < changed.double().mean() < 0.6
    kinds = clutter.settings("horses", 3, range(20), horses.KINDS)
    count = sum(kinds[f"has_{kind}"] for kind in horses.KINDS)
    assert count.min() >= 1 and count.max() <= 4
    assert at(challenging, "person")[kinds.has_people[:, 0] == 0].sum() == 0
