"""Learning to redraw: where every image comes with the random numbers it was drawn from, the generator can be shown which
image belongs to which z. That teaches a small network the whole distribution, its layout above all, in minutes; a
discriminator alone needs days for it. The judges of gan.py then only have to make it look real.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..perceptual import Metric


def to_normal(codes: torch.Tensor, z_dim: int) -> torch.Tensor:
    """Uniform numbers (N, K) in [0, 1] -> z (N, z_dim) ~ N(0, I) by the normal quantile; NaN in the entries left free."""
    if codes.ndim != 2 or codes.shape[1] > z_dim:
        raise ValueError(f"codes of shape {tuple(codes.shape)}; want (N, K) with K at most the {z_dim} entries of z")
    z = torch.special.ndtri(codes.double().clamp(1e-4, 1 - 1e-4)).float()
    return F.pad(z, (0, z_dim - codes.shape[1]), value=float("nan"))


class PairedLoss(nn.Module):
    """L1, and the perceptual distance at half size and on one crop at full size: images (N, 3, H, W) twice -> scalar."""

    def __init__(self, metric: str = "st-lpips-vgg"):
        super().__init__()
        self.metric = Metric(metric).to(memory_format=torch.channels_last)

    def forward(self, drawn: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        half = drawn.shape[-1] // 2
        rows, columns = (torch.randint(half + 1, (1,), device=real.device) + torch.arange(half, device=real.device)
                         for _ in range(2))
        views = [torch.cat([F.avg_pool2d(x, 2), x.index_select(2, rows).index_select(3, columns)]) for x in (drawn, real)]
        with torch.no_grad():
            wanted = self.metric.features(views[1])
        return F.l1_loss(drawn, real) + self.metric.distance(self.metric.features(views[0]), wanted).mean()
