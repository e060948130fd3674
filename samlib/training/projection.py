"""The discriminator of BigGAN-deep (Brock et al., ICLR 2019, App. B): bottleneck blocks, spectral norm, and the class by
projection (Miyato and Koyama, "cGANs with Projection Discriminator", ICLR 2018)."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


def conv(fan_in: int, fan_out: int, kernel: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(fan_in, fan_out, kernel, padding=kernel // 2), eps=1e-6)


class DownBlock(nn.Module):
    """ReLU and convolution 1x1, 3x3, 3x3, 1x1; `down` halves the size. The way past adds channels by a 1x1 convolution."""

    def __init__(self, fan_in: int, fan_out: int, down: bool):
        super().__init__()
        middle = fan_out // 4
        self.down = down
        self.convs = nn.ModuleList(conv(i, o, k) for i, o, k in ((fan_in, middle, 1), (middle, middle, 3), (middle, middle, 3)))
        self.last = conv(middle, fan_out, 1)
        self.more = conv(fan_in, fan_out - fan_in, 1) if fan_out > fan_in else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        past = x
        for layer in self.convs:
            x = layer(F.relu(x))
        x = F.relu(x)
        if self.down:
            x, past = F.avg_pool2d(x, 2), F.avg_pool2d(past, 2)
        if self.more is not None:
            past = torch.cat([past, self.more(past)], 1)
        return past + self.last(x)


class ProjectionDiscriminator(nn.Module):
    """images (N, 3, H, W) in [-1, 1] and classes, one-hot (N, K) -> logits (N,).

    channels  resolution -> width, as the generator's; no width may be less than at the resolution above.
    """

    def __init__(self, channels: dict[int, int], classes: int):
        super().__init__()
        sizes = sorted(channels, reverse=True)
        self.fromrgb = conv(3, channels[sizes[0]], 3)
        blocks = []
        for large, small in zip(sizes, sizes[1:]):
            blocks += [DownBlock(channels[large], channels[small], True), DownBlock(channels[small], channels[small], False)]
        self.blocks = nn.Sequential(*blocks)
        self.out = spectral_norm(nn.Linear(channels[4], 1), eps=1e-6)
        self.embed = spectral_norm(nn.Linear(classes, channels[4], bias=False), eps=1e-6)

    def forward(self, images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.blocks(self.fromrgb(images))).float().sum((2, 3))
        return self.out(x)[:, 0].float() + (self.embed(classes).float() * x).sum(1)
