"""The class of an image, which BigGAN's inversion needs and keeps (Sec. 6.3): `classifier(images)` -> ids (N,), long.

`.classes` holds their names. ResNet-50 for ImageNet, as in the paper; a small one for the classes of the built-in scenes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from samlib import weights
from samlib.segmenters import check


class SceneClassifier(nn.Module):
    """A narrow ResNet-18 (He et al., CVPR 2016) on images (N, 3, H, W) in [-1, 1] of any size, seen at `size` pixels."""

    def __init__(self, classes, width: int = 24, size: int = 64):
        super().__init__()
        self.classes = tuple(classes)
        self.config = dict(classes=self.classes, width=width, size=size)
        widths = [width * 2**i for i in range(4)]
        stem = nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        stages = [_stage(i, o, 1 + (i != o)) for i, o in zip([width, *widths], widths)]
        self.body = nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(widths[-1], len(self.classes))

    def logits(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, classes); for training."""
        check(images)
        size = self.config["size"]
        if images.shape[-2:] != (size, size):
            images = F.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)
        return self.head(self.body(images))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        return self.logits(images).argmax(1)

    def save(self, path, **metadata):
        return weights.save(self, path, **metadata)

    @classmethod
    def load(cls, path, device=None) -> "SceneClassifier":
        return weights.load(cls, path, device)


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    shortcut = None
    if inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return nn.Sequential(BasicBlock(inputs, outputs, stride, shortcut), BasicBlock(outputs, outputs))


def imagenet_classes() -> tuple[str, ...]:
    """The names of ImageNet's classes 0 to 999 as torchvision has them; two of them ("crane", "maillot") stand for two."""
    from torchvision.models import ResNet50_Weights

    return tuple(ResNet50_Weights.IMAGENET1K_V2.meta["categories"])


class ImageNetClassifier(nn.Module):
    """torchvision's ResNet-50, whose ids 0 to 999 are those of the official BigGAN; its weights download at first use."""

    def __init__(self, network: nn.Module | None = None):
        """network: another classifier of ImageNet, from normalized images (N, 3, 224, 224) to (N, 1000)."""
        super().__init__()
        from torchvision.models import ResNet50_Weights, resnet50

        self.classes = imagenet_classes()
        if network is None:
            try:
                network = resnet50(weights=ResNet50_Weights.IMAGENET1K_V2)
            except OSError as error:
                raise ValueError(f"the class of an ImageNet picture needs torchvision's resnet50 weights, which could not be "
                                 f"downloaded ({error}); go online once, or give the class") from None
        self.network = network.eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        check(images)
        images = F.interpolate(images, (224, 224), mode="bilinear", align_corners=False, antialias=True)
        return self.network(((images + 1) / 2 - self.mean) / self.std).argmax(1)
