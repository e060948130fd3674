"""Figure 9: the architecture of S, drawn from the network itself. Nothing here knows how many layers it has.

    predictor -> an image is sent through it -> shapes and numbers of weights of its parts -> boxes and arrows
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import FancyBboxPatch
from torch import nn

from samlib import figures


@dataclass(frozen=True)
class Part:
    """A module as it was seen at work: its name in the network, what it is, the shape that left it (C, H, W), its weights."""

    name: str
    text: str
    shape: tuple[int, ...]
    weights: int


@torch.inference_mode()
def parts(network: nn.Module, names, image: torch.Tensor) -> list[Part]:
    """The modules of these names, in the order in which an image (1, 3, H, W) went through them."""
    seen, hooks = [], []
    modules = dict(network.named_modules())
    for name in names:
        def note(module, _, out, name=name):
            out = out[-1] if isinstance(out, tuple) else out
            seen.append(Part(name, describe(module), tuple(out.shape[1:]), sum(p.numel() for p in module.parameters())))
        hooks.append(modules[name].register_forward_hook(note))
    try:
        network(image)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def describe(module: nn.Module) -> str:
    """A module in few words: a convolution by its kernel, what holds modules by what it holds."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        stride = f", stride {module.stride[0]}" if module.stride[0] > 1 else ""
        dilation = f", dilation {module.dilation[0]}" if module.dilation[0] > 1 else ""
        kind = "conv" if isinstance(module, nn.Conv2d) else "transposed conv"
        return f"{kind} {module.kernel_size[0]}x{module.kernel_size[0]}{stride}{dilation}"
    if isinstance(module, nn.BatchNorm2d):
        return "BatchNorm"
    if isinstance(module, nn.LeakyReLU):
        return f"LeakyReLU {module.negative_slope:g}"
    children = list(module.children())
    if not children:
        return type(module).__name__
    first = describe(children[0])
    if isinstance(module, nn.Sequential) and all(type(child) is type(children[0]) for child in children):
        return f"{len(children)} x {type(children[0]).__name__}"
    return first if len(children) == 1 else ", ".join(dict.fromkeys(map(describe, children)))


def stages(predictor) -> tuple[list[str], list[str], list[str], list[str]]:
    """Names of its parts: the backbone's, the branches of the pyramid, the rest of the base, the heads."""
    base = predictor.sd_base
    backbone = [f"sd_base.backbone.{name}" for name, child in base.backbone.named_children() if name.startswith(("conv", "layer"))]
    branches = [f"sd_base.aspp.{name}" for name, _ in base.aspp.named_children() if name.startswith(("aspp", "global"))]
    return backbone, branches, ["sd_base.aspp", "sd_base.decoder", "sd_base"], [f"heads.{name}" for name in predictor.heads]


def show_predictor(predictor, image):
    """S_base from left to right, and a head for each space in its colour; returns the figure and the parts drawn."""
    groups = stages(predictor)
    backbone, branches, rest, heads = ([by for by in parts(predictor, group, image)] for group in groups)
    inside = parts(predictor, [f"{groups[3][0]}.m.{i}" for i in range(len(predictor.heads[predictor.spaces[0]].m))], image)
    with plt.rc_context(figures.STYLE):
        figure, axis = plt.subplots(figsize=(9.2, 3.9))
        axis.set(xlim=(0, 19.8), ylim=(-4.6, 4.1))
        figures.bare(axis)
        before = box(axis, 0.85, 0, "image $x$", [shape_of(image.shape[1:])], "0.9", 1.6)
        for i, part in enumerate(backbone):
            before = arrow(axis, before, box(axis, 2.85 + 1.95 * i, 0, part.name.split(".")[-1], lines(part), "#BFD9EA"))
        decoder = box(axis, 15.9, 0, "decoder", lines(rest[1])[1:], "#CFE8DD")
        for i, part in enumerate(branches):
            y = 2.7 - 5.4 * i / max(len(branches) - 1, 1)
            place = box(axis, 13.2, y, part.name.split(".")[-1].replace("_", " "), [pyramid_text(part)], "#CFE8DD", 2.6, 1.05)
            arrow(axis, before, place)
            arrow(axis, place, decoder)
        skip(axis, 2.85 + 1.95, 15.9, "features at 1/4 of the size")  # from layer1
        for i, part in enumerate(heads):
            name = part.name.split(".")[-1]
            y = 2.7 - 5.4 * i / max(len(heads) - 1, 1)
            arrow(axis, decoder, box(axis, 18.7, y, f"head {name}", [shape_of(part.shape)], figures.SPACE_COLOURS[name], 2, 0.95,
                                  light=name in ("W+", "Z+", "F2", "F4", "F6")))
        whole = rest[-1]
        text = f"shared $S_{{base}}$: {whole.weights / 1e6:.1f} M weights, {whole.shape[0]} channels out"
        axis.text(6.7, 2.2, text, ha="center", va="top")
        text = " – ".join(part.text for part in inside)
        axis.text(9.9, -4.5, f"each head: {text}; {heads[0].weights} weights", ha="center", va="bottom")
    return figure, {"base": rest[-1], "backbone": backbone, "branches": branches, "heads": heads, "head": inside}


def lines(part: Part) -> list[str]:
    return [part.text.split(",")[0], shape_of(part.shape), f"{part.weights / 1e3:,.0f} k"]


def pyramid_text(part: Part) -> str:
    """What tells a branch of the pyramid from the others."""
    return "mean of the image" if "AdaptiveAvgPool2d" in part.text else part.text.removesuffix(", BatchNorm")


def skip(axis, start, end, text):
    """An arrow below all boxes, from under one to under another."""
    axis.plot([start, start, end], [-0.8, -3.6, -3.6], color="0.4", lw=0.7, zorder=0)
    axis.annotate("", (end, -0.8), (end, -3.6), arrowprops=dict(arrowstyle="-|>", color="0.4", lw=0.7, shrinkA=0, shrinkB=0))
    axis.text((start + end) / 2 - 2, -3.55, text, color="0.3", ha="center", va="bottom", fontsize=6.5)


def shape_of(shape):
    return " x ".join(map(str, shape))


def edges(x, y, width, height):
    """Where arrows enter and leave a box: its left and its right side."""
    return (x - width / 2, y), (x + width / 2, y)


def box(axis, x, y, title, text, colour, width=1.7, height=1.6, light=False):
    """A box about (x, y); returns its `edges`."""
    axis.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0,rounding_size=0.12",
                                  facecolor=colour, edgecolor="0.3", linewidth=0.6, zorder=2))
    ink = "white" if light else "black"
    space = 0.34
    top = y + space * len(text) / 2
    axis.text(x, top, title, ha="center", va="center", weight="bold", fontsize=7, color=ink, zorder=3)
    for i, line in enumerate(text):
        axis.text(x, top - space * (i + 1), line, ha="center", va="center", fontsize=5, color=ink, zorder=3)
    return edges(x, y, width, height)


def arrow(axis, start, end):
    """From the right side of one box to the left side of the other; returns the edges of the other."""
    axis.annotate("", end[0], start[1], arrowprops=dict(arrowstyle="-|>", color="0.4", lw=0.7, shrinkA=0, shrinkB=0), zorder=1)
    return end
