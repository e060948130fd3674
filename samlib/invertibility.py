"""S, the invertibility predictor (Sec. 3.1, 6.1): from an image, the error each latent space would leave, per pixel.

DeepLabV3+ (Chen et al., ECCV 2018), output stride 16, with 8 output channels, and one small head per space. Its backbone is
a ResNet, as published, or EfficientNet-Lite0, which brings ImageNet weights. Module names are those of the published
predictor, so that its files load by key.
"""

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from samlib import weights
from samlib.arrays import CheckpointError, brief
from samlib.checkpoints import fill, is_safetensors, read_arrays
from samlib.layouts import collect
from samlib.spaces import STYLEGAN2_FEATURES

BLOCKS = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
}
LITE = "efficientnet-lite0"
BACKBONES = (*BLOCKS, LITE)
BASE_CHANNELS = 8


class Backbone(nn.Module):
    """ResNet whose last stage keeps the stride (1/16 of the image) and widens its view by dilations 2, 4, 8 instead.

    Keys are torchvision's (`layer3.0.conv1.weight`), without the classifier. Returns the features at 1/4 and at 1/16.
    """

    def __init__(self, name: str, width: int = 64):
        super().__init__()
        block, counts = BLOCKS[name]
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.channels = width
        for i, (count, stride) in enumerate(zip(counts, (1, 2, 2, 1))):
            setattr(self, f"layer{i + 1}", self.stage(block, width * 2**i, count, stride))
        self.low_channels = width * block.expansion
        for i, unit in enumerate(self.layer4):
            for conv in unit.modules():
                if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
                    conv.dilation = conv.padding = (2 * 2**i, 2 * 2**i)

    def stage(self, block, channels: int, count: int, stride: int) -> nn.Sequential:
        wide = channels * block.expansion
        shortcut = None
        if stride != 1 or self.channels != wide:
            shortcut = nn.Sequential(nn.Conv2d(self.channels, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))
        first = block(self.channels, channels, stride, shortcut)
        self.channels = wide
        return nn.Sequential(first, *(block(wide, channels) for _ in range(count - 1)))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.bn1(self.conv1(images)))
        low = self.layer1(F.max_pool2d(x, 3, stride=2, padding=1))
        return low, self.layer4(self.layer3(self.layer2(low)))


class LiteBackbone(nn.Module):
    """EfficientNet-Lite0 (Tan and Le, ICML 2019; without squeeze and excitation) under the stages' names of `Backbone`, whose last
    stage keeps the stride, too, and sees as far by a dilation of 2. Returns the features at 1/4 and at 1/16.

    network: an EfficientNet whose weights it takes over; None: one that starts from nothing.
    """

    def __init__(self, network=None):
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        network = network or EfficientNet.from_name(LITE)
        blocks = list(network._blocks)
        self.conv1, self.bn1 = network._conv_stem, network._bn0
        for i, (first, end) in enumerate(((0, 3), (3, 5), (5, 11), (11, 16))):
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks[first:end]))
        self.low_channels, self.channels = (stage[-1]._project_conv.out_channels for stage in (self.layer1, self.layer4))
        self.layer4[0]._depthwise_conv.stride = (1, 1)
        for unit in self.layer4:
            conv = unit._depthwise_conv
            conv.dilation = (2, 2) if unit is not self.layer4[0] else (1, 1)
            conv.static_padding = nn.ZeroPad2d(conv.dilation[0] * (conv.kernel_size[0] - 1) // 2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        low = self.layer1(F.relu6(self.bn1(self.conv1(images))))
        return low, self.layer4(self.layer3(self.layer2(low)))


class Atrous(nn.Module):
    """Dilated convolution, BatchNorm, ReLU: one branch of the pyramid."""

    def __init__(self, inputs: int, outputs: int, dilation: int):
        super().__init__()
        kernel, padding = (1, 0) if dilation == 1 else (3, dilation)
        self.atrous_conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.atrous_conv(x)))


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: dilations 1, 6, 12, 18 and the image's mean, side by side."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        for i, dilation in enumerate((1, 6, 12, 18)):
            setattr(self, f"aspp{i + 1}", Atrous(inputs, outputs, dilation))
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        )
        self.conv1 = nn.Conv2d(5 * outputs, outputs, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        mean = self.global_avg_pool(x).expand(-1, -1, *x.shape[2:])
        branches = (self.aspp1(x), self.aspp2(x), self.aspp3(x), self.aspp4(x), mean)
        return self.dropout(F.relu(self.bn1(self.conv1(torch.cat(branches, 1)))))


class Decoder(nn.Module):
    """Joins the pyramid (1/16) with the early features (1/4), which know where the edges are."""

    def __init__(self, low_channels: int, channels: int, low_reduced: int, outputs: int):
        super().__init__()
        self.conv1 = nn.Conv2d(low_channels, low_reduced, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(low_reduced)

        def unit(inputs: int, drop: float) -> list[nn.Module]:
            conv = nn.Conv2d(inputs, channels, 3, padding=1, bias=False)
            return [conv, nn.BatchNorm2d(channels), nn.ReLU(), nn.Dropout(drop)]

        units = *unit(channels + low_reduced, 0.5), *unit(channels, 0.1)
        self.last_conv = nn.Sequential(*units, nn.Conv2d(channels, outputs, 1))

    def forward(self, x: Tensor, low: Tensor) -> Tensor:
        low = F.relu(self.bn1(self.conv1(low)))
        return self.last_conv(torch.cat((enlarge(x, low.shape[2:]), low), 1))


def enlarge(x: Tensor, size) -> Tensor:
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True)


class Base(nn.Module):
    """S_base: (N, 3, H, W) -> (N, 8, H, W)."""

    def __init__(self, backbone: str, width: int, decoder: int, low_reduced: int):
        super().__init__()
        self.backbone = LiteBackbone() if backbone == LITE else Backbone(backbone, width)
        self.aspp = Pyramid(self.backbone.channels, decoder)
        self.decoder = Decoder(self.backbone.low_channels, decoder, low_reduced, BASE_CHANNELS)

    def forward(self, images: Tensor) -> Tensor:
        low, high = self.backbone(images)
        return enlarge(self.decoder(self.aspp(high), low), images.shape[2:])


class Head(nn.Module):
    """head_phi: (N, 8, H, W) -> (N, 1, H, W) >= 0. Transposed convolutions, as in the published files."""

    def __init__(self):
        super().__init__()
        first, last = nn.ConvTranspose2d(BASE_CHANNELS, 4, 3, padding=1), nn.ConvTranspose2d(4, 1, 1)
        self.m = nn.Sequential(first, nn.BatchNorm2d(4), nn.LeakyReLU(0.2), last, nn.ReLU())

    def forward(self, base: Tensor) -> Tensor:
        return self.m(base)


class InvertibilityPredictor(nn.Module):
    """S: images (N, 3, H, W) in [-1, 1], H and W from 32 on -> error maps (N, S, H, W) >= 0, one per space, in order.

    spaces          names, or Space records.
    backbone        one of BACKBONES; the published network is `published`.
    width           channels of a ResNet's first stage.
    decoder         channels of the pyramid and the decoder; low_reduced: of the early features in it.
    backbone_state  weights of the backbone: of a ResNet under torchvision's names (its `fc.*` is ignored), of EfficientNet-Lite0
                    as LiteBackbone names them; None starts from nothing.
    """

    def __init__(self, spaces, backbone="resnet18", width=40, decoder=128, low_reduced=32, backbone_state=None):
        super().__init__()
        if backbone not in BACKBONES:
            raise ValueError(f"backbone {backbone!r} is not known; choose one of {', '.join(BACKBONES)}")
        if width != 64 and BLOCKS.get(backbone, (None,))[0] is Bottleneck:
            raise ValueError(f"width {width} with {backbone}: only resnet18 and resnet34 come narrower; set it to 64")
        self.spaces = tuple(getattr(space, "name", space) for space in spaces)
        self.config = dict(spaces=self.spaces, backbone=backbone, width=width, decoder=decoder, low_reduced=low_reduced)
        self.sd_base = Base(backbone, width, decoder, low_reduced)
        self.heads = nn.ModuleDict({name: Head() for name in self.spaces})
        if backbone_state is not None:
            self.sd_base.backbone.load_state_dict({k: v for k, v in backbone_state.items() if not k.startswith("fc.")})

    @classmethod
    def published(cls, spaces) -> "InvertibilityPredictor":
        """The architecture of the published files, to be filled by `load_published`."""
        return cls(spaces, "resnet101", width=64, decoder=256, low_reduced=48)

    def load_published(self, checkpoint: dict) -> "InvertibilityPredictor":
        """Fill from a published checkpoint, {"sd_base": state, space name: state of its head, ...}, using every key."""
        parts = {"sd_base": self.sd_base, **self.heads}
        if set(checkpoint) != set(parts):
            have, want = sorted(checkpoint), sorted(parts)
            raise ValueError(f"the checkpoint holds {have}, wanted {want}; build the predictor for its spaces")
        for name, part in parts.items():
            try:
                part.load_state_dict(checkpoint[name])
            except RuntimeError as error:
                raise ValueError(f"{name} of the checkpoint does not fit: {' '.join(str(error).split())}") from error
        return self

    def forward(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < 32:
            raise ValueError(f"images of shape {tuple(images.shape)}; wanted (N, 3, H, W) with at least 32 px a side")
        base = self.sd_base(images)
        return torch.cat([head(base) for head in self.heads.values()], 1)

    def save(self, path, half: bool = True, **metadata):
        return weights.save(self, path, half, **metadata)

    @classmethod
    def load(cls, path, device=None) -> "InvertibilityPredictor":
        return weights.load(cls, path, device)


def load_predictor(path, device=None) -> InvertibilityPredictor:
    """The predictor in `path`: a published file, {"sd_base": state, space name: state of its head, ...}, read as data,
    or one that `samlib` saved. Every tensor is used; a CheckpointError names one that is missing, left over or misshaped."""
    if is_safetensors(path):
        return InvertibilityPredictor.load(path, device)
    arrays = read_arrays(path, _flat)
    known = ("W+", *STYLEGAN2_FEATURES)
    spaces = {name.split(".")[1] for name in arrays if name.startswith("heads.")}
    if unknown := sorted(spaces - set(known)):
        raise CheckpointError(f"{path}: a head for {brief(unknown[0])}, which is no space; there are {', '.join(known)}")
    with torch.device("meta"):  # shapes only: the arrays of the file become the parameters
        predictor = InvertibilityPredictor([name for name in known if name in spaces], **_settings(arrays, path))
    fill(predictor, arrays, path)
    return predictor.to(device or "cpu")


def _flat(content: dict, size: int) -> dict:
    """A published checkpoint's tensors under the names that the predictor has for them."""
    if type(content) is not dict or type(content.get("sd_base")) is not dict:
        raise CheckpointError("holds no invertibility predictor; want sd_base and a head for each space")
    pairs = []
    for part, state in content.items():
        if type(part) is not str or "." in part or type(state) is not dict:
            raise CheckpointError(f"{brief(part)} is left over; want sd_base and a head for each space")
        prefix = part if part == "sd_base" else f"heads.{part}"
        pairs += [(f"{prefix}.{name}", array) for name, array in state.items()]
    return collect(pairs, size)


def _settings(arrays: dict, path) -> dict:
    """The constructor's arguments that the shapes imply; the published files are those of `published`."""

    def channels(name):
        shape = arrays[name].shape if name in arrays else ()
        if len(shape) != 4 or not 0 < shape[0] <= 4096:
            raise CheckpointError(f"{path}: {name} is missing or misshaped; want DeepLabV3+ on a ResNet")
        return shape[0]

    names = [name.removeprefix("sd_base.backbone.") for name in arrays]
    block = Bottleneck if any(name.endswith(".conv3.weight") for name in names) else BasicBlock
    depth = max((int(match[1]) + 1 for name in names if (match := re.match(r"layer3\.(\d{1,3})\.", name))), default=0)
    known = {(kind, counts[2]): name for name, (kind, counts) in BLOCKS.items()}
    width = channels("sd_base.backbone.conv1.weight")
    if (block, depth) not in known or (width != 64 and block is Bottleneck):
        raise CheckpointError(f"{path}: a backbone {width} channels wide with {depth} units in layer3; want {', '.join(BLOCKS)}")
    return dict(backbone=known[block, depth], width=width, decoder=channels("sd_base.aspp.conv1.weight"),
                low_reduced=channels("sd_base.decoder.conv1.weight"))
