"""Inversion by encoders: images -> Inversion in one pass, or a few.

    image, layer map -> one encoder for each space (Sec. 6.2) -> w+, delta_f -> image formation (Eq. 3-4) -> Inversion

Beside the paper's, the encoders it is compared with (Table 1). Each is a module that is called as
    encoder(generator, images, layer_map) -> w_plus, deltas, masks, the formed images (not clamped)
and `encode` makes an Inversion of that. An encoder belongs to the generator it was trained for.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from . import irse, weights
from .encoder_networks import INPUT_SIZE, FeatureEncoder, LatentEncoder
from .inversion import Inversion
from .layer_map import masks as masks_of
from .optimize import at_size
from .spaces import Space


def encode(encoder, generator, images: Tensor, layer_map: Tensor | None = None) -> Inversion:
    """Invert images (N, 3, R, R) in [-1, 1] by `encoder`, each with its own layer map (N, R, R); None: W+ everywhere.

    No losses are recorded, and n images give what n single ones give.
    """
    wanted = (3, generator.resolution, generator.resolution)
    if images.ndim != 4 or tuple(images.shape[1:]) != wanted:
        raise ValueError(f"images have shape {tuple(images.shape)}; want (N, {', '.join(map(str, wanted))})")
    if layer_map is None:
        layer_map = torch.zeros(len(images), *wanted[1:], dtype=torch.long, device=images.device)
    if tuple(layer_map.shape) != (len(images), *wanted[1:]):
        raise ValueError(f"the layer map has shape {tuple(layer_map.shape)}; want {(len(images), *wanted[1:])}, one for each image")
    with torch.no_grad():
        w_plus, deltas, masks, formed = encoder(generator, images, layer_map)
    return Inversion(w_plus=w_plus, images=formed.float().clamp(-1, 1), deltas=deltas, masks=masks, inputs=images,
                     layer_map=layer_map, spaces=tuple(space.name for space in generator.spaces))


class SamEncoder(nn.Module):
    """The encoder of Sec. 6.2: one network for each latent space, each of the image and its binary mask, 4 channels.

    W+: a `LatentEncoder` in the manner of e4e. F4 to F10: a ResNet-18 up to the resolution of the space.
    rows, w_dim   of w+; scale: standard deviation of w.
    spaces        [name, resolution, channels] of each F space; size: side of the images that are seen.
    context       see FeatureEncoder; False is the paper's.
    """

    def __init__(self, rows, w_dim, spaces, scale=1.0, size=INPUT_SIZE, latent_width=24, width=48, context=False):
        super().__init__()
        spaces = [list(space) for space in spaces]
        self.config = dict(rows=rows, w_dim=w_dim, spaces=spaces, scale=scale, size=size, latent_width=latent_width,
                           width=width, context=context)
        self.size = size
        self.latent = LatentEncoder(4, rows, w_dim, True, scale, latent_width)
        self.features = nn.ModuleDict({
            name: FeatureEncoder(channels, (size // resolution).bit_length() - 1, width, context)
            for name, resolution, channels in spaces})

    @classmethod
    def of(cls, generator, **architecture):
        """Untrained, for this generator."""
        spaces = [[s.name, s.resolution, s.channels] for s in generator.spaces if not s.is_latent]
        return cls(spaces=spaces, **_sizes(generator), **architecture)

    def forward(self, generator, images: Tensor, layer_map: Tensor):
        """deltas and masks hold the spaces that some image uses; in training all, which waits for nothing.
        Outside of its mask a delta is 0."""
        x = at_size(images, self.size)

        def seen(index):
            return torch.cat([x, at_size((layer_map == index)[:, None].to(x.dtype), self.size)], 1)

        w_plus = generator.w_avg + self.latent(seen(0))
        masks = {name: mask for name, mask in masks_of(layer_map, generator.spaces).items() if self.training or mask.any()}
        index = {space.name: i for i, space in enumerate(generator.spaces)}

        def delta(space: Space, feature, image):
            return self.features[space.name](seen(index[space.name]), feature, image)

        formed, deltas = form(generator, w_plus, masks, delta)
        return w_plus, deltas, masks, formed


def form(generator, w_plus: Tensor, masks: dict[str, Tensor], delta):
    """Eq. 3-4 with a delta_f that is known only when its turn comes: `delta(space, feature, image so far)`.

    Returns the image, not clamped, and the deltas, 0 where the mask is. `generator.synthesis(w_plus, deltas, masks,
    noise="none")` forms the same image.
    """
    spaces = {space.resolution: space for space in generator.spaces if space.name in masks}
    x = rgb = None
    deltas = {}
    for block in generator.synthesis_network.blocks():
        x, rgb = block(x, rgb, w_plus, "none", generator.compute_dtype or w_plus.dtype)
        if space := spaces.get(block.resolution):
            mask = masks[space.name]
            deltas[space.name] = delta(space, x, rgb).float() * (mask > 0)
            x = x + mask.to(x.dtype) * deltas[space.name].to(x.dtype)
    return rgb, deltas


class LatentOnly(nn.Module):
    """An encoder that knows W+ alone; `w_plus(generator, images)` is what tells one from another."""

    def forward(self, generator, images: Tensor, layer_map: Tensor | None = None):
        w_plus = self.w_plus(generator, images)
        return w_plus, {}, {}, generator.synthesis(w_plus, noise="none")


class E4e(LatentOnly):
    """e4e (Tov et al., "Designing an Encoder for StyleGAN Image Manipulation", SIGGRAPH 2021): one pass gives the mean w
    plus a change, and what each row adds to it. Trained to keep these offsets small and each row among the generator's w."""

    def __init__(self, rows, w_dim, scale=1.0, size=INPUT_SIZE, width=24):
        super().__init__()
        self.config = dict(rows=rows, w_dim=w_dim, scale=scale, size=size, width=width)
        self.size = size
        self.net = LatentEncoder(3, rows, w_dim, True, scale, width)

    @classmethod
    def of(cls, generator, **architecture):
        return cls(**_sizes(generator), **architecture)

    def w_plus(self, generator, images: Tensor) -> Tensor:
        return generator.w_avg + self.net(at_size(images, self.size))


class ReStyle(LatentOnly):
    """ReStyle (Alaluf et al., "A Residual-Based StyleGAN Encoder via Iterative Refinement", ICCV 2021): five times, the
    network sees the image beside what w+ forms so far, 6 channels, and adds to w+; it starts from the mean w.

    kind  "psp": every row by itself. "e4e": a w and what each row adds to it.
    """

    def __init__(self, kind, rows, w_dim, scale=1.0, size=INPUT_SIZE, width=24, iterations=5):
        super().__init__()
        if kind not in ("psp", "e4e"):
            raise ValueError(f"ReStyle of {kind!r}; want 'psp' or 'e4e'")
        self.config = dict(kind=kind, rows=rows, w_dim=w_dim, scale=scale, size=size, width=width, iterations=iterations)
        self.size, self.iterations = size, iterations
        self.net = LatentEncoder(6, rows, w_dim, kind == "e4e", scale, width)

    @classmethod
    def of(cls, generator, kind, **architecture):
        return cls(kind, **_sizes(generator), **architecture)

    def w_plus(self, generator, images: Tensor) -> Tensor:
        return self.refine(generator, images, self.iterations)

    def refine(self, generator, images: Tensor, iterations: int) -> Tensor:
        """w+ after so many iterations; after none, the mean w."""
        w_plus = generator.w_avg.expand(len(images), generator.num_layers, -1)
        for _ in range(iterations):
            w_plus = self.step(generator, images, w_plus)
        return w_plus

    def step(self, generator, images: Tensor, w_plus: Tensor) -> Tensor:
        """One iteration, from any w+."""
        formed = generator.synthesis(w_plus, noise="none").to(images.dtype).clamp(-1, 1)
        return w_plus + self.net(torch.cat([at_size(images, self.size), at_size(formed, self.size)], 1))


class Published(LatentOnly):
    """A published e4e or pSp encoder (`irse.load_encoder`), which sees images of 256 px, behind the same call."""

    def __init__(self, encoder: irse.Encoder):
        super().__init__()
        self.encoder = encoder

    def seen(self, images: Tensor) -> Tensor:
        """What the encoder sees of images (N, 3, R, R)."""
        return at_size(images, 256)

    def w_plus(self, generator, images: Tensor) -> Tensor:
        w_plus = self.encoder(self.seen(images))
        if tuple(w_plus.shape[1:]) != (generator.num_layers, generator.w_dim):
            raise ValueError(f"the encoder gives w+ of {tuple(w_plus.shape[1:])}; this generator wants "
                             f"({generator.num_layers}, {generator.w_dim})")
        return w_plus


ENCODERS = {"sam-encoder": SamEncoder, "e4e": E4e, "restyle-psp": ReStyle, "restyle-e4e": ReStyle}


def load(name: str, folder, device=None) -> nn.Module:
    """The encoder `name` (a key of ENCODERS) in `folder`: name.safetensors, ours or a converted one, or name.pt as published."""
    path = find(name, folder)
    if path.suffix == ".pt" or _header(path).get("class") == "Encoder":
        return Published(irse.load_encoder(path)).to(device or "cpu").eval()
    encoder = weights.load(ENCODERS[name], path, device).requires_grad_(False)
    kind = encoder.config.get("kind", "")
    if kind and name != f"restyle-{kind}":
        raise ValueError(f"{path}: holds the ReStyle of kind {kind!r}, wanted {name}; give the file of that network")
    return encoder


def find(name: str, folder) -> Path:
    """The file of an encoder, whether it is there or not."""
    ours, published = Path(folder) / f"{name}.safetensors", Path(folder) / f"{name}.pt"
    return published if published.is_file() and not ours.is_file() else ours


def _header(path) -> dict:
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except SafetensorError:
        return {}  # `weights.load` says what is wrong with it


@torch.no_grad()
def _sizes(generator, samples: int = 1000) -> dict:
    """What every encoder has to know of its generator."""
    z = torch.randn(samples, generator.z_dim, generator=torch.Generator().manual_seed(0)).to(generator.w_avg.device)
    scale = float(generator.mapping(z)[:, 0].std(0).square().mean().sqrt())
    return dict(rows=generator.num_layers, w_dim=generator.w_dim, scale=scale, size=min(generator.resolution, INPUT_SIZE))
