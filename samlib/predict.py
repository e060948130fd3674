"""From images to their layer maps, Sec. 3.1-3.2: S, the segmenter and the threshold, with what is only padding left out."""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import layer_map as maps
from .images import box_of, check_valid, surround

OUTSIDE = -1  # the segment of what an image was padded with; it stays in W+, space 0
LEAST = 32  # pixels a side that S needs


def predict(predictor, segmenter, images: Tensor, tau, valid: Tensor | None = None, view: int | None = None) -> dict:
    """error_maps (N, S, R, R), segments and layer_map (N, R, R) of images (N, 3, R, R), and tau.

    valid (N, 1, R, R): where the images were not padded; None: everywhere. Only the smallest box around it is looked at,
    and around the box stand error 0, segment OUTSIDE and W+.
    view: side of the square at which S sees an image; None: R. The segmenter sees it as it is.
    """
    check_valid(valid, images)
    alike = valid is None or bool((valid == valid[:1]).all())
    groups = [(images, valid)] if alike else zip(images.split(1), valid.split(1))  # one box for all would look at padding
    error_maps, segments = map(torch.cat, zip(*(_inside(predictor, segmenter, *group, view) for group in groups)))
    layer_map = maps.select(error_maps, segments, tau) * (segments != OUTSIDE)
    return {"error_maps": error_maps, "segments": segments, "layer_map": layer_map, "tau": tau}


def _inside(predictor, segmenter, images, valid, view):
    """Error maps and segments of images that are all valid in the same places."""
    box = box_of(images, valid, LEAST)
    part = images[box]
    error_maps, segments = errors(predictor, part, images.shape[-1], view), segmenter(part)
    if part.shape == images.shape:
        return error_maps, segments
    return surround(error_maps, box, images.shape[-1]), surround(segments, box, images.shape[-1], OUTSIDE)


def errors(predictor, part: Tensor, size: int, view: int | None) -> Tensor:
    """What S says of parts (N, 3, H, W) of squares of side `size`, which it sees as squares of side `view`: (N, S, H, W)."""
    if view in (None, size):
        return predictor(part)
    seen = [max(LEAST, round(side * view / size)) for side in part.shape[-2:]]
    return F.interpolate(predictor(F.interpolate(part, seen, mode="area")), part.shape[-2:], mode="bilinear")
