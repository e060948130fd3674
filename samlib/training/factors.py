"""A regressor that reads the factors of a scene from its image: it measures edits, and how much a generator varies."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from samlib import weights
from samlib.metrics import r_squared, slope
from samlib.training import loop


class FactorRegressor(nn.Module):
    """images (N, 3, H, W) in [-1, 1] -> standardized factors (N, K); `factors` gives them by name, in their own units.

    names  of the K factors; the buffers `mean` and `std` (K,) are those of the training data.
    Position and size in the image are among the factors, hence the two channels of coordinates and the 4 x 4 pooling.
    """

    def __init__(self, names, channels=(24, 32, 64, 128, 160), hidden: int = 128):
        super().__init__()
        self.names = tuple(names)
        self.config = dict(names=self.names, channels=tuple(channels), hidden=hidden)
        self.register_buffer("mean", torch.zeros(len(self.names)))
        self.register_buffer("std", torch.ones(len(self.names)))
        stem = nn.Conv2d(5, channels[0], 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(channels[0]), nn.ReLU()
        stages = [stage(i, o) for i, o in zip(channels, channels[1:])]
        self.body = nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(16 * channels[-1], hidden), nn.ReLU(), nn.Linear(hidden, len(self.names)))

    def forward(self, images: Tensor) -> Tensor:
        n, _, height, width = images.shape
        down = torch.linspace(-1, 1, height, device=images.device, dtype=images.dtype).view(1, 1, -1, 1)
        across = torch.linspace(-1, 1, width, device=images.device, dtype=images.dtype)
        where = [axis.expand(n, 1, height, width) for axis in (down, across)]
        return self.head(self.body(torch.cat((images, *where), 1)))

    def factors(self, images: Tensor) -> dict[str, Tensor]:
        """name -> (N,), in the units of the training data."""
        values = self(images) * self.std + self.mean
        return dict(zip(self.names, values.unbind(1)))

    def save(self, path, **metadata):
        return weights.save(self, path, **metadata)

    @classmethod
    def load(cls, path, device=None) -> "FactorRegressor":
        return weights.load(cls, path, device)


def stage(inputs: int, outputs: int) -> nn.Sequential:
    """Two residual blocks, the first at half the size."""
    shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=2, bias=False), nn.BatchNorm2d(outputs))
    return nn.Sequential(BasicBlock(inputs, outputs, 2, shortcut), BasicBlock(outputs, outputs))


def stacked(factors: dict[str, Tensor], names) -> Tensor:
    """name -> (N,) to (N, K) in the order of `names`."""
    missing = [name for name in names if name not in factors]
    if missing:
        raise ValueError(f"factors {', '.join(missing)} are missing; wanted {', '.join(names)}")
    return torch.stack([factors[name].float() for name in names], 1)


def train_factors(
    images: Tensor,
    factors: dict[str, Tensor],
    *,
    steps: int = 4000,
    batch: int = 64,
    learning_rate: float = 2e-3,
    seed: int = 0,
    device=None,
    progress: bool = True,
) -> tuple[FactorRegressor, dict]:
    """Train on images (N, 3, H, W), uint8 or in [-1, 1], and their factors, name -> (N,).

    Colour is a factor, so only sharpness and noise are varied, and nothing is mirrored.
    Returns the regressor, in evaluation mode, and {"loss": (steps,)}. Measure with `evaluate_factors`.
    """
    device = loop.default_device(device)
    torch.manual_seed(seed)
    model = FactorRegressor(factors).to(device)
    values = stacked(factors, model.names).to(device)
    if len(values) != len(images):
        raise ValueError(f"{len(images)} images and {len(values)} values of each factor; wanted as many of both")
    model.mean.copy_(values.mean(0))
    model.std.copy_(values.std(0).clamp(min=1e-6))
    values = (values - model.mean) / model.std
    images = loop.as_uint8(images).to(device)

    def loss(index: Tensor, random: torch.Generator) -> Tensor:
        x = loop.blur(random, loop.as_float(images[index]), 0.7)
        noise = torch.randn(x.shape, generator=random, device=device)
        x = x + noise * loop.uniform(random, 0, 0.06, len(x), 1, 1, 1)
        return F.mse_loss(model(x.contiguous(memory_format=torch.channels_last)).float(), values[index])

    optimizer = loop.adamw(model.parameters(), learning_rate, 0.05)
    settings = dict(steps=steps, batch=batch, optimizer=optimizer, seed=seed, progress=progress, label="factors")
    history = loop.fit(model, loss, len(images), **settings)
    return model, {"loss": history}


def evaluate_factors(model: FactorRegressor, images: Tensor, factors: dict[str, Tensor], batch: int = 64) -> dict:
    """{"r_squared": {name: R^2}, "mean_r_squared", "slope": {name: how much of a difference is read}} on held-out images."""
    predicted = loop.predict(model, images, batch) * model.std.cpu() + model.mean.cpu()
    true = stacked(factors, model.names).cpu()
    scores = r_squared(predicted, true)
    return {"r_squared": dict(zip(model.names, scores.tolist())), "mean_r_squared": float(scores.mean()),
            "slope": dict(zip(model.names, slope(predicted, true).tolist()))}
