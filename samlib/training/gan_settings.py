"""What a training of StyleGAN2 is made of."""

from dataclasses import dataclass


@dataclass
class Settings:
    """What a run is made of. Sizes are per GPU; `images` counts real images shown, over all GPUs, the warm-up's included."""

    resolution: int = 256
    channel_base: int = 6144
    channel_max: int = 256
    w_dim: int = 256
    mapping_layers: int = 6
    judges: str = "both"  # "stylegan2", "projected" or "both"
    images: int = 1_000_000
    batch: int = 32
    lr: float = 0.002
    r1: float = 0.5
    r1_every: int = 16
    path_length: float = 2.0
    path_length_every: int = 8
    mixing: float = 0.9
    ema_images: int = 20_000
    noise: str = "random"
    paired: float = 5.0  # weight of the loss on images whose codes are known, beside that of the judges
    warm_up: float = 0.6  # share of the run in which it stands alone; 0: no warm-up; 1: the judges never come in
    warm_lr: float = 0.03  # up to 64 px; less in proportion above
    warm_mapping: float = 5.0  # factor of the mapping's learning rate then
    lesson: int = 4000  # steps in which the mapping alone learns what the codes mean
    judge_floor: float = 0.05  # loss of the judges below which they have won, and slow down
    settle: float = 0.3  # share of the run, at its end, over which the learning rate falls to a tenth
    seed: int = 0

    def __post_init__(self):
        if self.judges not in ("stylegan2", "projected", "both"):
            raise ValueError(f"no judges {self.judges!r}; there are stylegan2, projected and both")
