"""The networks of the encoders (Sec. 6.2): ResNets so small that those of a whole category are a few megabytes.

    Trunk            ResNet-18 up to a resolution
    LatentEncoder    image -> a change of w+, in the manner of e4e or of pSp
    FeatureEncoder   image and mask -> delta_f of one feature space
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

INPUT_SIZE = 256  # side of the images that encoders see, at most
COARSE, MIDDLE = 3, 7  # rows of w+ below COARSE are read off the coarsest scale, those below MIDDLE off the next: as pSp does
GRID = 4  # a head looks at GRID x GRID places


class Trunk(nn.Module):
    """ResNet-18 (He et al., CVPR 2016), cut where the image has been halved `halvings` times. Keys are torchvision's.

    inputs  channels of the image; the first convolution is made for them.
    units   residual units of each of its four stages.
    Returns the maps after 1, 2, ... `halvings` halvings, of width * (1, 1, 2, 4, 8) channels.
    """

    def __init__(self, inputs: int, width: int = 64, halvings: int = 5, units=(2, 2, 2, 2)):
        super().__init__()
        if not 1 <= halvings <= 5:
            raise ValueError(f"a ResNet-18 halves its image 1 to 5 times, not {halvings}; this space has no encoder")
        self.conv1 = nn.Conv2d(inputs, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.channels = [width, *(width * 2**i for i in range(halvings - 1))]
        for i in range(halvings - 1):
            setattr(self, f"layer{i + 1}", _stage(self.channels[i], self.channels[i + 1], units[i], 2 if i else 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [F.relu(self.bn1(self.conv1(x)))]
        for i in range(len(self.channels) - 1):
            x = maps[-1] if i else F.max_pool2d(maps[-1], 3, stride=2, padding=1)
            maps.append(getattr(self, f"layer{i + 1}")(x))
        return maps


def _stage(fan_in: int, fan_out: int, units: int, stride: int) -> nn.Sequential:
    shortcut = None
    if stride != 1 or fan_in != fan_out:
        shortcut = nn.Sequential(nn.Conv2d(fan_in, fan_out, 1, stride, bias=False), nn.BatchNorm2d(fan_out))
    return nn.Sequential(BasicBlock(fan_in, fan_out, stride, shortcut), *(BasicBlock(fan_out, fan_out) for _ in range(units - 1)))


class LatentEncoder(nn.Module):
    """Images (N, inputs, S, S) -> how far w+ is from where it starts, (N, rows, w_dim); all zeros before any training.

    A feature pyramid of three scales, as in pSp (Richardson et al., CVPR 2021), on a narrow ResNet-18; but one head for
    each scale, with a linear layer for each of its rows, where pSp has a head of its own for each row.
    offsets    True: row 0 is a w, and the others what each row adds to it (e4e: Tov et al., SIGGRAPH 2021).
               False: every row by itself (pSp).
    scale      multiplies the result: the standard deviation of w, so that the network works with numbers around 1.
    `active`: rows from this one on have no offset of their own (e4e's progressive training); not stored.
    """

    def __init__(self, inputs: int, rows: int, w_dim: int, offsets: bool = True, scale: float = 1.0, width: int = 24,
                 hidden: int = 192, pyramid: int = 64):
        super().__init__()
        self.rows, self.w_dim, self.offsets, self.scale, self.active = rows, w_dim, offsets, scale, rows
        self.trunk = Trunk(inputs, width, 5, (2, 2, 2, 1))
        ends = [0, min(COARSE, rows), min(MIDDLE, rows), rows]
        self.counts = [b - a for a, b in zip(ends, ends[1:])]
        self.lateral = nn.ModuleList(nn.Conv2d(c, pyramid, 1) for c in self.trunk.channels[:1:-1])
        self.heads = nn.ModuleList(_head(pyramid, halvings, hidden) for halvings in (1, 2, 3))
        self.last = nn.ModuleList(nn.Linear(hidden, count * w_dim) for count in self.counts)
        for layer in self.last:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        level, rows = None, []
        for features, lateral, head, last in zip(self.trunk(x)[:1:-1], self.lateral, self.heads, self.last):
            finer = lateral(features)
            level = finer if level is None else finer + F.interpolate(level, finer.shape[2:], mode="bilinear")
            rows.append(last(head(level)).float().unflatten(1, (-1, self.w_dim)))
        codes = self.scale * torch.cat(rows, 1)
        if not self.offsets:
            return codes
        own = torch.arange(self.rows, device=codes.device).clamp(max=self.active) < self.active
        own[0] = False
        return codes[:, :1] + codes * own[:, None]


def _head(channels: int, halvings: int, hidden: int) -> nn.Sequential:
    """Strided convolutions, as pSp's map2style, down to a grid that still knows left from right."""
    layers = []
    for _ in range(halvings):
        layers += [nn.Conv2d(channels, channels, 3, 2, padding=1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(GRID), nn.Flatten(), nn.Linear(channels * GRID**2, hidden), nn.LeakyReLU(0.2))


class FeatureEncoder(nn.Module):
    """Image and mask (N, 4, S, S) -> delta_f (N, channels, r, r): a ResNet-18 that is cut at r = S / 2^halvings, and a
    convolution to the channels of the space; all zeros before any training.

    context  True goes beyond the paper: the last convolution also sees the feature that delta_f is added to, and the
             image so far, so that it need not guess what it has to cancel.
    """

    def __init__(self, channels: int, halvings: int, width: int = 48, context: bool = False):
        super().__init__()
        self.context = context
        self.trunk = Trunk(4, width, halvings)
        self.last = nn.Conv2d(self.trunk.channels[-1] + (channels + 3 if context else 0), channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, feature: Tensor, image: Tensor) -> Tensor:
        """feature (N, channels, r, r), image (N, 3, r, r): read only where `context` is True."""
        found = self.trunk(x)[-1]
        if self.context:
            found = torch.cat([found, feature.to(found.dtype), image.to(found.dtype)], 1)
        return self.last(found)
