"""The published image encoders, pSp (Richardson et al., CVPR 2021) and e4e (Tov et al., SIGGRAPH 2021): image -> w+.

Both are an IR-SE-50 (ArcFace's ResNet with squeeze-and-excitation) with one small head per row of w+, fed from three
scales. Names are those of the published checkpoints, which load by key.
"""

import math
import re
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .arrays import CheckpointError, brief
from .checkpoints import fill, is_safetensors, load_tensors, read_arrays, save_tensors
from .layouts import collect
from .unpickle import Record

BLOCKS = (3, 4, 14, 3)  # units of each stage; the first of each stage halves the size
COARSE, MIDDLE = 3, 7  # rows below COARSE see the 1/16 scale, rows below MIDDLE 1/8, the others 1/4
PUBLISHED = {"Encoder4Editing": "e4e", "GradualStyleEncoder": "psp"}  # opts.encoder_type in a checkpoint


class SqueezeExcite(nn.Module):
    """Scales each channel by a number in (0, 1) that depends on the channels' means."""

    def __init__(self, channels: int):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


class Unit(nn.Module):
    """A residual unit, (N,I,H,W) -> (N,O,H/stride,W/stride)."""

    def __init__(self, fan_in: int, fan_out: int, stride: int):
        super().__init__()
        if fan_in == fan_out:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            conv = nn.Conv2d(fan_in, fan_out, 1, stride, bias=False)
            self.shortcut_layer = nn.Sequential(conv, nn.BatchNorm2d(fan_out))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(fan_in),
            nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=False),
            nn.PReLU(fan_out),
            nn.Conv2d(fan_out, fan_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(fan_out),
            SqueezeExcite(fan_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


class Head(nn.Module):
    """Features (N,C,h,w) -> one row of w+ (N,C): strided convolutions down to one pixel, then a linear layer."""

    def __init__(self, channels: int, halvings: int):
        super().__init__()
        layers = []
        for _ in range(halvings):
            layers += [nn.Conv2d(channels, channels, 3, 2, padding=1), nn.LeakyReLU()]
        self.convs = nn.Sequential(*layers)
        self.linear = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convs(x)
        if x.shape[2:] != (1, 1):
            raise ValueError(f"the image is too large: {tuple(x.shape[2:])} pixels are left of it; want at most 256 px")
        scale = 1 / math.sqrt(self.linear.in_features)  # equalized learning rate: the weight is stored unscaled
        return F.linear(x.flatten(1), self.linear.weight * scale, self.linear.bias)


class Encoder(nn.Module):
    """Images (N,3,256,256) in [-1, 1] (sides up to 256, as 192x256 for cars) -> w+ (N, codes, w_dim).

    kind    "psp": each row has its own head. "e4e": the first head gives w, the others what each row adds to it.
    widths  channels of the four stages; the last equals w_dim, 512 in the published checkpoints.
    `latent_avg` (codes, w_dim) is added to the codes; zeros where the checkpoint was not trained so.
    """

    def __init__(self, kind: str = "e4e", codes: int = 14, widths: tuple = (64, 128, 256, 512)):
        super().__init__()
        if kind not in ("e4e", "psp"):
            raise ValueError(f"encoder {kind!r}; want 'e4e' or 'psp'")
        self.kind, self.codes, self.widths = kind, codes, tuple(widths)
        w_dim, fan_in, units = widths[-1], widths[0], []
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, fan_in, 3, padding=1, bias=False), nn.BatchNorm2d(fan_in), nn.PReLU(fan_in)
        )
        for width, count in zip(widths, BLOCKS, strict=True):
            units += [Unit(fan_in if i == 0 else width, width, 2 if i == 0 else 1) for i in range(count)]
            fan_in = width
        self.body = nn.Sequential(*units)
        halvings = [4 if i < COARSE else 5 if i < MIDDLE else 6 for i in range(codes)]
        self.styles = nn.ModuleList(Head(w_dim, n) for n in halvings)
        self.latlayer1 = nn.Conv2d(widths[2], w_dim, 1)
        self.latlayer2 = nn.Conv2d(widths[1], w_dim, 1)
        self.register_buffer("latent_avg", torch.zeros(codes, w_dim), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        scales = self.features(images)
        rows = [head(scales[0 if i < COARSE else 1 if i < MIDDLE else 2]) for i, head in enumerate(self.styles)]
        codes = torch.stack(rows, 1)
        if self.kind == "e4e":  # w = row 0; row i = w + offset i
            codes = torch.cat([codes[:, :1], codes[:, :1] + codes[:, 1:]], 1)
        return codes + self.latent_avg

    def save(self, path, half: bool = False, metadata: dict | None = None) -> None:
        """Write the encoder as safetensors, `latent_avg` too; half: matrices in 16 bits."""
        tensors = {**self.state_dict(), "latent_avg": self.latent_avg}
        save_tensors(tensors, path, {**(metadata or {}), "class": "Encoder", "kind": self.kind}, half)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of w_dim channels at 1/16, 1/8 and 1/4 of the image's size, the finer ones with the coarser added."""
        if images.ndim != 4 or images.shape[1] != 3 or max(images.shape[2:]) > 256:
            raise ValueError(f"images have shape {tuple(images.shape)}; want (N, 3, H, W) with sides of at most 256")
        x, ends = self.input_layer(images), []
        for i, unit in enumerate(self.body):
            x = unit(x)
            if i + 1 in (sum(BLOCKS[:2]), sum(BLOCKS[:3]), sum(BLOCKS)):
                ends.append(x)
        fine, middle, coarse = ends
        middle = _enlarge(coarse, middle) + self.latlayer1(middle)
        return coarse, middle, _enlarge(middle, fine) + self.latlayer2(fine)


def _enlarge(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)


def from_arrays(arrays: dict, kind: str, path="the encoder") -> Encoder:
    """The encoder whose tensors are `arrays` (published name -> array), in evaluation mode, with gradients off."""
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    codes = sum(bool(re.fullmatch(r"styles\.\d+\.linear\.weight", name)) for name in shapes)
    first = ["body.0.res_layer.1.weight", *(f"body.{sum(BLOCKS[:i])}.res_layer.1.weight" for i in (1, 2, 3))]
    for name in first:
        if len(shapes.get(name, ())) != 4:
            raise CheckpointError(f"{path}: {name} is missing or misshaped; want a pSp or e4e encoder on IR-SE-50")
    latent_avg = arrays.pop("latent_avg", None)
    with torch.device("meta"):
        encoder = Encoder(kind, codes, tuple(shapes[name][0] for name in first))
    fill(encoder, arrays, path)
    encoder.latent_avg = torch.zeros(codes, encoder.widths[-1])
    if latent_avg is not None:  # (512,), or one for each row
        if shapes["latent_avg"] not in ((encoder.widths[-1],), tuple(encoder.latent_avg.shape)):
            shape = brief(shapes["latent_avg"])
            raise CheckpointError(f"{path}: latent_avg has shape {shape}; want one w, or one for each row")
        read = isinstance(latent_avg, Tensor)  # from safetensors; otherwise a view into the file
        encoder.latent_avg += latent_avg if read else torch.from_numpy(np.array(latent_avg, "float32"))
    return encoder


def load_encoder(path, kind: str | None = None) -> Encoder:
    """The encoder of a pSp or e4e checkpoint (`state_dict`, `latent_avg`, `opts`), read as data, or of `Encoder.save`.

    kind: "e4e" or "psp", for files whose opts do not say; the names of their tensors are the same.
    """
    path = Path(path)
    if is_safetensors(path):
        return _read_safetensors(path)
    arrays, opts = read_arrays(path, _parts)
    named = opts.get("encoder_type")
    if named is not None and named not in PUBLISHED:
        raise CheckpointError(f"{path}: an encoder of type {brief(named)}; want {' or '.join(PUBLISHED)}")
    kind = kind or PUBLISHED.get(named)
    if kind is None:
        raise CheckpointError(f"{path}: its opts name no encoder_type; pass kind='e4e' or kind='psp'")
    if not opts.get("start_from_latent_avg"):
        arrays.pop("latent_avg", None)
    return from_arrays(arrays, kind, path)


def _read_safetensors(path) -> Encoder:
    arrays, metadata = load_tensors(path)
    if metadata.get("class") != "Encoder" or metadata.get("kind") not in PUBLISHED.values():
        raise CheckpointError(f"{path}: holds no encoder; want one written by Encoder.save")
    return from_arrays(arrays, metadata["kind"], path)


def _parts(content: dict, size: int) -> tuple[dict, dict]:
    opts = content.get("opts", {})
    opts = opts.state if type(opts) is Record else opts  # an argparse.Namespace in some files
    if type(opts) is not dict or type(opts.get("encoder_type", "")) not in (str, type(None)):
        raise CheckpointError("its opts are not those of a pSp or e4e encoder")
    named = content["state_dict"].items()
    pairs = [(name[len("encoder.") :], array) for name, array in named if name.startswith("encoder.")]
    if content.get("latent_avg") is not None:
        pairs.append(("latent_avg", content["latent_avg"]))
    return collect(pairs, size), opts
