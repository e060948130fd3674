"""Pictures of images, maps and edits: one style and one set of colours for every figure.

Functions return a matplotlib Figure and draw nothing on the screen; a notebook ends its cell with `plt.show()`.
Images are (N, 3, H, W) in [-1, 1]; `spaces` are the generator's Space records, or their names.
"""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch
from PIL import Image

from samlib import paths
from samlib.images import from_uint8, to_uint8

# Five steps of viridis: told apart by every kind of colour vision and in grey, and darker is earlier, so more editable.
SPACE_COLOURS = {"W+": "#440154", "Z+": "#440154", "F2": "#41447F", "F4": "#31688E", "F6": "#21918C",
                 "F8": "#5EC962", "F10": "#FDE725"}
ERROR_COLOURS = "magma"
STYLE = {
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 8, "legend.frameon": False,
    "xtick.labelsize": 7, "ytick.labelsize": 7, "axes.spines.top": False, "axes.spines.right": False,
    "figure.dpi": 120, "savefig.dpi": 200, "pdf.fonttype": 42, "image.interpolation": "none",
    "axes.prop_cycle": matplotlib.cycler(color=["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]),
}
CELL = 1.35  # inches a picture takes in a grid


def names_of(spaces):
    return [getattr(space, "name", space) for space in spaces]


def colour_map(index, colours):
    """Whole numbers (N, H, W) and a list of colours -> images (N, 3, H, W) in [-1, 1]."""
    table = np.array([to_rgb(colour) for colour in colours])
    return from_uint8((table * 255).round().astype(np.uint8)[index.cpu().numpy()])


def layer_map_image(layer_map, spaces):
    """(N, H, W) index into `spaces` -> images (N, 3, H, W) in the spaces' colours."""
    return colour_map(layer_map, [SPACE_COLOURS[name] for name in names_of(spaces)])


def shares(layer_map, spaces):
    """{name of a space: its share of the pixels of a layer map (N, H, W)}, in order."""
    counts = torch.bincount(layer_map.flatten(), minlength=len(spaces)) / layer_map.numel()
    return dict(zip(names_of(spaces), counts.tolist()))


def segment_colours(count):
    """`count` colours of which neighbours in the list differ well; the same for the same id every time."""
    cycle = plt.get_cmap("tab20").colors
    order = [*cycle[::2], *cycle[1::2]]
    return [order[i % len(order)] for i in range(count)]


def grid(images, titles=None, rows=None, columns=None, cell=CELL):
    """Images, or a list of rows of images, with a title over each column and a label before each row.

    images  (N, 3, H, W), a row; or a list of those, all of the same length.
    titles  one for each column, or a list of those for each row; rows: one label for each row.
    columns breaks a single row into several.
    """
    table = [images] if torch.is_tensor(images) else list(images)
    if columns and len(table) == 1:
        table = list(table[0].split(columns))
    width = max(len(row) for row in table)
    if titles is None or isinstance(titles[0], str):
        titles = [titles or []] + [[]] * (len(table) - 1)
    with plt.rc_context(STYLE):
        height, across = table[0].shape[-2:]
        figure, axes = plt.subplots(len(table), width, squeeze=False, layout="constrained",
                                    figsize=(cell * width, cell * height / across * len(table) + 0.2 * sum(map(bool, titles))))
        figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
        for r, row in enumerate(table):
            for c, axis in enumerate(axes[r]):
                bare(axis)
                if c < len(row):
                    axis.imshow(to_uint8(row[c]).numpy())
                if c < len(titles[r]):
                    axis.set_title(titles[r][c].replace("_", " "), pad=3)
            if rows is not None:
                axes[r, 0].set_ylabel(rows[r])
    return figure


def bare(axis):
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)


def show_layer_map(layer_map, spaces, images=None):
    """Layer maps (N, H, W) in the spaces' colours, each after its image if `images` are given, and the legend."""
    pictures = layer_map_image(layer_map, spaces)
    if images is not None:
        pictures = torch.stack([images.cpu().float(), pictures], 1).flatten(0, 1)
    figure = grid(pictures)
    patches = [Patch(facecolor=SPACE_COLOURS[name], edgecolor="0.4", linewidth=0.4, label=f"{name}  {share:.0%}")
               for name, share in shares(layer_map, spaces).items()]
    with plt.rc_context(STYLE):
        figure.legend(handles=patches, loc="outside right upper", title="space, share", handlelength=1, handleheight=1)
    widen(figure, 1.1)
    return figure


def show_segments(segments, images=None, classes=None):
    """Segments (N, H, W), each after its image if given; a legend of those present where `classes` names them."""
    present = sorted(segments.unique().tolist())
    colours = [*segment_colours(max(present) + 1), "0.7"]  # the last is that of -1, the padding
    pictures = colour_map(segments, colours)
    if images is not None:
        pictures = torch.stack([images.cpu().float(), pictures], 1).flatten(0, 1)
    figure = grid(pictures)
    if classes:
        patches = [Patch(color=colours[i], label=classes[i % len(classes)] if i >= 0 else "padding") for i in present]
        with plt.rc_context(STYLE):
            figure.legend(handles=patches, loc="outside right upper", handlelength=1, handleheight=1)
        widen(figure, 1.1)
    return figure


def show_error_maps(error_maps, spaces, image=None, highest=None):
    """Predicted or measured error maps (S, H, W) of one image side by side on one scale, after the image if given."""
    maps = error_maps.detach().float().cpu()
    highest = highest or maps.max().clamp_min(1e-6).item()
    count = len(maps) + (image is not None)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, count, squeeze=False, layout="constrained", figsize=(CELL * count + 0.5, CELL + 0.2))
        if image is not None:
            axes[0, 0].imshow(to_uint8(image).numpy())
            axes[0, 0].set_title("input", pad=3)
        for axis, error, name in zip(axes[0, count - len(maps):], maps, names_of(spaces)):
            drawn = axis.imshow(error.numpy(), cmap=ERROR_COLOURS, vmin=0, vmax=highest)
            axis.set_title(f"{name}   {error.mean():.2f}", pad=3)
        for axis in axes[0]:
            bare(axis)
        figure.colorbar(drawn, ax=axes[0, -1], label="error", shrink=0.9)
    return figure


def show_edits(edits, original=None):
    """{direction: {strength: image (1, 3, H, W) or (3, H, W)}} -> one row a direction, from the weakest to the strongest."""
    before = [] if original is None else [original.reshape(3, *original.shape[-2:])]
    rows, titles = [], []
    for strip in edits.values():
        strip = dict(sorted(strip.items()))
        pictures = before + [image.reshape(3, *image.shape[-2:]) for image in strip.values()]
        rows.append(torch.stack([picture.cpu().float() for picture in pictures]))
        titles.append(["input"] * len(before) + [f"{strength:+.3g}" if strength else "0" for strength in strip])
    same = all(row == titles[0] for row in titles)
    return grid(rows, titles=titles[0] if same else titles, rows=list(edits))


def widen(figure, inches):
    figure.set_size_inches(figure.get_figwidth() + inches, max(figure.get_figheight(), 1.5))


def save(figure, path, pdf=False):
    """Write the figure as `path` (PNG), and as PDF beside it if asked, each whole or not at all.

    In the PDF a picture has a palette of 256 colours of its own, 40 to 43 dB from the picture, which takes about a third of the space.
    """
    pictures = [picture for axis in figure.axes for picture in axis.images if picture.get_array().ndim == 3]
    dpi = 150 if pictures else STYLE["savefig.dpi"]
    with paths.atomic_file(path) as temporary, plt.rc_context(STYLE):
        figure.savefig(temporary, bbox_inches="tight", pad_inches=0.03, dpi=dpi, pil_kwargs={"optimize": True})
    if pdf:
        whole = [np.asarray(picture.get_array()) for picture in pictures]
        with paths.atomic_file(path.with_suffix(".pdf")) as temporary, plt.rc_context(STYLE):
            for picture, data in zip(pictures, whole):
                picture.set_data(few_colours(data))
            figure.savefig(temporary, bbox_inches="tight", pad_inches=0.03)
        for picture, data in zip(pictures, whole):
            picture.set_data(data)
    return path


def few_colours(picture):
    """An RGB picture (H, W, 3), uint8, in the 256 colours that suit it best."""
    return np.asarray(Image.fromarray(picture).quantize(256, kmeans=2, dither=Image.Dither.NONE).convert("RGB"))
