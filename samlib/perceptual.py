"""Perceptual distances: LPIPS (Zhang et al., CVPR 2018) and ST-LPIPS (Ghildyal and Liu, ECCV 2022), pooled and spatial.

ST-LPIPS comes with its weights in the wheel; LPIPS needs torchvision's ImageNet backbone, downloaded at first use.
Both are networks of the same shape, so one class serves them; which one a domain was trained with is named in the
domain, and none stands in for another.
"""

import contextlib
import warnings
from unittest import mock

import torch
import torch.nn.functional as F
from torch import nn

METRICS = ("st-lpips-vgg", "st-lpips-alex", "lpips-vgg", "lpips-alex")


class Metric(nn.Module):
    """A frozen perceptual distance between images (N, 3, H, W) in [-1, 1], by one of the names in METRICS.

    `features` of a fixed image can be kept and compared many times. Distances are >= 0, 0 for equal images.
    """

    def __init__(self, name: str = "st-lpips-vgg"):
        super().__init__()
        if name not in METRICS:
            raise ValueError(f"no perceptual metric {name!r}; there are {', '.join(METRICS)}")
        self.name = name
        net = _network(name)
        self.scaling, self.backbone = net.scaling_layer, net.net
        self.lins = nn.ParameterList([lin.model[-1].weight.detach() for lin in net.lins])  # each (1, C, 1, 1)
        self.eval().requires_grad_(False)

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Activations of five layers, each normalized to unit length over its channels."""
        activations = self.backbone(self.scaling(x))
        # The lengths are single precision at least, also under autocast; the features stay in the type they came in.
        return [a * (a.square().sum(1, keepdim=True) + 1e-20).rsqrt().to(a.dtype) for a in activations]

    def distance(self, fx: list[torch.Tensor], fy: list[torch.Tensor], size: tuple[int, int] | None = None,
                 valid: torch.Tensor | None = None) -> torch.Tensor:
        """Between two sets of features: (N,), or with a `size` (H, W) the map (N, H, W) whose layers are scaled to it.

        valid (N, 1, H, W): how much each pixel weighs in the mean of every layer, None: all the same."""
        maps = [F.conv2d((a - b).square(), lin.to(a.dtype)) for a, b, lin in zip(fx, fy, self.lins)]
        if size is not None:
            return sum(F.interpolate(m, size, mode="bilinear", align_corners=False) for m in maps)[:, 0]
        if valid is None:
            return sum(m.mean((1, 2, 3)) for m in maps)
        cells = [F.adaptive_avg_pool2d(valid.to(m), m.shape[-2:]) for m in maps]
        return sum((m * v).sum((1, 2, 3)) / v.sum((1, 2, 3)) for m, v in zip(maps, cells))

    def forward(self, x: torch.Tensor, y: torch.Tensor, spatial: bool = False) -> torch.Tensor:
        """LPIPS of x and y (N, 3, H, W): (N,), or the error map e_l of Eq. 1 (N, H, W)."""
        if x.shape != y.shape or x.ndim != 4 or x.shape[1] != 3:
            raise ValueError(f"images of shapes {tuple(x.shape)} and {tuple(y.shape)}; want two equal (N, 3, H, W)")
        return self.distance(self.features(x), self.features(y), tuple(x.shape[-2:]) if spatial else None)


@contextlib.contextmanager
def _undrawn():
    """Inside, layers begin with whatever is in their memory: the package draws all of VGG-16, three seconds of a core, and then reads
    from its file every weight that it uses."""
    def keep(weight, *_, **__):
        return weight

    with mock.patch.multiple(nn.init, normal_=keep, uniform_=keep, kaiming_normal_=keep, kaiming_uniform_=keep):
        yield


def _network(name: str) -> nn.Module:
    family, backbone = name.rsplit("-", 1)
    if family == "st-lpips":
        from stlpips_pytorch import stlpips

        with _undrawn():
            return stlpips.LPIPS(net=backbone, variant="shift_tolerant", verbose=False)
    import lpips
    from torchvision.models import AlexNet_Weights, VGG16_Weights

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package calls torchvision as it was in 2021
            return lpips.LPIPS(net=backbone, verbose=False)
    except OSError as error:
        url = {"vgg": VGG16_Weights.IMAGENET1K_V1, "alex": AlexNet_Weights.IMAGENET1K_V1}[backbone].url
        raise ValueError(f"{name} wants torchvision's {url.rsplit('/', 1)[-1]} from {url}, which could not be downloaded ({error}): "
                         f"go online once, or put it into {torch.hub.get_dir()}/checkpoints; st-lpips-{backbone} needs none") from None
