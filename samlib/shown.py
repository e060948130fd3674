"""What a notebook of the paper shows where its parameters leave it open: which domains, and of each its edits and object.

So a notebook names no category: `edits = 2` are two edits of whatever domain it runs on. But for the one image of many that a figure
draws, which its full profile picks for each category (`place`).
"""

from dataclasses import replace

from samlib import edit_measures, qualitative, scenes
from samlib.domains import Domain, domains, load
from samlib.perceptual import Metric
from samlib.published import CATEGORIES
from samlib.training.edits import CONCERNED


def subjects(name: str = "", device=None, metric: str = "") -> dict[str, Domain]:
    """name -> Domain, `judged_by` the metric: the one that is named, or with "" every built-in category whose weights are here, in the
    paper's order."""
    names = [name] if name else [one for one in CATEGORIES if one in domains() and one in scenes.FACTORS]
    if not names:
        raise ValueError(f"no weights of {', '.join(CATEGORIES)} in data/: train one, or name another domain")
    return {one: judged_by(load(one, device), metric) for one in names}


def judged_by(domain: Domain, metric: str = "") -> Domain:
    """The domain with another perceptual metric, one of `perceptual.METRICS`; "": as it is."""
    return replace(domain, metric=Metric(metric).to(domain.device)) if metric else domain


def place(drawn: dict[str, int], name: str, count: int) -> slice:
    """Which of `count` images a figure draws, as a slice of one: that which `drawn` names for this domain, the first if it names none,
    or names one that a smaller run has not."""
    chosen = drawn.get(name, 0)
    return slice(chosen, chosen + 1) if 0 <= chosen < count else slice(0, 1)


def edits(domain, wanted: int | list[str], late: bool = False, seed: int = 0, layer_map=None, segments=None) -> list[str]:
    """Names of directions: those that are `wanted`, or so many of the domain's, as it lists them, Table 3's four first.

    late=True: of those four the ones that, measured, work in most of the first three spaces (`edit_measures.works_in`); among
    equals the last, for Table 3 lists them so. Directions of PCA have no meaning and are not counted.
    layer_map (1, R, R) of an image, and its true segments where they are known: those come first that it permits (`qualitative`).
    """
    known = [name for name in domain.directions if not name.startswith("pca")]
    if not isinstance(wanted, int):
        if unknown := [name for name in wanted if name not in domain.directions]:
            raise ValueError(f"no direction {', '.join(unknown)} in {domain.name}; it has {', '.join(domain.directions)}")
        return list(wanted)
    if late:
        left = edit_measures.left_in(domain, edit_measures.regressor_of(domain), known[:4], seed=seed)
        works = edit_measures.works_in(left)
        known = sorted(reversed(works), key=lambda name: -sum(works[name][:3]))
    if layer_map is not None:
        known.sort(key=lambda name: not qualitative.permitted(domain, layer_map, name, segments).all())
    return known[:wanted]


def object_classes(domain, wanted: list[str] = ()) -> list[str]:
    """Classes of the segmenter that make up the object of a category: those `wanted`, or what most of its edits are about."""
    if not wanted and domain.name not in CONCERNED:
        raise ValueError(f"what the object of {domain.name!r} is, is not known: name the classes of {', '.join(domain.segmenter.classes)}")
    return list(wanted or CONCERNED[domain.name][None])
