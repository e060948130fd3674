"""Training of the built-in segmenter on rendered images, whose segments are known."""

import torch
import torch.nn.functional as F
from torch import Tensor

from samlib.metrics import class_iou
from samlib.segmenters import SceneSegmenter
from samlib.training import loop


def class_weights(segments: Tensor, n_classes: int) -> Tensor:
    """One over the root of each class's share of the pixels, scaled to mean 1 over the pixels; (n_classes,)."""
    share = torch.bincount(segments.flatten().int(), minlength=n_classes).float() / segments.numel()
    weight = share.clamp(min=1e-4).rsqrt()
    return weight / (weight * share).sum()


def dice_loss(logits: Tensor, segments: Tensor) -> Tensor:
    """1 - mean soft Dice over the classes present in the batch: a thin class counts as much as a large one."""
    probability = logits.float().softmax(1)
    truth = F.one_hot(segments, logits.shape[1]).movedim(-1, 1).to(probability.dtype)
    both, sizes = (probability * truth).sum((0, 2, 3)), (probability + truth).sum((0, 2, 3))
    present = truth.amax((0, 2, 3)) > 0
    return 1 - (2 * both / sizes.clamp(min=1))[present].mean()


def train_segmenter(
    images: Tensor,
    segments: Tensor,
    classes,
    *,
    steps: int = 3000,
    batch: int = 32,
    learning_rate: float = 2e-3,
    strength: float = 0.8,
    channels=(24, 48, 96, 160, 224),
    seed: int = 0,
    device=None,
    progress: bool = True,
) -> tuple[SceneSegmenter, dict]:
    """Train on images (N, 3, H, W), uint8 or in [-1, 1], and their segments (N, H, W), ids of `classes`.

    `strength` of the photometric augmentation; it is high so that the network also reads generated images.
    Returns the segmenter, in evaluation mode, and {"loss": (steps,)}. Measure with `evaluate_segmenter`.
    """
    if len(images) != len(segments) or int(segments.max()) >= len(classes):
        raise ValueError(
            f"{len(images)} images, {len(segments)} segment maps with ids up to {int(segments.max())}; wanted as many "
            f"maps as images and ids below {len(classes)}, the number of classes"
        )
    device = loop.default_device(device)
    torch.manual_seed(seed)
    model = SceneSegmenter(classes, channels).to(device)
    images, segments = loop.as_uint8(images).to(device), segments.to(device, torch.uint8)
    weight = class_weights(segments, len(classes))

    def loss(index: Tensor, random: torch.Generator) -> Tensor:
        x, truth = loop.flip(random, loop.as_float(images[index]), segments[index].long())
        logits = model.logits(loop.photometric(random, x, strength).contiguous(memory_format=torch.channels_last))
        return F.cross_entropy(logits.float(), truth, weight) + dice_loss(logits, truth)

    optimizer = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=0.02)
    settings = dict(steps=steps, batch=batch, optimizer=optimizer, seed=seed, progress=progress, label="segmenter")
    history = loop.fit(model, loss, len(images), **settings)
    return model, {"loss": history}


def evaluate_segmenter(model: SceneSegmenter, images: Tensor, segments: Tensor, batch: int = 32) -> dict:
    """{"mean_iou": over the classes present in either, "iou": {class: IoU}, "accuracy"} on held-out images."""
    predicted = loop.predict(model, images, batch)
    truth = segments.long().cpu()
    iou = class_iou(predicted, truth, len(model.classes))
    named = {name: float(value) for name, value in zip(model.classes, iou) if not value.isnan()}
    return {"mean_iou": float(iou.nanmean()), "iou": named, "accuracy": float((predicted == truth).float().mean())}
