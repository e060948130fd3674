"""What single figures of the paper need beside `samlib.figures`: which edits work, how an image is formed, training pairs of S.

Figures are drawn as `samlib.figures` draws them, in the same colours; measurements are plain functions.
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch
from torch import Tensor

from samlib import figures
from samlib.images import to_uint8

HALF, LEAST = 0.5, 0.125  # an edit works if it goes at least half as far as in W+, and at least this far
RIGHT, WRONG = "#009E73", "#D55E00"  # apart for every kind of colour vision


def verdicts(moved: dict[str, dict[str, float]]) -> dict[str, dict[str, bool]]:
    """space -> edit -> whether it works there, given how far each goes; the first space is the one to compare with."""
    first = next(iter(moved.values()))
    return {space: {name: far >= max(HALF * first[name], LEAST) for name, far in row.items()} for space, row in moved.items()}


def show_tradeoff(x, inversions, edited, psnr, works, captions=None):
    """Figure 3: a row for each space with its inversion, its edits and whether they work, and the PSNR over the set as bars.

    x (1, 3, R, R); inversions: space -> images of which the first is drawn; edited: space -> edit -> images;
    psnr: space -> dB; works: space -> edit -> bool; captions: edit -> what is printed over it, where that is not its name.
    """
    names, count, wide = list(next(iter(edited.values()))), len(inversions), 1.15
    with plt.rc_context(figures.STYLE):
        columns = 2 + len(names)
        figure = plt.figure(figsize=(figures.CELL * (columns + wide), figures.CELL * count + 0.3), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
        cells = figure.add_gridspec(count, columns + 1, width_ratios=[1] * columns + [wide])
        for r, space in enumerate(inversions):
            pictures = {"input": x, "inversion": inversions[space], **edited[space]}
            for c, (name, image) in enumerate(pictures.items()):
                axis = figure.add_subplot(cells[r, c])
                figures.bare(axis)
                axis.imshow(to_uint8(image[0].cpu()).numpy())
                if r == 0:
                    axis.set_title((captions or {}).get(name, name).replace("_", " "), pad=3)
                if c == 0:
                    axis.set_ylabel(space, **tag(space), labelpad=6)
                if name in names:
                    mark(axis, works[space][name])
        axis = figure.add_subplot(cells[:, columns])
        colours = [figures.SPACE_COLOURS[space] for space in psnr]
        bars = axis.barh(range(count), psnr.values(), 0.5, color=colours, edgecolor="0.3", linewidth=0.4)
        axis.bar_label(bars, fmt="%.1f", padding=2, fontsize=7)
        axis.set(ylim=(count - 0.5, -0.5), xlim=(0, 1.25 * max(psnr.values())), title="PSNR (dB)")
        axis.set_yticks(range(count), list(psnr))
    return figure


def tag(space):
    """How a text that names a space is set: on the colour of the space, in what can be read there."""
    colour = figures.SPACE_COLOURS[space]
    light = sum(to_rgb(colour)[:2]) < 1.1
    return {"color": "white" if light else "black",
            "bbox": dict(facecolor=colour, edgecolor="none", pad=2)}


def mark(axis, right):
    """A tick or a cross in the corner of a picture."""
    axis.text(0.96, 0.05, "\N{HEAVY CHECK MARK}" if right else "\N{HEAVY BALLOT X}", transform=axis.transAxes, ha="right", va="bottom",
              color="white", fontfamily="DejaVu Sans", fontsize=8,
              bbox=dict(boxstyle="circle,pad=0.2", facecolor=RIGHT if right else WRONG, edgecolor="white", linewidth=0.6))


@dataclass
class Formed:
    """One layer of Eq. 3-4: f = before + change, change = mask * delta_f (N, C, h, w); image (N, 3, R, R): formed with
    the changes up to this layer and none after it."""

    mask: Tensor
    before: Tensor
    change: Tensor
    image: Tensor

    @property
    def after(self):
        return self.before + self.change


@torch.inference_mode()
def formation(generator, inversion) -> dict[str, Formed]:
    """Space -> what happens there while the image is formed (Figure 4); of the latent space, mask is what the others leave."""
    found, used = {}, {}
    layer_map = inversion.layer_map[:, None]
    for index, space in enumerate(generator.spaces):
        if space.name in inversion.deltas:
            used[space.name] = inversion.deltas[space.name]
        seen = {}
        hooks = [block.register_forward_hook(lambda module, _, out, seen=seen: seen.update({module.resolution: out[0]}))
                 for block in generator.synthesis_network.blocks()]
        try:
            masks = {name: inversion.masks[name] for name in used}
            image = generator.synthesis(inversion.w_plus, used, masks, inversion.noise).clamp(-1, 1)
        finally:
            for hook in hooks:
                hook.remove()
        before = seen[space.resolution or min(seen)]
        mask = inversion.masks[space.name] if space.name in used else (layer_map == index).to(before)
        change = mask * used[space.name] if space.name in used else torch.zeros_like(before)
        found[space.name] = Formed(mask, before, change, image)
    return found


def feature_image(feature: Tensor, like: Tensor | None = None) -> Tensor:
    """A feature (1, C, h, w) as an image (1, 3, h, w) in [-1, 1]: its three principal components, those of `like` if given."""
    def pixels(x):
        return x[0].flatten(1).T.float().cpu()

    base = pixels(feature if like is None else like)
    mean = base.mean(0)
    _, _, axes = torch.linalg.svd(base - mean, full_matrices=False)
    axes = axes[:3] * axes[:3].gather(1, axes[:3].abs().argmax(1, keepdim=True)).sign()
    scale = ((base - mean) @ axes.T).std(0).clamp_min(1e-6)
    values = (pixels(feature) - mean) @ axes.T / (2.5 * scale)
    return values.clamp(-1, 1).T.reshape(1, 3, *feature.shape[-2:])


def show_formation(formed: dict[str, Formed], x: Tensor, psnr: dict[str, float], layer_map: Tensor):
    """Figure 4: for each space its mask, the feature before and after the change, the size of the change, and the image so far; beside
    the masks the layer map, drawn (1, 3, R, R), and beside the images the input x (1, 3, R, R)."""
    size = tuple(x.shape[-2:])
    with plt.rc_context(figures.STYLE):
        labels = ["mask $m_l$", "feature $f_l$", "$|m_l\\,\\Delta f_l|$", "changed $f_l$", "image so far"]
        cell = figures.CELL
        wide = len(formed) + 1
        figure, axes = plt.subplots(5, wide, figsize=(cell * wide, cell * 5 + 0.35), layout="constrained", squeeze=False)
        figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0, rect=(0, 0, 1, 0.99))
        highest = max(float(one.change.norm(dim=1).max()) for one in formed.values()) or 1.0
        for c, (name, one) in enumerate(formed.items()):
            column = axes[:, c]
            column[0].imshow(F.interpolate(one.mask[:1], size)[0, 0].cpu().numpy(), cmap="gray", vmin=0, vmax=1)
            column[0].set_title(f"{name}   {one.before.shape[1]} ch, {one.before.shape[2]} px", **tag(name), pad=6)
            column[1].imshow(to_uint8(feature_image(one.before[:1])[0]).numpy())
            column[2].imshow(one.change[:1].norm(dim=1)[0].cpu().numpy(), cmap=figures.ERROR_COLOURS, vmin=0, vmax=highest)
            column[3].imshow(to_uint8(feature_image(one.after[:1], one.before[:1])[0]).numpy())
            column[4].imshow(to_uint8(one.image[0].cpu()).numpy())
            column[4].set_xlabel(f"{psnr[name]:.1f} dB", labelpad=2)
            for axis in column:
                figures.bare(axis)
        for axis, label in zip(axes[:, 0], labels):
            axis.set_ylabel(label)
        for axis, picture in ((axes[0, -1], layer_map), (axes[4, -1], x)):
            axis.imshow(to_uint8(picture[0].cpu()).numpy())
            figures.bare(axis)
        for axis in axes[1:4, -1]:
            axis.set_axis_off()
        axes[0, -1].set_title("layer map", pad=6)
        axes[4, -1].set_xlabel("input", labelpad=2)
    return figure


def show_teaser(x, inversions, edited, spaces, psnr):
    """Figure 1: the input; for each method its layer map, its inversion and its edits, a row each.

    x (1, 3, R, R); inversions: method -> Inversion; edited: method -> edit -> images; psnr: method -> dB.
    """
    edits = list(next(iter(edited.values())))
    rows, used = [], set()
    for name, found in inversions.items():
        drawn = figures.layer_map_image(found.layer_map[:1], spaces)
        rows.append(torch.cat([picture[:1].cpu() for picture in (x, drawn, found.images, *(edited[name][e] for e in edits))]))
        used |= {space for space, share in figures.shares(found.layer_map, spaces).items() if share}
    titles = ["input", "(a) layer map", "(b) inversion", *(f"({'cdef'[i]}) {e.replace('_', ' ')}" for i, e in enumerate(edits))]
    figure = figures.grid(rows, titles, [f"{name}\n{psnr[name]:.1f} dB" for name in inversions])
    patches = [Patch(facecolor=figures.SPACE_COLOURS[name], edgecolor="0.4", linewidth=0.4, label=name)
               for name in figures.names_of(spaces) if name in used]
    with plt.rc_context(figures.STYLE):
        figure.legend(handles=patches, loc="outside right upper", title="space", handlelength=1, handleheight=1)
    figures.widen(figure, 0.6)
    return figure


@torch.inference_mode()
def error_maps(metric, images, x, batch=16) -> Tensor:
    """The error e_l that S is trained on: the spatial perceptual distance of images (N, 3, H, W), (N, H, W)."""
    parts = [metric.distance(metric.features(a), metric.features(b), tuple(x.shape[-2:]))
             for a, b in zip(images.split(batch), x.split(batch))]
    return torch.cat(parts)


def show_predictor_use(x, inversions, measured, found, means, spaces):
    """Figure 2, of the first image: a row for each space with its inversion, the measured error, the predicted one and its
    means over segments, all errors on one scale, with its bar; on the right the segments and the layer map that comes of them."""
    chosen, every = list(inversions), figures.names_of(spaces)
    highest = max(float(measured[name][0].max()) for name in chosen)
    with plt.rc_context(figures.STYLE):
        cell, count = figures.CELL, len(chosen)
        figure = plt.figure(figsize=(cell * 6.6, cell * count + 0.35), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
        cells = figure.add_gridspec(count, 7, width_ratios=[1, 1, 1, 0.1, 1, 1, 1])
        beside = []
        titles = {0: "image $x$", 1: "inversion", 2: "error $e_l$", 4: "$S_l(x)$", 5: "mean of segment"}
        for r, name in enumerate(chosen):
            place = every.index(name)
            errors = {2: measured[name][0], 4: found["error_maps"][0, place], 5: means[0, place]}
            pictures = {0: x[0], 1: inversions[name][0]}
            for c in (0, 1, 2, 4, 5):
                axis = figure.add_subplot(cells[r, c])
                figures.bare(axis)
                if c in errors:
                    drawn = axis.imshow(errors[c].cpu().numpy(), cmap=figures.ERROR_COLOURS, vmin=0, vmax=highest)
                else:
                    axis.imshow(to_uint8(pictures[c].cpu()).numpy())
                if r == 0:
                    axis.set_title(titles[c], pad=3)
                if c == 0:
                    axis.set_ylabel(name, **tag(name), labelpad=6)
                if c == 5:
                    beside.append(axis)
        figure.colorbar(drawn, ax=beside, label="error", aspect=20 * count, pad=0.03)
        segments = found["segments"][:1]
        colours = figures.segment_colours(int(segments.max()) + 1)
        for r, picture in enumerate((figures.colour_map(segments.clamp_min(0), colours),
                                     figures.layer_map_image(found["layer_map"][:1], spaces))):
            axis = figure.add_subplot(cells[min(r, count - 1), 6])
            figures.bare(axis)
            axis.imshow(to_uint8(picture[0]).numpy())
            axis.set_title(("segments", "layer map")[r], pad=3)
        shares = figures.shares(found["layer_map"][:1], spaces)
        patches = [Patch(facecolor=figures.SPACE_COLOURS[name], edgecolor="0.4", linewidth=0.4, label=f"{name}  {share:.0%}")
                   for name, share in shares.items()]
        if count > 2:
            axis = figure.add_subplot(cells[2, 6])
            figures.bare(axis)
            axis.legend(handles=patches, loc="upper center", handlelength=1, handleheight=1)
    return figure
