"""What a training of BigGAN-deep is made of: its settings, and its images."""

from dataclasses import dataclass

import torch


@dataclass
class Settings:
    """What a run is made of. Sizes are per GPU; `images` counts real images shown, over all GPUs; one of half the size
    counts as half, as it takes about half as long."""

    resolution: int = 128
    width: int = 64  # of the last resolution; those before have up to 16 times as many channels, as the official ones of 128 px
    z_dim: int = 160
    class_dim: int = 64
    attention: int = 32
    judge: str = "projection"  # BigGAN's, or "projected", from 128 px on; both ask for the class
    images: int = 4_000_000
    batch: int = 64  # at full size; up to four times as many below
    lr_g: float = 1e-4
    lr_d: float = 4e-4
    ema_images: int = 20_000
    paired: float = 2.5  # weight of the loss on pairs, beside that of the judge
    layout: float = 80.0  # and of the L1 between pairs at 16 px
    new: float = 0.5  # share of what the judge is shown to teach the generator that is of new z, not of those of scenes
    metric: str = "st-lpips-vgg"  # of the loss on pairs
    warm_up: float = 0.8  # share of the run in which pairs stand alone; 1: the judge never comes in
    warm_lr: float = 2e-3
    lesson: int = 4000  # steps in which the first blocks alone learn what the codes mean
    lesson_batch: int = 512
    statistics: int = 8  # batches that the norms' statistics at each truncation are taken from
    settle: float = 0.3  # share of the run, at its end, over which the learning rates fall to a tenth
    seed: int = 0

    def __post_init__(self):
        if self.judge not in ("projection", "projected"):
            raise ValueError(f"no judge {self.judge!r}; there are projection and projected")

    def channels(self) -> dict[int, int]:
        return {4 * 2**i: min(16, self.resolution // (4 * 2**i)) * self.width for i in range(self.resolution.bit_length() - 2)}


@dataclass
class Data:
    """images (M, 3, R, R) uint8 on the device to train on; labels (M,) long, index into `names`; z (M, z_dim), the codes
    as normal numbers, NaN in entries that no number decides, or None where no codes are known; meaning (M, J), what the codes
    come to, 0 where a class has less, or None."""

    images: torch.Tensor
    labels: torch.Tensor
    names: list
    z: torch.Tensor | None = None
    meaning: torch.Tensor | None = None

    @property
    def held(self) -> int:
        """How many at the end are held out, never shown as pairs: what the loss on them is says whether the others are learnt by heart."""
        return min(64, len(self.images) // 8) if self.z is not None else 0
