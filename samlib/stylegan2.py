"""StyleGAN2 in plain PyTorch (Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020).

The generator is cut at the feature spaces of the SAM paper: `synthesis` forms the image from w+ and the feature
changes (Eq. 3-4) and `edit` applies an edit direction segment by segment (Sec. 3.4). Parameter names are those of
the PyTorch reference release, so that its checkpoints load by key.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from . import features
from .spaces import stylegan2_spaces

SQRT2 = math.sqrt(2)


def resample_kernel() -> torch.Tensor:
    """The 4x4 binomial low-pass filter [1, 3, 3, 1] of StyleGAN2, summing to 1, as its checkpoints store it."""
    k = torch.tensor([1.0, 3.0, 3.0, 1.0])
    k = k[:, None] * k[None, :]
    return k / k.sum()


def low_passed(weight: torch.Tensor) -> torch.Tensor:
    """The filters (O,I,k,k) convolved with the low-pass filter: (O,I,k+3,k+3).

    A convolution that changes the size and the low-pass filter after or before it are one convolution with this kernel.
    That spares passes over large feature maps, and keeps the second derivatives of R1 and path length cheap.
    """
    o, i, k, _ = weight.shape
    eye = torch.eye(k, dtype=weight.dtype, device=weight.device)
    spread = sum(c / 8 * F.pad(eye, (0, 0, n, 3 - n)) for n, c in enumerate((1, 3, 3, 1)))
    both = torch.kron(spread, spread)  # of rows and columns at once, so that it is one product and not O * I small ones
    return (weight.reshape(o * i, k * k) @ both.t()).view(o, i, k + 3, k + 3)


def upsample(x: torch.Tensor) -> torch.Tensor:
    """Doubles the size of an image (N,C,H,W): zeros in between, then the low-pass filter with gain 4.

    That is bilinear interpolation of the image with a border of zeros.
    """
    x = F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=2, mode="bilinear", align_corners=False)
    return x[:, :, 2:-2, 2:-2]


class Linear(nn.Module):
    """A fully connected layer with equalized learning rate: stored N(0, 1) / lr, scaled by lr / sqrt(fan-in) when run."""

    def __init__(self, fan_in: int, fan_out: int, bias: float = 0.0, lr: float = 1.0, activate: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) / lr)
        self.bias = nn.Parameter(torch.full([fan_out], float(bias)))
        self.gain, self.lr, self.activate = lr / math.sqrt(fan_in), lr, activate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.linear(x, self.weight * self.gain, self.bias * self.lr)
        return F.leaky_relu(x, 0.2) * SQRT2 if self.activate else x


class Mapping(nn.Module):
    """z (N, z_dim) -> w (N, w_dim); `w_avg` is the running mean of w, the centre of truncation."""

    def __init__(self, z_dim: int, w_dim: int, layers: int):
        super().__init__()
        self.layers = layers
        for i in range(layers):
            self.add_module(f"fc{i}", Linear(z_dim if i == 0 else w_dim, w_dim, lr=0.01, activate=True))
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for i in range(self.layers):
            x = getattr(self, f"fc{i}")(x)
        return x


def modulated_conv(x, weight, style, demodulate=True, up=False):
    """Convolves x (N,I,H,W) with `weight` (O,I,k,k) whose input channels are scaled by `style` (N,I), image by image.

    Scaling the activations before and after one shared convolution gives the same result as a convolution per image
    (Karras et al. 2020, Sec. 2.2) and keeps a batch one launch. With `up` the size doubles.
    """
    dtype = x.dtype
    x = x * style[:, :, None, None].to(dtype)
    if up:
        x = F.conv_transpose2d(x, 4 * low_passed(weight).transpose(0, 1).to(dtype), stride=2, padding=2)
    else:
        x = F.conv2d(x, weight.to(dtype), padding=weight.shape[2] // 2)
    if demodulate:
        norm = style.square() @ weight.square().sum((2, 3)).t()  # (N,O): squared norm of each image's filter
        x = x * (norm + 1e-8).rsqrt()[:, :, None, None].to(dtype)
    return x


class StyledConv(nn.Module):
    """Modulated 3x3 convolution, noise, bias and leaky ReLU."""

    def __init__(self, fan_in: int, fan_out: int, w_dim: int, resolution: int, up: bool, clamp: float | None):
        super().__init__()
        self.affine = Linear(w_dim, fan_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in, 3, 3))
        self.bias = nn.Parameter(torch.zeros(fan_out))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.register_buffer("resample_filter", resample_kernel())  # not read: see `low_passed`
        self.up, self.clamp = up, clamp

    def forward(self, x: torch.Tensor, w: torch.Tensor, noise: str) -> torch.Tensor:
        x = modulated_conv(x, self.weight, self.affine(w), up=self.up)
        if noise == "const":
            x = x + (self.noise_const * self.noise_strength).to(x.dtype)
        elif noise == "random":
            n = torch.randn(x.shape[0], 1, *x.shape[2:], device=x.device, dtype=x.dtype)
            x = x + n * self.noise_strength.to(x.dtype)
        x = F.leaky_relu(x + self.bias.to(x.dtype)[None, :, None, None], 0.2) * SQRT2
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution from features to an image, without demodulation."""

    def __init__(self, fan_in: int, w_dim: int, clamp: float | None):
        super().__init__()
        self.affine = Linear(w_dim, fan_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(3, fan_in, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.gain, self.clamp = 1 / math.sqrt(fan_in), clamp

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        rgb = modulated_conv(x, self.weight, self.affine(w) * self.gain, demodulate=False).float()
        rgb = rgb + self.bias[None, :, None, None]
        return rgb if self.clamp is None else rgb.clamp(-self.clamp, self.clamp)


class SynthesisBlock(nn.Module):
    """The layers of one resolution; the first block starts from the learnt constant c of Eq. 3."""

    def __init__(self, fan_in: int, fan_out: int, w_dim: int, resolution: int, clamp: float | None):
        super().__init__()
        self.resolution = resolution
        if resolution == 4:
            self.const = nn.Parameter(torch.randn(fan_out, 4, 4))
        else:
            self.conv0 = StyledConv(fan_in, fan_out, w_dim, resolution, True, clamp)
        self.conv1 = StyledConv(fan_out, fan_out, w_dim, resolution, False, clamp)
        self.torgb = ToRGB(fan_out, w_dim, clamp)
        self.register_buffer("resample_filter", resample_kernel())

    def forward(self, x, rgb, w_plus, noise, dtype):
        """x and rgb of the previous block (None at 4 px), all rows of w+ -> this block's feature and image so far."""
        if self.resolution == 4:
            x = self.const.to(dtype).expand(w_plus.shape[0], -1, -1, -1)
            row = 0
        else:
            row = 2 * (self.resolution.bit_length() - 3) - 1
            x = self.conv0(x, w_plus[:, row], noise)
            row += 1
        x = self.conv1(x, w_plus[:, row], noise)
        y = self.torgb(x, w_plus[:, row + 1])
        return x, y if rgb is None else upsample(rgb) + y


class Synthesis(nn.Module):
    def __init__(self, w_dim: int, channels: dict[int, int], clamp: float | None):
        super().__init__()
        self.resolutions = sorted(channels)
        for previous, r in zip([None, *self.resolutions], self.resolutions):
            block = SynthesisBlock(channels.get(previous, 0), channels[r], w_dim, r, clamp)
            self.add_module(f"b{r}", block)

    def blocks(self):
        return [getattr(self, f"b{r}") for r in self.resolutions]


def default_channels(resolution: int, base: int = 16384, most: int = 512) -> dict[int, int]:
    """Width of each resolution: min(base / resolution, most)."""
    return {2**i: min(base // 2**i, most) for i in range(2, int(math.log2(resolution)) + 1)}


class Generator(nn.Module):
    """StyleGAN2 generator with the spaces W+, F4, F6, F8, F10 of the paper.

    resolution    side of the square image, a power of two >= 8.
    channels      resolution -> feature width (see `default_channels`).
    conv_clamp    activation limit that 16-bit official checkpoints were trained with; None: no limit.
    `spaces` lists the candidate spaces; `w_avg` (w_dim,) is the mean of w; `config` rebuilds the network.
    """

    def __init__(self, resolution=256, z_dim=512, w_dim=512, channels=None, mapping_layers=8, conv_clamp=None):
        super().__init__()
        if resolution < 8 or resolution & (resolution - 1):
            raise ValueError(f"resolution {resolution}: want a power of two, 8 or more")
        channels = channels or default_channels(resolution)
        channels = {int(r): int(c) for r, c in channels.items()}
        self.config = dict(resolution=resolution, z_dim=z_dim, w_dim=w_dim, channels=channels,
                           mapping_layers=mapping_layers, conv_clamp=conv_clamp)
        self.resolution, self.z_dim, self.w_dim = resolution, z_dim, w_dim
        self.num_layers = 2 * len(channels)
        self.spaces = stylegan2_spaces(w_dim, channels)
        self.synthesis_network = Synthesis(w_dim, channels, conv_clamp)
        self.mapping_network = Mapping(z_dim, w_dim, mapping_layers)
        self.compute_dtype = None  # e.g. torch.bfloat16 for the convolutions; None: that of the weights

    @property
    def w_avg(self) -> torch.Tensor:
        return self.mapping_network.w_avg

    def mapping(self, z: torch.Tensor, truncation: float = 1.0) -> torch.Tensor:
        """z (N, z_dim) ~ N(0, I) -> w+ (N, L, w_dim) with equal rows, pulled towards the mean w by `truncation`."""
        w = self.mapping_network(z)
        w = self.w_avg.to(w.dtype).lerp(w, truncation) if truncation != 1 else w
        return w[:, None].expand(-1, self.num_layers, -1)

    def synthesis(self, w_plus, deltas=None, masks=None, noise="const", size=None) -> torch.Tensor:
        """Image formation, Eq. 3-4.

        w_plus (N, L, w_dim); deltas: space name -> delta_f (N, C, h, w); masks: space name -> m (N, 1, h', w') in
        [0, 1], resized bilinearly to the feature, all ones where missing; noise "const", "none" or "random"; size: stop
        at the image of this size, which later blocks only refine. Returns images (N, 3, H, W), about [-1, 1], not clamped.
        """
        features.check(self, w_plus, deltas, masks, noise)
        x = rgb = None
        for block in self.synthesis_network.blocks():
            x, rgb = block(x, rgb, w_plus, noise, self.compute_dtype or w_plus.dtype)
            x = features.add_change(self._space(block.resolution), x, deltas, masks)  # after ToRGB has read x
            if block.resolution == size:
                break
        return rgb

    def edit(self, w_plus, direction, deltas=None, masks=None, noise="none", published=True) -> torch.Tensor:
        """The edited image of Sec. 3.4: `direction` (L, w_dim) or (N, L, w_dim) is added to w+, and every segment of an
        F space keeps its unedited feature f_l, so that the edit reaches it through the later layers only.

        published  as it was: the image that the ToRGBs up to f_l summed up is the edited one even inside m_l, so an edit of
                   early rows shows there as a ghost. False: it is kept inside m_l as well, and such an edit shows not at all.
        Both versions run as one batch of 2N: the first half keeps w+, the second carries w+ + direction.
        """
        features.check(self, w_plus, deltas, masks, noise, direction=direction)
        both = torch.cat([w_plus, w_plus + direction.to(w_plus)])
        x = rgb = None
        for block in self.synthesis_network.blocks():
            x, rgb = block(x, rgb, both, noise, self.compute_dtype or w_plus.dtype)
            space = self._space(block.resolution)
            x = features.keep_inside(space, x, deltas, masks)
            mask = None if published else features.mask_at(space, rgb, deltas, masks)
            if mask is not None:
                kept, edited = rgb.chunk(2)
                rgb = torch.cat([kept, torch.lerp(edited, kept, mask)])
        return rgb[len(w_plus):]

    def _space(self, resolution: int):
        return next((s for s in self.spaces if s.resolution == resolution), None)

    # The reference names its two halves `synthesis` and `mapping`, which are calls here.
    def state_dict(self, *args, **kwargs):
        state = super().state_dict(*args, **kwargs)
        return type(state)((k.replace("_network.", ".", 1), v) for k, v in state.items())

    def load_state_dict(self, state, strict=True, assign=False):
        renamed = {k.replace(".", "_network.", 1): v for k, v in state.items()}
        return super().load_state_dict(renamed, strict=strict, assign=assign)
