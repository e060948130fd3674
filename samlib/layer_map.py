"""From error maps to masks: refinement by segments (Sec. 3.1) and selection of a latent space (Sec. 3.2).

    error maps -> mean per segment -> layer map (tau) -> one mask for each feature space

A layer map holds, for each pixel, the index of its space in `generator.spaces`: 0 = W+, the last = closest to pixels.
All functions are pure, batched, and know nothing of networks.
"""

import torch
import torch.nn.functional as F

from .precision import double
from .spaces import Space


def segment_means(error_maps: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
    """Refinement, Sec. 3.1: every pixel gets the mean predicted error of the segment it belongs to.

    error_maps  (N, S, H, W), one map for each space.
    segments    (N, H, W) integer ids >= 0, any numbering; the same id in two images means two segments.
    Returns (N, S, H, W) in the dtype of `error_maps`; the mean itself is taken in double precision.
    """
    _check_maps(error_maps)
    n, s, h, w = error_maps.shape
    if tuple(segments.shape) != (n, h, w) or segments.is_floating_point():
        raise ValueError(f"segments are {_describe(segments)}; want integer ids {(n, h, w)}, as the error maps")
    ids, index = torch.unique(segments.to(error_maps.device), return_inverse=True)  # any numbering -> 0 ... K-1
    index = index.reshape(n, 1, h * w)
    errors = double(error_maps).reshape(n, s, h * w)
    size = errors.new_zeros(n, 1, len(ids)).scatter_add_(2, index, torch.ones_like(errors[:, :1]))
    total = errors.new_zeros(n, s, len(ids)).scatter_add_(2, index.expand(n, s, -1), errors)
    mean = total / size.clamp(min=1)  # ids of other images have size 0 here, and nobody reads them
    return mean.gather(2, index.expand(n, s, -1)).reshape(n, s, h, w).to(error_maps.dtype)


def select_per_pixel(error_maps: torch.Tensor, tau: float | torch.Tensor) -> torch.Tensor:
    """Selection, Sec. 3.2: the earliest space whose error is at most tau; where there is none, the last one.

    error_maps (N, S, H, W), spaces in order; tau a number, or one for each image (N,). Returns (N, H, W) indices.
    Called on raw predictions, this is the ablation "without refinement" (Sec. 6.5).
    """
    _check_maps(error_maps)
    tau = torch.as_tensor(tau, dtype=error_maps.dtype, device=error_maps.device)
    if tau.ndim and tuple(tau.shape) != error_maps.shape[:1]:
        raise ValueError(f"tau has shape {tuple(tau.shape)}; want a number or one for each of {len(error_maps)} images")
    accepted = error_maps <= tau.reshape(-1, 1, 1, 1)
    accepted[:, -1] = True
    return accepted.int().argmax(1)  # the first of equal maxima


def select(error_maps: torch.Tensor, segments: torch.Tensor, tau: float | torch.Tensor) -> torch.Tensor:
    """The layer map of the method: `select_per_pixel` of the `segment_means`. Returns (N, H, W) indices."""
    return select_per_pixel(segment_means(error_maps, segments), tau)


def from_classes(segments: torch.Tensor, classes, outside: int, inside: int = 0) -> torch.Tensor:
    """The ablation "class segmentation as the map" (Sec. 6.5), which ignores the predicted errors.

    Pixels whose id in `segments` (N, H, W) is among `classes` get space `inside` (W+), all others space `outside`.
    """
    wanted = torch.as_tensor(list(classes), device=segments.device, dtype=segments.dtype)
    return torch.where(torch.isin(segments, wanted), inside, outside)


def spaces_per_segment(layer_map: torch.Tensor, segments: torch.Tensor, least: float = 0.01) -> torch.Tensor:
    """Over how many spaces the segments of each image are spread: the mean over its segments, (N,); 1 after refinement.

    layer_map, segments (N, H, W) integers. A space counts for a segment if it has at least the share `least` of its pixels.
    """
    if layer_map.shape != segments.shape:
        raise ValueError(f"the layer map is {_describe(layer_map)}, the segments are {_describe(segments)}; want equal shapes")
    counts, last = [], int(layer_map.max()) + 1
    for chosen, ids in zip(layer_map, segments.to(layer_map.device)):
        _, index = torch.unique(ids, return_inverse=True)
        table = torch.zeros(int(index.max()) + 1, last, device=chosen.device)
        table.view(-1).scatter_add_(0, (index * last + chosen).flatten(), torch.ones_like(table[0, 0]).expand(chosen.numel()))
        counts.append((table >= least * table.sum(1, keepdim=True)).logical_and(table > 0).sum(1).float().mean())
    return torch.stack(counts)


def uniform(n: int, size: int, space: int, device=None) -> torch.Tensor:
    """The layer map (N, size, size) of single-space inversion: the same space index everywhere."""
    return torch.full((n, size, size), space, device=device)


def masks(layer_map: torch.Tensor, spaces: tuple[Space, ...]) -> dict[str, torch.Tensor]:
    """m_l of Eq. 3-4: space name -> (N, 1, h, w) float in [0, 1], the share of each feature cell that is in F_l.

    The binary mask is resized bilinearly with antialiasing, so that a cell weighs every pixel it covers and the masks
    of all spaces (W+ has none) still add up to at most one. layer_map (N, H, H): pad other shapes with zeros first.
    """
    if layer_map.ndim != 3 or layer_map.shape[1] != layer_map.shape[2] or layer_map.is_floating_point():
        raise ValueError(f"the layer map is {_describe(layer_map)}; want integers (N, H, H); pad others with 0")
    resized = {}
    for index, space in enumerate(spaces):
        if not space.is_latent:
            binary = (layer_map == index)[:, None].float()
            size = (space.resolution, space.resolution)
            resized[space.name] = F.interpolate(binary, size, mode="bilinear", align_corners=False, antialias=True)
    return resized


def _check_maps(error_maps):
    if error_maps.ndim != 4 or not error_maps.is_floating_point():
        raise ValueError(f"the error maps are {_describe(error_maps)}; want floats (N, S, H, W), a map for each space")


def _describe(x):
    return f"{str(x.dtype).removeprefix('torch.')} of shape {tuple(x.shape)}"
