"""The code that a built-in scene was drawn from, as a place to begin its inversion, so that few steps do.

The generators of the built-in categories were taught by scenes and their numbers, so that z says which scene it is. Of a
photograph nobody knows such numbers; and what makes a scene challenging is not among them.
"""

import torch

from samlib import scenes
from samlib.experiments import HELD_OUT
from samlib.inversion import Inversion
from samlib.training.paired import to_normal


@torch.no_grad()
def w_of(generator, category: str, seed: int, indices) -> torch.Tensor:
    """w+ (N, L, D) of the codes that scenes were drawn from; entries of z that carry nothing are 0."""
    z = to_normal(scenes.codes(category, seed, indices)[0], generator.z_dim).nan_to_num()
    return generator.mapping(z.to(generator.w_avg))


@torch.no_grad()
def start_of(domain, seed: int, count: int, first: int = 0) -> Inversion:
    """An Inversion in W of the scenes that `experiments.inputs(domain, kind, count, seed, first)` gives, by their numbers alone."""
    if domain.name not in scenes.FACTORS:
        raise ValueError(f"no numbers are known of the images of {domain.name!r}; begin at the mean w")
    w_plus = w_of(domain.generator, domain.name, HELD_OUT + seed, range(first, first + count))
    return Inversion(w_plus=w_plus, images=domain.generator.synthesis(w_plus, noise="none").clamp(-1, 1), domain=domain.name)
