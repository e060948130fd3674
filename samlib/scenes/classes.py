"""Classes of scenes, for class-conditional generators: a category, or a variant of one that is drawn by the same module.

    render("van", seed=0, indices=range(8))          as for a category
    columns(["van", "zebra"])                        where each of its random numbers stands in z
    in_turn(["van", "zebra"], 0, range(8), 256)      a van, a zebra, a van, ...

A variant squeezes some of the uniform numbers that ordinary scenes are drawn from, or sets what they come to. So its codes
are uniform still, and its z are N(0, I).
"""
import functools
from dataclasses import dataclass, field

import torch

from .categories import FACTORS, MODULES, SEGMENTS
from .tracing import color


@dataclass(frozen=True)
class SceneClass:
    """category: whose module draws it; ranges: factor -> (low, high) in [0, 1], the part left to the number that this factor
    is read from; params: what `settings` came to -> a number, or a function of the Params -> (N, 1), of a colour (N, 3, 1)."""
    category: str
    ranges: dict = field(default_factory=dict)
    params: dict = field(default_factory=dict)


def stone(light):
    """The colour of weathered marble, as light as this in linear light: function of the Params -> (N, 3, 1)."""
    return lambda p: color(p.size, light * 1.03, light, light * 0.93).repeat(len(p.size), 1, 1)


CLASSES = {
    "sedan": SceneClass("cars", {"tail": (0.0, 0.30), "cabin": (0.0, 0.6)}),
    # A high box: the roof is raised, the windscreen steep, the rear upright.
    "van": SceneClass("cars", {"tail": (0.85, 1.0), "cabin": (0.7, 1.0), "bonnet": (0.0, 0.2), "size": (0.4, 1.0)},
                      {"cabin": lambda p: p.cabin + 0.34, "rake": lambda p: p.rake * 0.6, "heel": -2.08, "slope": 0.03}),
    # A pickup: an upright cabin that ends in the middle, and a high, level bed behind it.
    "truck": SceneClass("cars", {"size": (0.6, 1.0), "cabin": (0.55, 1.0), "bonnet": (0.0, 0.5), "wheel_size": (0.8, 1.0)},
                        {"cabin": lambda p: p.cabin + 0.06, "heel": lambda p: p.cowl - 1.5, "slope": 0.05, "rake": lambda p: p.rake * 0.8,
                         "fall": -0.3}),
    "horse": SceneClass("horses"),
    "zebra": SceneClass("horses", {"white": (0.75, 1.0), "ginger": (0.0, 0.1), "saddle": (0.0, 0.3), "socks": (0.0, 0.4)},
                        {"stripes": 1.0}),
    "cat": SceneClass("cats"),
    "tiger": SceneClass("cats", {"ginger": (0.85, 1.0), "black": (0.0, 0.2), "points": (0.0, 0.2), "white": (0.0, 0.5),
                                 "lightness": (0.4, 0.9)},
                        {"tiger": 1.0}),
    "face": SceneClass("faces"),
    "statue": SceneClass("faces", {"redness": (0.0, 0.1)},
                         {"freckles": 0.0, "skin": stone(0.44), "hair_color": stone(0.30), "brow_color": stone(0.24), "iris": stone(0.30),
                          "lip_color": stone(0.36), "shirt": stone(0.42), "jacket": stone(0.34), "frame_color": stone(0.28)}),
}


def names():
    """The classes whose category there is a module for, in the order of CLASSES."""
    return [name for name, kind in CLASSES.items() if kind.category in MODULES]


class Variant:
    """The module of a class' category, drawing only that class."""

    def __init__(self, kind):
        self.kind, self.module = kind, MODULES[kind.category]
        found = numbers(kind.category)
        self.ranges = {found.index((factor, 0)): span for factor, span in kind.ranges.items()}

    def __getattr__(self, name):
        return getattr(self.module, name)

    def sample(self, u):
        return self.module.sample(_Squeezed(u, self.ranges))

    def settings(self, u, factors, own):
        p = self.module.settings(u, factors, own)
        p.update({name: value(p) if callable(value) else torch.full_like(p.size, value) for name, value in self.kind.params.items()})
        return p


class _Squeezed:
    """Hands out numbers as `u` does, some of them (column -> (low, high)) from a part of [0, 1) only."""

    def __init__(self, u, ranges):
        self.u, self.ranges = u, ranges

    def __call__(self, low=0.0, high=1.0):
        start, end = self.ranges.get(self.u.next, (0.0, 1.0))
        return low + (high - low) * (start + (end - start) * self.u())


@functools.cache
def numbers(category):
    """For each uniform number that a category's factors are read from, in order: (the first factor it changes, how many
    numbers before it were that factor's). Found by changing one number after the other."""
    from .draw import NUMBERS, Draw
    module, tries = MODULES[category], 16
    random, other = torch.rand(2, tries, NUMBERS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    changed = random.repeat(NUMBERS, 1, 1)
    changed[range(NUMBERS), :, range(NUMBERS)] = other.t()
    factors, _ = module.sample(Draw(random))
    moved, _ = module.sample(u := Draw(changed.flatten(0, 1)))
    found = []
    for column in range(u.next):
        rows = slice(column * tries, (column + 1) * tries)
        names = [name for name in module.FACTORS if not torch.equal(moved[name][rows], factors[name])]
        first = names[0] if names else ""
        found.append((first, sum(name == first for name, _ in found)))
    return tuple(found)


@functools.cache
def module_of(name):
    """The module that draws a category or a class. ValueError if there is neither."""
    if name in MODULES:
        return MODULES[name]
    if name not in names():
        raise ValueError(f"unknown category {name!r}: choose from {', '.join([*MODULES, *names()])}")
    return Variant(CLASSES[name])


def category_of(name):
    """The category of a class; of a category itself."""
    return CLASSES[name].category if name not in MODULES and name in CLASSES else name


def common_factors(classes) -> list[str]:
    """Factors that every class has, so that a change of class can be asked to keep them."""
    categories = {category_of(name) for name in classes}
    return [name for name in FACTORS[min(categories)] if all(name in FACTORS[category] for category in categories)]


def all_segments(classes) -> list[str]:
    """The segments of all classes' categories, each name once."""
    return list(dict.fromkeys(segment for name in classes for segment in SEGMENTS[category_of(name)]))


def renumbered(segments, name, classes):
    """The segments (N, H, W) of scenes of a class, numbered as in `all_segments` of the classes."""
    there = all_segments(classes)
    return torch.tensor([there.index(segment) for segment in SEGMENTS[category_of(name)]], device=segments.device)[segments.long()]


def in_turn(classes, seed, indices, size, **options):
    """Scenes as `render` draws them, scene i of class i modulo how many there are, with what `renumbered` makes of their
    segments, and of their factors the common ones."""
    from .draw import Scenes, render
    drawn = [(name, render(name, seed, [i], size, **options)) for i, name in ((i, classes[i % len(classes)]) for i in indices)]
    factors = {factor: torch.cat([one.factors[factor] for _, one in drawn]) for factor in common_factors(classes)}
    segments = [renumbered(one.segments, name, classes) for name, one in drawn]
    return Scenes(torch.cat([one.images for _, one in drawn]), torch.cat(segments), factors)


def columns(classes):
    """(class -> entry of z for each of its numbers, (K,) long; how many entries there are).

    Numbers that decide the same factor share an entry among all classes, so that a change of class keeps the pose, the
    light and so on. The others have entries behind those, shared with whatever number of another category comes as late.
    """
    from .draw import codes
    named = sorted({key for name in classes for key in numbers(CLASSES[name].category) if key[0]})
    entries = {key: i for i, key in enumerate(named)}
    found = {}
    for name in classes:
        keys, count = numbers(CLASSES[name].category), codes(name, 0, [0])[0].shape[1]
        rest = iter(range(len(named), len(named) + count))
        known = [entries[key] if key[0] else next(rest) for key in keys]
        found[name] = torch.tensor(known + [next(rest) for _ in range(count - len(keys))])
    return found, max(int(index.max()) for index in found.values()) + 1
