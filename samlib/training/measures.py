"""The numbers and pictures of `evaluate`: a function for each part, given a Run, the dictionary that it fills in, and a
function that writes what there is so far."""

import copy
from dataclasses import replace

import torch
import torch.nn.functional as F

from .. import edit_measures
from .. import layer_map as maps
from ..directions import allowed_in, progress, sample_w
from ..domains import WORKS
from ..edit import edit
from ..figures import grid, layer_map_image, names_of, save, shares
from ..metrics import psnr
from ..objective import WStatistics, total
from ..optimize import optimize
from ..qualitative import legend
from .category import save_grid
from .edits import EDITS, change_asked
from .factors import FactorRegressor
from .stages import full_precision

KINDS = ("challenging", "ordinary")
PAPER_TAU = 0.225
GAIN, RATIO = 4.0, 0.7  # SAM over W+ on challenging scenes: dB of PSNR at least, and LPIPS at most
STRENGTH = 2.0  # of the edits, in standard deviations of the factor
ROOM = 24 / 256  # of the side: how far from its segment an edit may move an outline
SMALLEST = 0.002  # share of an image below which nobody sees the segment that an edit is about


def invert(domain, images, layer_map, steps, method="sam", **options):
    """All images as one batch, with the masks of their layer maps, at the rates of `method`. `options` go to `optimize`; without a start,
    from the mean w."""
    masks = maps.masks(layer_map, domain.spaces)
    return optimize(domain.generator, images, masks, domain.metric, steps=steps, weights=domain.weights,
                    learning_rate=domain.rate_of(method), delta_learning_rate=domain.delta_learning_rate, progress=False, **options)


@torch.no_grad()
def distance_maps(metric, x, y, batch=16):
    """LPIPS at full size of many images: (N,) and the maps (N, H, W)."""
    pooled, spatial = [], []
    for a, b in zip(x.split(batch), y.split(batch)):
        a, b = metric.features(a.contiguous()), metric.features(b.contiguous())
        pooled.append(metric.distance(a, b))
        spatial.append(metric.distance(a, b, tuple(x.shape[-2:])))
    return torch.cat(pooled), torch.cat(spatial)


def inside(values, region):
    """Mean of values (N, H, W) over a region of each image; NaN where an image has none of it. (N,)."""
    return (values * region).flatten(1).sum(1) / region.flatten(1).sum(1)


def grown(region):
    """A region (N, R, R) and what is within ROOM of it."""
    reach = round(ROOM * region.shape[-1])
    return F.max_pool2d(region.float(), 2 * reach + 1, 1, reach) > 0


def measure(run, kind, method):
    """`measured`, once."""
    return run.once(("measured", kind, method), lambda: measured(run, kind, method))


def measured(run, kind, method):
    """Means over the images of one method: the whole image, and the area that it inverts in W+."""
    images, inversion = run.scenes(kind)[0], run.inversion(kind, method)
    pooled, spatial = distance_maps(run.domain.metric, inversion.images, images)
    area = inversion.layer_map == 0
    square = (inversion.images - images).square().mean(1)
    result = {"psnr": float(psnr(inversion.images, images).mean()), "lpips": float(pooled.mean())}
    if isinstance(method, float):
        alone = (run.inversion(kind, names_of(run.domain.spaces)[0]).images - images).square().mean(1)
        decibel = {name: float((10 * torch.log10(4 / inside(x, area))).nanmean())
                   for name, x in (("psnr_w_area", square), ("psnr_w_area_by_w+", alone))}
        result |= {"tau": method, "shares": shares(inversion.layer_map, run.domain.spaces), **decibel,
                   "lpips_w_area": float(inside(spatial, area).nanmean())}
    return result


def quantile_taus(run):
    """Thresholds that leave 30 to 90 % of the pixels of both sets in W+, by predicted error, and that of the paper."""
    first = []
    for kind in KINDS:
        found = run.predicted(kind)
        first.append(maps.segment_means(found["error_maps"], found["segments"])[:, 0, ::4, ::4].flatten())
    at = torch.linspace(0.3, 0.9, run.quantiles, device=first[0].device)
    return [*(round(t, 5) for t in torch.cat(first).float().quantile(at).tolist()), PAPER_TAU]


def reconstruction(run, result, write):
    """Every single space and SAM at several tau on the challenging scenes; W+ on the ordinary ones."""
    spaces = names_of(run.domain.spaces)
    for kind, methods in (("challenging", spaces), ("ordinary", spaces[:1])):
        result[kind] = {}
        for name in methods:
            result[kind][name] = measure(run, kind, name)
            write()
    result["challenging"]["sam"] = []
    for tau in quantile_taus(run):
        result["challenging"]["sam"].append(measure(run, "challenging", tau))
        write()


def choose_tau(run, result, write):
    """Of the tau for which SAM beats W+ as it should, the one with most pixels in W+; else that of the best PSNR.
    A run that has its tau is measured at that one alone."""
    first = names_of(run.domain.spaces)[0]
    plain = measure(run, "challenging", first)
    rows = [measure(run, "challenging", tau) for tau in (quantile_taus(run) if run.tau is None else [run.tau])]
    good = [row for row in rows if row["psnr"] >= plain["psnr"] + GAIN and row["lpips"] <= RATIO * plain["lpips"]]
    best = max(good, key=lambda row: row["shares"][first]) if good else max(rows, key=lambda row: row["psnr"])
    run.tau = best["tau"]
    result |= {"tau": run.tau, "reached": bool(good), "gain": best["psnr"] - plain["psnr"],
               "lpips_ratio": best["lpips"] / plain["lpips"], "challenging": best}
    write()
    result["ordinary"] = [measure(run, "ordinary", tau) for tau in sorted({run.tau, PAPER_TAU})]


def concerned(run, name):
    """Where the true segment of an edit is: (N, R, R) bool, of the challenging scenes."""
    return edit_measures.concerned(run.category, name, run.scenes("challenging")[1])


@torch.inference_mode()
def edited(run, regressor, name, method):
    """One edit of the inversions of one method: images, the wanted change (N,), and that of the rest of the image."""
    inversion = run.inversion("challenging", method)
    images = edit(run.domain.generator, inversion, {name: run.domain.directions[name]}, {name: STRENGTH})
    change = regressor(images) - regressor(inversion.images)
    asked = change_asked(run.category, name, regressor.names).to(change)
    rest = ~concerned(run, name)
    spatial = distance_maps(run.domain.metric, images, inversion.images)[1]
    return images, progress(change, asked.nan_to_num()), {  # 1: as far as a strength of 1 promises
        "rest_difference": inside((images - inversion.images).abs().mean(1), rest),
        "rest_lpips": inside(spatial, rest)}


def edits(run, result, write):
    """Each supervised direction after W+ and after SAM, over the images whose segment is in spaces that allow it."""
    regressor = FactorRegressor.load(run.domain.folder / "factors.safetensors", run.domain.device)
    first, tau = names_of(run.domain.spaces)[0], run.tau or run.domain.tau
    result["tau"], layer_map = tau, run.layer_map("challenging", tau)
    for name, direction in run.domain.directions.items():
        if name.startswith("pca"):
            continue
        if not {*EDITS[run.category].get(name, [name])} & {*regressor.names}:
            result[name] = {"skipped": "the regressor reads none of its factors"}
            continue
        region = concerned(run, name)
        asked = change_asked(run.category, name, regressor.names).to(run.domain.device)
        spaces = allowed_in(run.domain.generator, regressor, sample_w(run.domain.generator, 64), direction, asked)
        permits = torch.tensor([share >= WORKS for share in spaces.values()], device=run.domain.device)[layer_map]
        allowed = (inside(permits.float(), region) > 0.5) & (region.flatten(1).float().mean(1) > SMALLEST)
        room = allowed & (inside(permits.float(), grown(region)) > 0.8)  # what is around it makes way, too
        row = result[name] = {"images": int(allowed.sum()), "with_room": int(room.sum()), "spaces": spaces}
        pictures = {}
        for label, method in (("w+", first), ("sam", tau)):
            pictures[label], change, rest = edited(run, regressor, name, method)
            row[label] = {"change": float(change[allowed].mean()), "change_all": float(change.mean()),
                          "change_with_room": float(change[room].mean()),
                          **{key: float(value[allowed].mean()) for key, value in rest.items()}}
        for key, of in (("ratio", "change"), ("room_ratio", "change_with_room"), ("rest_ratio", "rest_lpips")):
            row[key] = row["sam"][of] / row["w+"][of] if row["w+"][of] else float("nan")
        order = allowed.int().argsort(descending=True, stable=True)  # those that count come first
        strip(run, order[:8], pictures, first, tau, f"edit-{name}.jpg")
        write()


def strip(run, rows, pictures, first, tau, name):
    """Input, W+ inversion, W+ edit, SAM inversion, layer map, SAM edit: one row for each of a few images."""
    w_plus, sam = run.inversion("challenging", first), run.inversion("challenging", tau)
    drawn = layer_map_image(sam.layer_map[rows], run.domain.spaces).to(sam.images)
    columns = [run.scenes("challenging")[0][rows], w_plus.images[rows], pictures["w+"][rows], sam.images[rows], drawn,
               pictures["sam"][rows]]
    save_grid(torch.stack(columns, 1).flatten(0, 1), run.out.parent / f"{run.out.stem}-{name}", len(columns))


def pictures(run, result, write):
    """Input, layer map, every single space, SAM: a row for each of eight challenging scenes, with titles and the spaces' colours."""
    tau, some, spaces = run.tau or run.domain.tau, slice(8), run.domain.spaces
    columns = {"input": run.scenes("challenging")[0][some],
               "layer map": layer_map_image(run.layer_map("challenging", tau)[some], spaces),
               **{name: run.inversion("challenging", name).images[some] for name in names_of(spaces)},
               f"SAM, tau {tau:.3g}": run.inversion("challenging", tau).images[some]}
    file = run.out.parent / f"{run.out.stem}-methods.jpg"
    save(legend(grid(list(torch.stack([x.cpu() for x in columns.values()], 1)), [*columns]), spaces), file)
    result |= {"file": file.name, "columns": [*columns]}


@full_precision()
def laws(run, result, write, count=4, steps=20):
    """A batch against single runs, each image with its own masks: largest difference, relative to the largest value.

    Single precision, and double: Adam enlarges rounding from step to step, so only the second shows a mistake.
    """
    images, layer_map = run.scenes("challenging")[0][:count], run.layer_map("challenging", run.tau or run.domain.tau)
    statistics = WStatistics.sample(run.domain.generator)
    for label, dtype in (("float32", torch.float32), ("float64", torch.float64)):
        domain = replace(run.domain, generator=copy.deepcopy(run.domain.generator).to(dtype),
                         metric=copy.deepcopy(run.domain.metric).to(dtype))
        parts = slice(count), *(slice(i, i + 1) for i in range(len(images)))
        together, *alone = [invert(domain, images[part].to(dtype), layer_map[part], steps, statistics=statistics)
                            for part in parts]
        for key in ("images", "w_plus"):
            one, many = torch.cat([getattr(x, key) for x in alone]), getattr(together, key)
            result[f"{key}_{label}"] = float((one - many).abs().max() / many.abs().max())
        write()


def starts(run, result, write, count=32, long=1000, short=300):
    """Sec. 6.2: SAM from the mean w in `long` steps, and from where the encoder ends in `short`; "steps": how many of these
    bring the objective, the mean over the images, to where the long run ends. None: more than `short`."""
    tau, domain = run.tau or run.domain.tau, run.domain
    images, layer_map = run.scenes("challenging")[0][:count], run.layer_map("challenging", tau)[:count]
    precision, curves = torch.bfloat16 if images.is_cuda else None, {}
    begin = domain.begin_at("sam-encoder", images, layer_map, maps.masks(layer_map, domain.spaces))
    for label, steps, options in (("mean", long, {}), ("encoder", short, begin)):
        found = invert(domain, images, layer_map, steps, precision=precision, **options)
        curves[label] = total(found.losses, domain.weights).mean(1)
        result[label] = {"steps": steps, "objective": float(curves[label][-1]), "psnr": float(psnr(found.images, images).mean()),
                         "lpips": float(distance_maps(domain.metric, found.images, images)[0].mean())}
        write()
    there = (curves["encoder"] <= curves["mean"][-1]).nonzero().flatten().tolist()
    result |= {"images": len(images), "tau": tau, "steps": there[0] + 1 if there else None}


PARTS = {"reconstruction": reconstruction, "tau": choose_tau, "edits": edits, "pictures": pictures, "laws": laws, "starts": starts}
