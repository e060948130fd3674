"""Laws of the cats: every factor is in the picture, the segments are what they say, challenging pictures add and move nothing."""
import pytest
import torch

from samlib import scenes
from samlib.scenes import FACTORS, SEGMENTS, cats, classes

CAT = ("body", "leg", "tail", "head", "ear", "eye", "nose", "mouth")
SIZE = 48


@pytest.fixture(scope="module")
def ordinary():
    return scenes.render("cats", 3, range(24), SIZE)


@pytest.fixture(scope="module")
def challenging():
    return scenes.render("cats", 3, range(24), SIZE, challenging=True)


def at(s, *names):
    """Where those segments are, (N, H, W)."""
    return torch.isin(s.segments, torch.tensor([SEGMENTS["cats"].index(name) for name in names]))


def varied(changes, count=4, size=64):
    """The same scenes, their factors replaced: for each dictionary of changes, the Scenes."""
    original, results = cats.sample, []
    for change in changes:
        def sample(u, change=change):
            f, own = original(u)
            return {name: torch.full_like(f[name], change[name]) if name in change else f[name] for name in f}, own
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cats, "sample", sample)
            results.append(scenes.render("cats", 8, range(count), size))
    return results


def test_shapes_ranges_and_factors(ordinary):
    assert ordinary.images.shape == (24, 3, SIZE, SIZE) and torch.isfinite(ordinary.images).all() and ordinary.images.abs().max() <= 1
    assert ordinary.images.std((1, 2, 3)).min() > 0.1 and ordinary.images.mean().abs() < 0.5
    assert len(FACTORS["cats"]) >= 12 and list(ordinary.factors) == list(FACTORS["cats"])
    for name, (low, high) in FACTORS["cats"].items():
        values = ordinary.factors[name]
        assert values.min() >= low and values.max() <= high, name
        assert values.std() > 0.15 * (high - low), f"{name} hardly varies"


def test_codes_make_the_picture(ordinary):
    numbers, meaning = scenes.codes("cats", 3, range(4))
    assert numbers.shape[1] <= 110 and torch.isfinite(meaning).all()
    again, _ = scenes.codes("cats", 3, [2, 0])
    assert torch.equal(again, numbers[[2, 0]]) and not torch.equal(numbers[0], numbers[1])
    other = scenes.render("cats", 4, range(2), SIZE)
    assert (other.images - ordinary.images[:2]).abs().mean() > 0.05


def test_picture_does_not_depend_on_the_batch(ordinary):
    some = scenes.render("cats", 3, [20, 2, 17], SIZE, batch=1)
    assert (some.images - ordinary.images[[20, 2, 17]]).abs().max() < 1e-3
    assert (some.segments == ordinary.segments[[20, 2, 17]]).float().mean() > 0.999


def test_cat_fills_the_picture_and_every_class_is_met(ordinary, challenging):
    cat = at(ordinary, *CAT).double().mean((1, 2))
    assert cat.min() > 0.1 and 0.25 < cat.mean() < 0.6
    assert (at(ordinary, "head").double().mean((1, 2)) > 0.02).all() and at(ordinary, "eye").any(-1).any(-1).double().mean() > 0.95
    met = {name for name in SEGMENTS["cats"] if at(ordinary, name).any()}
    assert met == {"wall", "floor", "rug", "sofa", "cushion", *CAT}
    assert {name for name in SEGMENTS["cats"] if at(challenging, name).any()} == {*SEGMENTS["cats"]}


@pytest.mark.parametrize("name, low, high, segment", [
    ("eye_size", 0.6, 1.4, "eye"), ("ear_size", 0.7, 1.3, "ear"), ("cushion", 0.0, 1.0, "cushion"), ("sofa", 0.1, 0.9, "sofa"),
    ("zoom", 1.02, 1.5, "head")])
def test_a_factor_enlarges_its_segment(name, low, high, segment):
    few, many = varied([{name: low}, {name: high}])
    change = at(many, segment).double().mean((1, 2)) - at(few, segment).double().mean((1, 2))
    assert change.mean() > 0.001 and change.min() > -0.003


def test_red_nose_reddens_the_nose_and_nothing_else():
    pale, red = varied([{"red_nose": 0.0}, {"red_nose": 1.0}], 3, 80)
    assert torch.equal(pale.segments, red.segments)
    nose = at(pale, "nose")
    change = (red.images - pale.images).movedim(1, -1)
    assert (change[nose][:, 0] - change[nose][:, 1:].mean(1)).mean() > 0.3
    assert change.abs().mean(-1)[nose].mean() > 50 * change.abs().mean(-1)[~nose].mean()


def test_black_blackens_the_fur_alone():
    own, black = varied([{"black": 0.0, "white": 0.0, "points": 0.0}, {"black": 1.0, "white": 0.0, "points": 0.0}])
    fur, room = at(own, "body", "head", "leg", "tail"), at(own, "wall", "floor", "sofa", "cushion", "rug")
    assert (own.images.mean(1)[fur] - black.images.mean(1)[fur]).mean() > 0.4
    assert black.images.mean(1)[fur].mean() < -0.6
    assert (own.images - black.images).abs().mean(1)[room].mean() < 0.02


def test_pose_turns_the_cat(ordinary):
    """The head stands left or right of the body, as the side demands that the camera sees."""
    place = torch.linspace(-1, 1, SIZE, dtype=torch.float64)
    middle = lambda part: (part * place).sum((1, 2)) / part.sum((1, 2)).clamp(min=1)
    offset = middle(at(ordinary, "head", "eye", "ear", "nose", "mouth").double()) - middle(at(ordinary, "body", "leg").double())
    assert torch.corrcoef(torch.stack([offset, ordinary.factors["pose"].double()]))[0, 1].abs() > 0.8


def test_tiger_has_stripes_that_cats_have_not():
    kind = classes.CLASSES["tiger"]
    assert kind.category == "cats" and {*kind.ranges} <= {*FACTORS["cats"]} and {*kind.params} <= {*cats.SHADING}
    settings, coat = cats.settings, {"ginger": 0.9, "lightness": 0.8, "tabby": 0.0, "black": 0.0, "white": 0.0, "points": 0.0}

    def drawn(amount):
        def with_tiger(*arguments):
            p = settings(*arguments)
            p["tiger"] = torch.full_like(p.tiger, amount)
            return p
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cats, "settings", with_tiger)
            return varied([coat], 3)[0]

    cat, tiger = drawn(0.0), drawn(kind.params["tiger"])
    assert torch.equal(cat.segments, tiger.segments)
    fur, darker = at(cat, "body", "leg", "tail", "head"), (cat.images - tiger.images).mean(1) > 0.2
    share = (darker & fur).sum((1, 2)) / fur.sum((1, 2))
    assert share.min() > 0.1 and share.max() < 0.5 and darker[~at(cat, *CAT)].double().mean() < 0.01


def test_challenging_adds_and_moves_nothing(ordinary, challenging):
    new = at(challenging, "collar", "cup", "book", "toy", "plant", "hand", "fence")
    assert (challenging.segments == ordinary.segments)[~new].double().mean() > 0.99
    assert all(torch.equal(challenging.factors[name], values) for name, values in ordinary.factors.items())
    changed = ((challenging.images - ordinary.images).abs().amax(1) > 0.1).double().mean()
    assert 0.1 < changed < 0.7 and new.any(-1).any(-1).double().mean() > 0.7
