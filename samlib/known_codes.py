"""The code that a built-in scene was drawn from: where the training of S begins its inversions, so that few steps do.

The generators of the built-in categories were taught by scenes and their numbers, so that z says which scene it is. Of a
photograph nobody knows such numbers; and what makes a scene challenging is not among them.
"""

import torch

from samlib import scenes
from samlib.training.paired import to_normal


@torch.no_grad()
def w_of(generator, category: str, seed: int, indices) -> torch.Tensor:
    """w+ (N, L, D) of the codes that scenes were drawn from; entries of z that carry nothing are 0."""
    z = to_normal(scenes.codes(category, seed, indices)[0], generator.z_dim).nan_to_num()
    return generator.mapping(z.to(generator.w_avg))
