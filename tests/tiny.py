"""Tiny real parts for tests: a generator with three spaces (W+, F4, F6) and a metric, both instant on a CPU."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from samlib.stylegan2 import Generator


def tiny_generator(seed: int = 0) -> Generator:
    """64 px, random weights; w_avg set as training would have."""
    torch.manual_seed(seed)
    generator = Generator(64, z_dim=12, w_dim=12, channels={4: 8, 8: 8, 16: 8, 32: 6, 64: 4}, mapping_layers=2)
    with torch.no_grad():
        generator.w_avg.copy_(generator.mapping(torch.randn(500, 12))[:, 0].mean(0))
        for block in generator.synthesis_network.blocks():
            block.torgb.weight.mul_(0.2)  # images well inside [-1, 1]
    return generator


class TinyMetric(nn.Module):
    """The interface of samlib.perceptual.Metric over random convolutions; `calls` counts feature passes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, 4, 3, stride=2)
        self.calls = 0

    def features(self, x):
        self.calls += 1
        return [F.normalize(self.conv(x), dim=1)]

    def distance(self, fx, fy, size=None):
        return sum((a - b).square().mean((1, 2, 3)) for a, b in zip(fx, fy))


class NoDoubleOnMeta(TorchDispatchMode):
    """Makes of the device "meta" one like MPS, where nothing can be float64, not even for a moment."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for x in tree_leaves(found):
            if isinstance(x, torch.Tensor) and x.device.type == "meta" and x.dtype == torch.float64:
                raise TypeError("no float64 on this device")
        return found
