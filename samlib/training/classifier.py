"""Training of the classifier of the built-in scenes, on what BigGAN's generator is trained on."""

import torch
import torch.nn.functional as F
from torch import Tensor

from samlib.classifier import SceneClassifier
from samlib.training import loop


def train_classifier(images: Tensor, labels: Tensor, classes, *, steps: int = 1500, batch: int = 64,
                     learning_rate: float = 2e-3, seed: int = 0, device=None, progress: bool = True,
                     **architecture) -> tuple[SceneClassifier, dict]:
    """Train on images (N, 3, H, W), uint8 or in [-1, 1], and labels (N,), index into the names `classes`.

    Mirrored, brightened and blurred images keep their class; challenging scenes among them make it robust.
    Returns the classifier, in evaluation mode, and {"loss": (steps,)}. Measure with `evaluate_classifier`.
    """
    if len(labels) != len(images) or labels.is_floating_point() or not 0 <= int(labels.min()) <= int(labels.max()) < len(classes):
        raise ValueError(f"{len(images)} images and labels {tuple(labels.shape)}; wanted a class for each, 0 to {len(classes) - 1}")
    device = loop.default_device(device)
    torch.manual_seed(seed)
    model = SceneClassifier(classes, **architecture).to(device)
    images, labels = loop.as_uint8(images).to(device), labels.long().to(device)

    def loss(index: Tensor, random: torch.Generator) -> Tensor:
        (x,) = loop.flip(random, loop.as_float(images[index]))
        x = loop.photometric(random, x, 0.4).contiguous(memory_format=torch.channels_last)
        return F.cross_entropy(model.logits(x).float(), labels[index], label_smoothing=0.05)

    optimizer = loop.adamw(model.parameters(), learning_rate, 0.02)
    history = loop.fit(model, loss, len(images), steps=steps, batch=batch, optimizer=optimizer, seed=seed, progress=progress,
                       label="classifier")
    return model, {"loss": history}


def evaluate_classifier(model: SceneClassifier, images: Tensor, labels: Tensor, batch: int = 64) -> dict:
    """{"accuracy", "by_class": {name: share of its images that are told right}} on held-out images."""
    right = (loop.predict(model, images, batch) == labels.cpu()).double()
    by_class = {name: float(right[labels.cpu() == i].mean()) for i, name in enumerate(model.classes)}
    return {"accuracy": float(right.mean()), "by_class": by_class}
