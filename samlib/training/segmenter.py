"""Training of the built-in segmenter on rendered images, whose segments are known."""

import torch
import torch.nn.functional as F
from torch import Tensor

from samlib.metrics import class_iou
from samlib.segmenters import SceneSegmenter, clean
from samlib.training import loop


def class_weights(segments: Tensor, n_classes: int, balance: float = 0.25) -> Tensor:
    """(share of the pixels)^-balance for each class, scaled to mean 1 over the pixels; (n_classes,).

    Mild by default: Dice already speaks for the rare classes, and a large weight makes them appear where they are not.
    """
    share = torch.bincount(segments.flatten(), minlength=n_classes).float() / segments.numel()
    weight = share.clamp(min=1e-4) ** -balance
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
    strength: float = 0.5,
    channels=(24, 48, 96, 160, 224),
    seed: int = 0,
    device=None,
    progress: bool = True,
) -> tuple[SceneSegmenter, dict]:
    """Train on images (N, 3, H, W), uint8 or in [-1, 1], and their segments (N, H, W), ids of `classes`.

    `strength` of the photometric augmentation; high enough for the network to read generated images too.
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

    optimizer = loop.adamw(model.parameters(), learning_rate, 0.02)
    settings = dict(steps=steps, batch=batch, optimizer=optimizer, seed=seed, progress=progress, label="segmenter")
    history = loop.fit(model, loss, len(images), **settings)
    return model, {"loss": history}


def evaluate_segmenter(model: SceneSegmenter, images: Tensor, segments: Tensor, smallest=0.0, batch: int = 32) -> dict:
    """How well held-out images are segmented, after `clean` with `smallest` where it is not 0.

    "mean_iou" is over the classes present in the truth or the prediction: one stray pixel of a class that is nowhere
    counts as a class with IoU 0. "mean_iou_true" is over the classes of the truth; "iou" is {class: IoU}.
    """
    predicted = loop.predict(model, images, batch)
    predicted = clean(predicted, smallest) if smallest else predicted
    truth = segments.long().cpu()
    iou = class_iou(predicted, truth, len(model.classes))
    return {
        "mean_iou": float(iou.nanmean()),
        "mean_iou_true": float(iou[truth.unique()].mean()),
        "iou": {name: float(value) for name, value in zip(model.classes, iou) if not value.isnan()},
        "accuracy": float((predicted == truth).float().mean()),
    }
