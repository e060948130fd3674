"""tau of Sec. 3.2 for a domain whose images are all there is: from the inversions of held-out images in each space alone."""

import torch
import torch.nn.functional as F
from torch import Tensor

from samlib import layer_map as maps
from samlib.training import loop


@torch.inference_mode()
def choose(predictor, segmenter, inversions: dict, share: float = 0.5) -> float:
    """`tau_that_wins` for S, a segmenter and what `load_inversions` gives of held-out images."""
    device, means = next(predictor.parameters()).device, []
    for images in inversions["images"].split(8):
        images = loop.as_float(images.to(device))
        means.append(maps.segment_means(predictor(images), segmenter(images)).cpu())
    means = torch.cat(means)
    return tau_that_wins(means, F.interpolate(inversions["error_maps"].float(), means.shape[-2:]), share)


def tau_that_wins(means: Tensor, measured: Tensor, share: float = 0.5, count: int = 32) -> float:
    """The largest tau, so the most editable, that wins `share` of what there is to win on these images.

    means (N, S, H, W), predicted, of segments; measured (N, S, H, W), of inversions in each space alone. A layer map's
    error is that of each pixel in its space; to win is the difference between W+ everywhere and the last space everywhere.
    """
    first, last = measured[:, 0].mean(), measured[:, -1].mean()
    levels = means[:, :-1].flatten().sort().values  # torch.quantile takes 16 million numbers at most
    levels = levels[evenly(len(levels), count)]
    candidates = {0.0, *(float(f"{level:.3g}") for level in levels.tolist())}
    for tau in sorted(candidates, reverse=True):
        error = measured.gather(1, maps.select_per_pixel(means, tau)[:, None]).mean()
        if error <= first - share * (first - last):
            return tau
    return 0.0


def evenly(length: int, count: int) -> Tensor:
    """`count` indices from 0 to `length` - 1. In whole numbers: float32 cannot tell those beyond 2**24 apart, and rounds past the last."""
    return torch.arange(count) * (length - 1) // (count - 1)
