"""The layers of BigGAN-deep's generator (Brock et al., ICLR 2019, App. B), under the names of pytorch-pretrained-biggan, with
spectral norm folded into the weights.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

MOMENTUM = 0.02  # with which the running statistics of a training move
PLACES = 16  # px up to which the layers decide where things are; 8 bits there would place them 1/256 of their range off


class Norm(nn.Module):
    """Batch norm whose statistics depend on the truncation: n_stats pairs of mean and variance (C,) for truncation 0 to 1.

    Conditional: gain and offset are linear in the code (N, D) of this layer; else they are learnt constants.
    Training is batch renormalization (Ioffe, NeurIPS 2017): gradients by the batch's own statistics, values by running ones, which
    stand where those of truncation 1 will be. By the statistics of 64 images alone the pictures of a trained one were off by 0.05.
    `tally`, if it is a list, collects those of the batch, which are used then (see `standing_statistics`).
    """

    def __init__(self, channels: int, code: int | None, n_stats: int, eps: float):
        super().__init__()
        self.eps, self.tally = eps, None
        self.register_buffer("running_means", torch.zeros(n_stats, channels))
        self.register_buffer("running_vars", torch.ones(n_stats, channels))
        if code:
            self.scale = nn.Linear(code, channels, bias=False)
            self.offset = nn.Linear(code, channels, bias=False)
        else:
            self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor, code: torch.Tensor | None, truncation: float) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            gain, offset = (self.weight[None], self.bias[None]) if code is None else (1 + self.scale(code), self.offset(code))
        if self.training and self.tally is None:
            x, ratio, shift = self.renormalized(x)
            gain, offset = gain * ratio, offset + gain * shift
        else:
            mean, var = self.collect(x) if self.training else self.statistics(truncation)
            shrink = (var + self.eps).rsqrt()
            gain, offset = gain * shrink, offset - gain * (mean * shrink)
        if x.shape[-1] > PLACES:
            gain, offset = gain.to(x.dtype), offset.to(x.dtype)
        return torch.addcmul(offset[..., None, None], x, gain[..., None, None]).to(x.dtype)

    def statistics(self, truncation: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance (C,) at this truncation. Between two steps the package gives each neighbour the share that is
        the other's; its pictures are the reference, so that is kept."""
        last = len(self.running_means) - 1
        share, low = math.modf(truncation / (1.0 / last))
        mean, var, above = self.running_means[int(low)], self.running_vars[int(low)], min(int(low) + 1, last)
        if share:  # at truncation 1 of 50 statistics, too, by rounding
            mean, var = mean * share + self.running_means[above] * (1 - share), (
                var * share + self.running_vars[above] * (1 - share))  # fmt: skip
        return mean, var

    def renormalized(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """x normalized by this batch, and r and d (C,) of the paper, at its limits: times r, plus d, it is so by the running
        statistics. Those move towards the batch's first."""
        mean, var = torch.zeros_like(self.running_means[-1]), torch.zeros_like(self.running_vars[-1])
        x, n = F.batch_norm(x, mean, var, training=True, momentum=1.0, eps=self.eps), x.numel() // x.shape[1]
        with torch.no_grad():
            var = var * ((n - 1) / n)  # what batch norm hands out is unbiased, what it divides by is not
            self.running_means[-1].lerp_(mean, MOMENTUM)
            self.running_vars[-1].lerp_(var, MOMENTUM)
            shrink = (self.running_vars[-1] + self.eps).rsqrt()
            return x, ((var + self.eps).sqrt() * shrink).clamp(1 / 3, 3), ((mean - self.running_means[-1]) * shrink).clamp(-5, 5)

    def collect(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        var, mean = torch.var_mean(x.float(), (0, 2, 3), correction=0)
        self.tally.append((mean, var))
        return mean, var


class Block(nn.Module):
    """The bottleneck block: 1x1, 3x3, 3x3, 1x1 convolutions, each after norm and ReLU; `up` doubles the size. The way
    past them drops the last half of the channels where the width halves."""

    def __init__(self, fan_in: int, fan_out: int, code: int, up: bool, n_stats: int, eps: float):
        super().__init__()
        if fan_in % 4 or fan_out not in (fan_in, fan_in // 2):
            raise ValueError(f"widths {fan_in} -> {fan_out}; want multiples of 4, each the one before or half of it")
        self.up, self.fan_out, middle = up, fan_out, fan_in // 4
        widths = [fan_in, middle, middle, middle, fan_out]
        for i, kernel in enumerate((1, 3, 3, 1)):
            self.add_module(f"bn_{i}", Norm(widths[i], code, n_stats, eps))
            self.add_module(f"conv_{i}", nn.Conv2d(widths[i], widths[i + 1], kernel, padding=kernel // 2))

    def forward(self, x: torch.Tensor, code: torch.Tensor, truncation: float) -> torch.Tensor:
        past, x = x[:, : self.fan_out], self.conv_0(F.relu(self.bn_0(x, code, truncation)))
        x = F.relu(self.bn_1(x, code, truncation))
        if self.up:
            past, x = (F.interpolate(y, scale_factor=2, mode="nearest") for y in (past, x))
        x = self.conv_2(F.relu(self.bn_2(self.conv_1(x), code, truncation)))
        x = self.conv_3(F.relu(self.bn_3(x, code, truncation)))
        return x + (past.to(x.dtype) if x.shape[-1] > PLACES else past)


class Attention(nn.Module):
    """Self-attention (Zhang et al., SAGAN 2019); keys and values are pooled 2 x 2."""

    def __init__(self, channels: int):
        super().__init__()
        for name, i, o in (("theta", channels, channels // 8), ("phi", channels, channels // 8),
                           ("g", channels, channels // 2), ("o_conv", channels // 2, channels)):
            self.add_module(f"snconv1x1_{name}", nn.Conv2d(i, o, 1, bias=False))
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query = self.snconv1x1_theta(x).flatten(2)
        key, value = (F.max_pool2d(conv(x), 2).flatten(2) for conv in (self.snconv1x1_phi, self.snconv1x1_g))
        weight = (query.transpose(1, 2) @ key).softmax(2)
        seen = (value @ weight.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + self.gamma.to(x.dtype) * self.snconv1x1_o_conv(seen)


class Synthesis(nn.Module):
    """The layers; at each resolution r: a block that reaches r (none at 4 px), attention if it is here, a block that stays
    (none at the last)."""

    def __init__(self, channels: dict[int, int], code: int, attention: int | None, n_stats: int, eps: float):
        super().__init__()
        sizes = sorted(channels)
        self.gen_z = nn.Linear(code, 16 * channels[4])
        self.layers, self.ends = nn.ModuleList(), {}  # ends: index of the layer that ends a resolution -> resolution
        for previous, r in zip([None, *sizes], sizes):
            if previous:
                self.layers.append(Block(channels[previous], channels[r], code, True, n_stats, eps))
            if r == attention:
                self.layers.append(Attention(channels[r]))
            if r != sizes[-1]:
                self.layers.append(Block(channels[r], channels[r], code, False, n_stats, eps))
            self.ends[len(self.layers) - 1] = r
        self.bn = Norm(channels[sizes[-1]], None, n_stats, eps)
        self.conv_to_rgb = nn.Conv2d(channels[sizes[-1]], 3, 3, padding=1)

    def forward(self, code, truncation, at_end=lambda resolution, x: x, stop=None):
        """code (N, L, D) -> images (N, 3, H, W) in [-1, 1]. at_end(resolution, feature) -> feature: called at each
        resolution's end; stop: the resolution whose feature is returned instead of the image."""
        with torch.autocast(code.device.type, enabled=False):
            x = self.gen_z(code[:, 0]).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)  # channels last, in memory still
        row = 1
        for i, layer in enumerate(self.layers):
            if isinstance(layer, Block):
                x, row = layer(x, code[:, row], truncation), row + 1
            else:
                x = layer(x)
            if i in self.ends:
                x = at_end(self.ends[i], x)
                if self.ends[i] == stop:
                    return x
        return self.conv_to_rgb(F.relu(self.bn(x, None, truncation))).tanh()
