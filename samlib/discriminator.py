"""The residual discriminator of StyleGAN2 (Karras et al., CVPR 2020), in plain PyTorch."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from .stylegan2 import SQRT2, Linear, default_channels, low_passed


class DiscriminatorConv(nn.Module):
    """Convolution with equalized learning rate; with `down` the low-pass filter halves the size first."""

    def __init__(self, fan_in, fan_out, size, down=False, bias=True, activate=True, gain=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in, size, size))
        self.bias = nn.Parameter(torch.zeros(fan_out)) if bias else None
        self.down, self.activate, self.gain = down, activate, gain
        self.scale = 1 / math.sqrt(fan_in * size * size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        w = self.weight * self.scale
        bias = None if self.bias is None else self.bias.to(x.dtype)
        if self.down:
            w = low_passed(w)
        padding = w.shape[2] // 2 - self.down
        x = F.conv2d(x, w.to(x.dtype), bias, stride=1 + self.down, padding=padding)
        return F.leaky_relu(x, 0.2) * (SQRT2 * self.gain) if self.activate else x * self.gain


class DiscriminatorBlock(nn.Module):
    def __init__(self, fan_in, fan_out):
        super().__init__()
        self.conv0 = DiscriminatorConv(fan_in, fan_in, 3)
        self.conv1 = DiscriminatorConv(fan_in, fan_out, 3, down=True, gain=math.sqrt(0.5))
        self.skip = DiscriminatorConv(fan_in, fan_out, 1, down=True, bias=False, activate=False, gain=math.sqrt(0.5))

    def forward(self, x):
        return self.skip(x) + self.conv1(self.conv0(x))


class Discriminator(nn.Module):
    """The residual discriminator of StyleGAN2: images (N, 3, H, W) in [-1, 1] -> logits (N,)."""

    def __init__(self, resolution=256, channels=None, group=4):
        super().__init__()
        channels = channels or default_channels(resolution)
        sizes = sorted(channels, reverse=True)
        self.group, self.compute_dtype = group, None
        self.fromrgb = DiscriminatorConv(3, channels[resolution], 1)
        self.blocks = nn.ModuleList(DiscriminatorBlock(channels[a], channels[b]) for a, b in zip(sizes, sizes[1:]))
        self.conv = DiscriminatorConv(channels[4] + 1, channels[4], 3)
        self.fc = Linear(channels[4] * 16, channels[4], activate=True)
        self.out = Linear(channels[4], 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.fromrgb(images.to(self.compute_dtype or images.dtype))
        for block in self.blocks:
            x = block(x)
        x = x.float()
        return self.out(self.fc(self.conv(self._with_stddev(x)).flatten(1)))[:, 0]

    def _with_stddev(self, x):
        """Appends the mean standard deviation over groups of images as one more channel (Karras et al. 2018)."""
        n, _, h, w = x.shape
        g = math.gcd(n, self.group)
        y = x.unflatten(0, (g, n // g))
        y = (y.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
        return torch.cat([x, y.repeat(g)[:, None, None, None].expand(n, 1, h, w)], 1)
