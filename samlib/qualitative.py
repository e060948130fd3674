"""The grids of Figures 5, 8, 14 and 15: input, layer map, inversion and edits, with N/A where the map does not permit an edit."""

import torch
from matplotlib.patches import Patch
from matplotlib.pyplot import rc_context
from torch import Tensor

from samlib import figures
from samlib.edit_measures import concerned, left_in, regressor_of, works_in

REACHED = 0.5  # share of the parts it is about that an edit must reach to be shown


@torch.no_grad()
def permitted(domain, layer_map: Tensor, direction: str, segments: Tensor | None = None, works: list[bool] | None = None) -> Tensor:
    """Whether the layer map (N, R, R) of each image lets a direction act on half of what it is about, (N,) bool.

    segments (N, R, R): the true ones of a built-in category; without them, or where the part is not there, half of the image.
    works: for each space, whether the edit works there; None: what `Domain.works` says.
    """
    works = domain.works(direction) if works is None else works
    reached = torch.tensor(works, device=layer_map.device)[layer_map]
    about = torch.ones_like(reached) if segments is None else concerned(domain.name, direction, segments).to(reached.device)
    about = about | ~about.flatten(1).any(1)[:, None, None]
    return (reached & about).sum((1, 2)) >= REACHED * about.sum((1, 2))


def edited(domain, inversion, strengths: dict[str, float]) -> dict[str, Tensor]:
    """direction -> the images of each edit alone, (N, 3, R, R)."""
    return {name: domain.edit(inversion, {name: strength}) for name, strength in strengths.items()}


def with_edits(domain, inversion, directions: list[str], segments: Tensor | None = None, seed: int = 0):
    """What `show` draws: the images of each edit at the domain's own strength, and where each is `permitted`, as measured."""
    left = left_in(domain, regressor_of(domain), directions, max(len(inversion.images), 2), seed)
    allowed = {name: permitted(domain, inversion.layer_map, name, segments, works) for name, works in works_in(left).items()}
    return edited(domain, inversion, {name: domain.meant(name) for name in directions}), allowed


def changes(inversion, edits: dict[str, Tensor], allowed: dict[str, Tensor]) -> dict[str, float]:
    """direction -> mean absolute change of the pixels over the images in which it is permitted, where there are such."""
    return {name: float((images - inversion.images).abs().mean((1, 2, 3))[allowed[name]].mean())
            for name, images in edits.items() if allowed[name].any()}


def show(domain, inversion, edits: dict[str, Tensor], allowed: dict[str, Tensor] | None = None, rows=None):
    """One row an image: input, layer map, inversion, each edit; N/A where `allowed` (direction -> (N,)) says no."""
    return show_several([(domain, inversion, edits, allowed)], rows)


def show_several(results, rows=None):
    """`show` for several categories, one below the other: a list of (domain, inversion, edits, allowed), each with its own edits."""
    table, titles, gone = [], [], []
    for domain, inversion, edits, allowed in results:
        drawn = figures.layer_map_image(inversion.layer_map, domain.spaces)
        columns = torch.stack([inversion.inputs.cpu(), drawn, inversion.images.cpu(), *(x.cpu() for x in edits.values())], 1)
        titles += [["input", "layer map", "inversion", *map(domain.caption, edits)]] + [[]] * (len(columns) - 1)
        for c, name in enumerate(edits):
            for r in range(len(columns)):
                if allowed is not None and not allowed[name][r]:
                    columns[r, 3 + c] = 1
                    gone.append((len(table) + r, 3 + c))
        table += list(columns)
    figure = figures.grid(table, titles, rows)
    across = max(len(row) for row in table)
    for r, c in gone:
        side = table[r].shape[-1] / 2
        figure.axes[r * across + c].text(side, side, "N/A", ha="center", va="center", color="0.4")
    return legend(figure, results[0][0].spaces)


def legend(figure, spaces):
    """The colours of the spaces under a figure that shows layer maps."""
    patches = [Patch(facecolor=figures.SPACE_COLOURS[name], edgecolor="0.4", linewidth=0.4, label=name)
               for name in figures.names_of(spaces)]
    with rc_context(figures.STYLE):
        figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), handlelength=1, handleheight=1)
    figure.set_size_inches(figure.get_figwidth(), figure.get_figheight() + 0.25)
    return figure
