"""From images to their layer maps, Sec. 3.1-3.2: S, the segmenter and the threshold, with what is only padding left out."""

import torch.nn.functional as F
from torch import Tensor

from . import layer_map as maps
from .images import box_of, surround

OUTSIDE = {"error_maps": 0, "segments": -1, "layer_map": 0}  # what stands where an image was padded; 0 of a map is W+
LEAST = 32  # pixels a side that S needs


def predict(predictor, segmenter, images: Tensor, tau, valid: Tensor | None = None, view: int | None = None) -> dict:
    """error_maps (N, S, R, R), segments and layer_map (N, R, R) of images (N, 3, R, R), and tau.

    valid (N, 1, R, R): where the images were not padded; None: everywhere. Only the smallest box around it is looked at,
    and around the box stands OUTSIDE.
    view: side of the square at which S sees an image; None: R. The segmenter sees it as it is.
    """
    box = box_of(images, valid, LEAST)
    part = images[box]
    error_maps, segments = errors(predictor, part, images.shape[-1], view), segmenter(part)
    found = {"error_maps": error_maps, "segments": segments, "layer_map": maps.select(error_maps, segments, tau)}
    if part.shape != images.shape:
        found = {name: surround(x, box, images.shape[-1], OUTSIDE[name]) for name, x in found.items()}
    return {**found, "tau": tau}


def errors(predictor, part: Tensor, size: int, view: int | None) -> Tensor:
    """What S says of parts (N, 3, H, W) of squares of side `size`, which it sees as squares of side `view`: (N, S, H, W)."""
    if view in (None, size):
        return predictor(part)
    seen = [max(LEAST, round(side * view / size)) for side in part.shape[-2:]]
    return F.interpolate(predictor(F.interpolate(part, seen, mode="area")), part.shape[-2:], mode="bilinear")
