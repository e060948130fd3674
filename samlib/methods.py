"""The methods of inversion, by name: what each changes of the call to `optimize`, and where it begins."""

from dataclasses import replace

from samlib import encode as encoders
from samlib.baselines import tuning_steps_for

# Wulff and Torralba (the paper's [59]) lean on the Gaussian prior of w_hat, which elsewhere only keeps w from straying, and
# have no penalty on the spread of the rows.
GAUSSIAN_FACTOR = 1000


def _as_it_is(weights):
    return {}


# What a method changes of the call to `optimize`; each is given the domain's weights.
METHODS = {
    "sam": _as_it_is,
    "w": lambda weights: {"shared_w": True},
    "w+": _as_it_is,
    "z": lambda weights: {"shared_w": True},  # of a BigGAN
    "z+": _as_it_is,
    "gaussian": lambda weights: {"weights": replace(weights, gaussian=GAUSSIAN_FACTOR * weights.gaussian, spread=0.0)},
    "hybrid-e4e": _as_it_is,
    "pti": _as_it_is,
}
# Where a method begins if that is its own affair: at what an encoder gives, or (None) at the mean w.
STARTS = {"hybrid-e4e": "e4e", "w": None, "gaussian": None, "pti": None}
Z_METHODS = ("sam", "z", "z+", "gaussian")  # those of a BigGAN, beside its feature spaces
BY_TAU = ("sam", "sam-encoder")  # those that choose the space of a segment; all others have a layer map that is given
PRINTED = {"w": "W", "w+": "W+", "gaussian": "W+, Gaussian prior", "hybrid-e4e": "hybrid W+ (e4e)", "pti": "PTI", "sam": "SAM",
           "e4e": "e4e", "restyle-psp": "ReStyle (pSp)", "restyle-e4e": "ReStyle (e4e)", "sam-encoder": "SAM's encoder"}  # in figures


def options(method, weights) -> dict:
    """What `method` changes of the call to `optimize`, given the `weights` of a domain."""
    return METHODS.get(method, _as_it_is)(weights)


def encoders_in(start) -> tuple[str, ...]:
    """The names of the encoders that a `start` of `Domain.invert` asks for."""
    return (start,) if isinstance(start, str) else tuple(start) if isinstance(start, list | tuple) else ()


def steps_in_all(method, steps: int) -> int:
    """The length of the longest history of an inversion that was not stopped; PTI tunes after its `steps`, an encoder has none."""
    if method in encoders.ENCODERS:
        return 0
    return steps + tuning_steps_for(steps) if method == "pti" else steps


def names(spaces) -> tuple[str, ...]:
    """The methods for a generator of these spaces: for its latent space, by encoders, and each feature space alone."""
    stylegan2 = (*(name for name in METHODS if name not in ("z", "z+")), *encoders.ENCODERS)
    latent = Z_METHODS if spaces[0].name == "Z+" else stylegan2
    return (*latent, *(space.name for space in spaces if not space.is_latent))
