"""The projected discriminator (Sauer et al., "Projected GANs Converge Faster", NeurIPS 2021) and DiffAugment.

Images are judged in the features of an ImageNet network (EfficientNet-Lite0, whose weights a Python package carries), mixed
across channels and scales by fixed random convolutions. Only the four small networks on top are trained.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from ..metrics import efficientnet_lite0

STAGES = (3, 5, 11, 16)  # EfficientNet-Lite0 blocks that end a scale: strides 4, 8, 16, 32
WIDTHS = (24, 40, 112, 320)


class ProjectedFeatures(nn.Module):
    """Frozen: images (N, 3, H, W) -> four feature maps of strides 2, 4, 8, 16, channels `width` * (1, 1, 2, 4)."""

    def __init__(self, width: int = 64):
        super().__init__()
        self.net = efficientnet_lite0()
        widths = [width * 2**i for i in range(4)]
        outs = [width, width, 2 * width, 4 * width]
        self.across_channels = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(WIDTHS, widths))
        self.across_scales = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in zip(widths, outs))
        for conv in [*self.across_channels, *self.across_scales]:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="linear")
            nn.init.zeros_(conv.bias)
        self.requires_grad_(False)

    def train(self, mode: bool = True):
        return super().train(False)  # the statistics of the pretrained network stay

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        x = self.net._swish(self.net._bn0(self.net._conv_stem(images)))
        scales, start = [], 0
        for end, mix in zip(STAGES, self.across_channels):
            for block in self.net._blocks[start:end]:
                x = block(x)
            scales.append(mix(x))
            start = end
        path, paths = 0, []
        for scale, mix in zip(reversed(scales), reversed(self.across_scales)):
            path = F.interpolate(scale + path, scale_factor=2, mode="bilinear", align_corners=False)
            path = mix(path)
            paths.append(path)
        return paths[::-1]


def _head(fan_in: int, resolution: int, outputs: int) -> nn.Sequential:
    """Halves the map to 8 px, then `outputs` numbers per 4x4 patch."""
    layers = []
    while resolution > 8:
        resolution //= 2
        fan_out = min(4096 // resolution, 512) if resolution < 64 else 64
        layers += [spectral_norm(nn.Conv2d(fan_in, fan_out, 4, 2, 1, bias=False)), nn.BatchNorm2d(fan_out),
                   nn.LeakyReLU(0.2)]
        fan_in = fan_out
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(fan_in, outputs, 4)))


class ProjectedDiscriminator(nn.Module):
    """Images (N, 3, H, W) in [-1, 1], H and W a power of two >= 128 -> logits (N, patches of all scales).

    classes  how many it tells apart: to the logit of a patch is added that of the patch being of the image's class (projection, Miyato
             and Koyama, ICLR 2018). 0: images have none.
    """

    def __init__(self, resolution: int = 256, width: int = 64, classes: int = 0):
        super().__init__()
        if resolution < 128:
            raise ValueError(f"resolution {resolution}: the projected discriminator wants 128 or more")
        self.features = ProjectedFeatures(width)
        widths = [width, width, 2 * width, 4 * width]
        self.heads = nn.ModuleList(_head(w, resolution // 2**(i + 1), 1 + classes) for i, w in enumerate(widths))

    def forward(self, images: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
        """classes: one-hot (N, K) of the images."""
        patches = [head(f).flatten(2).float() for head, f in zip(self.heads, self.features(images))]
        shared, own = torch.cat(patches, 2).tensor_split([1], 1)  # (N, 1, P), (N, K, P)
        return shared[:, 0] if classes is None else shared[:, 0] + (own * classes[:, :, None]).sum(1)


def augment(x: torch.Tensor, colour: float = 0.2) -> torch.Tensor:
    """DiffAugment (Zhao et al., NeurIPS 2020): colour, translation by up to 1/8 and a blank square, image by image.

    `colour`: share of the published change of brightness, saturation and contrast. At 1 the judge hardly minds a colour,
    and the cars lost a third of the spread of theirs.
    """
    n, _, h, w = x.shape

    def uniform(low, high):
        return torch.rand(n, 1, 1, 1, device=x.device) * (high - low) + low

    x = x + colour * uniform(-0.5, 0.5)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * (1 + colour * uniform(-1, 1)) + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * (1 + colour * uniform(-0.5, 0.5)) + mean

    move = torch.eye(2, 3, device=x.device).repeat(n, 1, 1)
    move[:, 0, 2], move[:, 1, 2] = uniform(-0.25, 0.25).flatten(), uniform(-0.25, 0.25).flatten()  # of half the size
    x = F.grid_sample(x, F.affine_grid(move, x.shape, align_corners=False), align_corners=False)

    centre_y, centre_x = uniform(0, 1) * h, uniform(0, 1) * w
    rows, columns = torch.arange(h, device=x.device)[:, None], torch.arange(w, device=x.device)
    hole = ((rows - centre_y).abs() < 0.1 * h) & ((columns - centre_x).abs() < 0.1 * w)
    return x * ~hole
