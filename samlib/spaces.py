"""The candidate latent spaces Phi of Sec. 3.1: their order, their place in the generator and their size."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Space:
    """One latent space a segment can be inverted in.

    name        "W+", "F4", "F6", "F8", "F10" (or "Z+", "F2", "F4" of BigGAN).
    resolution  height and width of the feature map in pixels; None for the latent space.
    channels    channels of the feature map, or the width of the latent code.
    layer       the first row of w+ that acts after the feature: an edit reaches a segment of
                this space through the rows >= layer only (Sec. 3.4). 0 for the latent space.
    """

    name: str
    resolution: int | None
    channels: int
    layer: int

    @property
    def is_latent(self) -> bool:
        return self.resolution is None


# F_l of the paper is the output of the l-th 3x3 convolution, counting from 0 at 4 px, which ends a resolution block.
STYLEGAN2_FEATURES = {"F4": 16, "F6": 32, "F8": 64, "F10": 128}


def stylegan2_spaces(w_dim: int, channels: dict[int, int]) -> tuple[Space, ...]:
    """W+ and those F spaces whose block a StyleGAN2 with these `channels` (resolution -> width) has before its last."""
    spaces = [Space("W+", None, w_dim, 0)]
    for name, resolution in STYLEGAN2_FEATURES.items():
        if resolution < max(channels):
            layer = 2 * (resolution.bit_length() - 3) + 1
            spaces.append(Space(name, resolution, channels[resolution], layer))
    return tuple(spaces)


# BigGAN-deep has two blocks to each resolution; by the same count F2 is the output of block 2, which ends 8 px, F4 that of
# block 4 at 16 px. Row 0 of z+ makes the 4 x 4 start, row i + 1 goes to block i.
BIGGAN_FEATURES = {"F2": 8, "F4": 16}


def biggan_spaces(z_dim: int, channels: dict[int, int]) -> tuple[Space, ...]:
    """Z+, F2 and F4 of a BigGAN-deep with these `channels`, as far as they lie before its last resolution."""
    features = {name: r for name, r in BIGGAN_FEATURES.items() if r < max(channels)}
    return (Space("Z+", None, z_dim, 0), *(Space(name, r, channels[r], int(name[1:]) + 2) for name, r in features.items()))
