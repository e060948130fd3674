"""What a trained domain can do, on held-out scenes: reconstruction, the choice of tau, edits, and pictures of them.

    python -m samlib.training.evaluate FOLDER --category cars --out FILE.json

FOLDER holds the files that `samlib.training.category` writes. The parts run in order, and FILE.json is written again
after each result. A part that fails leaves its error there, the others go on, and the exit code is 1.
"""

import argparse
import json
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import torch

from .. import layer_map as maps
from .. import paths
from ..checkpoints import load_generator, load_tensors
from ..domains import Domain, pick_device
from ..domains import load as load_domain
from ..edit import acts_in, edit, reach
from ..figures import layer_map_image, names_of, shares
from ..inversion import Inversion
from ..invertibility import InvertibilityPredictor
from ..metrics import psnr
from ..optimize import optimize
from ..perceptual import Metric
from ..scenes import SEGMENTS
from ..segmenters import SceneSegmenter, Tidy
from .category import EDITS, TEST_SEED, save_grid, scenes
from .factors import FactorRegressor

KINDS = ("challenging", "ordinary")
PAPER_TAU = 0.225
GAIN, RATIO = 4.0, 0.7  # SAM over W+ on challenging scenes: dB of PSNR at least, and LPIPS at most
STRENGTH = 2.0  # of the edits, in standard deviations of the factor
SMALLEST = 0.002  # share of an image below which nobody sees the segment that an edit is about
# Classes that an edit is about; those of None are for all the edits without an entry.
CONCERNED = {"cars": {"trees": ("tree",), "buildings": ("building",), None: ("car", "window", "wheel")}}


@dataclass
class Run:
    """A domain, the scenes it is measured on, and the inversions so far; each is computed when it is first asked for."""

    domain: Domain
    category: str
    count: int
    steps: int
    out: Path
    quantiles: int = 8
    tau: float | None = None  # chosen by `choose_tau`
    found: dict = field(default_factory=dict)

    def once(self, key, make):
        if key not in self.found:
            self.found[key] = make()
        return self.found[key]

    def scenes(self, kind):
        """images (N, 3, R, R) in [-1, 1] and true segments (N, R, R) of "ordinary" or "challenging" scenes."""
        def make():
            size, device = self.domain.generator.resolution, self.domain.device
            images, segments, _ = scenes(self.category, range(self.count), size, TEST_SEED, device, kind == "challenging")
            return images.float() / 127.5 - 1, segments.long()
        return self.once(("scenes", kind), make)

    def predicted(self, kind):
        """error_maps and segments of Sec. 3.1, as `Domain.predict` gives them."""
        return self.once(("predicted", kind), lambda: self.domain.predict(self.scenes(kind)[0]))

    def layer_map(self, kind, method):
        """method: the name of a space, or a number, the tau of SAM."""
        if isinstance(method, float):
            found = self.predicted(kind)
            return maps.select(found["error_maps"], found["segments"], method)
        index = names_of(self.domain.spaces).index(method)
        return maps.uniform(self.count, self.domain.generator.resolution, index, self.domain.device)

    def inversion(self, kind, method) -> Inversion:
        def make():
            layer_map = self.layer_map(kind, method)
            inversion = invert(self.domain, self.scenes(kind)[0], layer_map, self.steps, precision(self.domain.device))
            inversion.layer_map = layer_map
            return inversion
        return self.once(("inversion", kind, method), make)


def precision(device):
    return torch.bfloat16 if device.type == "cuda" else None


def invert(domain, images, layer_map, steps, precision=None):
    """All images as one batch, with the masks of their layer maps."""
    masks = maps.masks(layer_map, domain.spaces)
    return optimize(domain.generator, images, masks, domain.metric, steps=steps, weights=domain.weights,
                    precision=precision, progress=False)


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


def measure(run, kind, method):
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
    """Every single space on both sets, and SAM at several tau on the challenging scenes."""
    for kind in KINDS:
        result[kind] = {}
        for name in names_of(run.domain.spaces):
            result[kind][name] = measure(run, kind, name)
            write()
    result["challenging"]["sam"] = []
    for tau in quantile_taus(run):
        result["challenging"]["sam"].append(measure(run, "challenging", tau))
        write()


def choose_tau(run, result, write):
    """Of the tau for which SAM beats W+ as it should, the one with most pixels in W+; else that of the best PSNR."""
    first = names_of(run.domain.spaces)[0]
    plain = measure(run, "challenging", first)
    rows = [measure(run, "challenging", tau) for tau in quantile_taus(run)]
    good = [row for row in rows if row["psnr"] >= plain["psnr"] + GAIN and row["lpips"] <= RATIO * plain["lpips"]]
    best = max(good, key=lambda row: row["shares"][first]) if good else max(rows, key=lambda row: row["psnr"])
    run.tau = best["tau"]
    result |= {"tau": run.tau, "reached": bool(good), "gain": best["psnr"] - plain["psnr"],
               "lpips_ratio": best["lpips"] / plain["lpips"], "challenging": best}
    write()
    result["ordinary"] = [measure(run, "ordinary", tau) for tau in sorted({run.tau, PAPER_TAU})]


def concerned(run, name):
    """Where the true segment of an edit is: (N, R, R) bool, of the challenging scenes."""
    classes = CONCERNED[run.category].get(name, CONCERNED[run.category][None])
    segments = run.scenes("challenging")[1]
    return torch.isin(segments, segments.new_tensor([SEGMENTS[run.category].index(c) for c in classes]))


@torch.inference_mode()
def edited(run, regressor, name, method):
    """One edit of the inversions of one method: images, the wanted change (N,), and that of the rest of the image."""
    inversion, wanted = run.inversion("challenging", method), EDITS[run.category].get(name, {name: 1})
    images = edit(run.domain.generator, inversion, {name: run.domain.directions[name]}, {name: STRENGTH})
    change = regressor(images) - regressor(inversion.images)
    asked = change.new_tensor([wanted.get(factor, 0) for factor in regressor.names])
    rest = ~concerned(run, name)
    spatial = distance_maps(run.domain.metric, images, inversion.images)[1]
    return images, change @ asked / asked.square().sum(), {
        "rest_difference": inside((images - inversion.images).abs().mean(1), rest),
        "rest_lpips": inside(spatial, rest)}


def edits(run, result, write):
    """Each supervised direction after W+ and after SAM, over the images whose segment is where the direction acts."""
    regressor = FactorRegressor.load(run.domain.folder / "factors.safetensors", run.domain.device)
    first, tau = names_of(run.domain.spaces)[0], run.tau or run.domain.tau
    result["tau"], layer_map = tau, run.layer_map("challenging", tau)
    for name, direction in run.domain.directions.items():
        if name.startswith("pca"):
            continue
        region = concerned(run, name)
        allowed = (inside(reach(direction, layer_map, run.domain.spaces).float(), region) > 0.5) & (
            region.flatten(1).float().mean(1) > SMALLEST)
        row = result[name] = {"images": int(allowed.sum()),
                              "acts_in": dict(zip(names_of(run.domain.spaces), acts_in(direction, run.domain.spaces)))}
        pictures = {}
        for label, method in (("w+", first), ("sam", tau)):
            pictures[label], change, rest = edited(run, regressor, name, method)
            row[label] = {"change": float(change[allowed].mean()), "change_all": float(change.mean()),
                          **{key: float(value[allowed].mean()) for key, value in rest.items()}}
        row["ratio"] = row["sam"]["change"] / row["w+"]["change"]
        row["rest_ratio"] = row["sam"]["rest_lpips"] / row["w+"]["rest_lpips"]
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
    """Input, layer map, every single space, SAM: a row for each of eight challenging scenes."""
    tau, some = run.tau or run.domain.tau, slice(8)
    methods = [*names_of(run.domain.spaces), tau]
    drawn = layer_map_image(run.layer_map("challenging", tau)[some], run.domain.spaces).to(run.domain.device)
    columns = [run.scenes("challenging")[0][some], drawn,
               *(run.inversion("challenging", method).images[some] for method in methods)]
    file = run.out.parent / f"{run.out.stem}-methods.jpg"
    save_grid(torch.stack(columns, 1).flatten(0, 1), file, len(columns))
    result |= {"file": file.name, "columns": ["input", "layer map", *names_of(run.domain.spaces), f"SAM {tau}"]}


def laws(run, result, write, count=4, steps=20):
    """A batch against single runs, each image with its own masks: the largest difference of the images and of w+."""
    count = min(count, run.count)
    images, layer_map = run.scenes("challenging")[0][:count], run.layer_map("challenging", run.tau or run.domain.tau)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    together = invert(run.domain, images, layer_map[:count], steps)
    alone = [invert(run.domain, images[i:i + 1], layer_map[i:i + 1], steps) for i in range(count)]
    for key in ("images", "w_plus"):
        one, many = torch.cat([getattr(x, key) for x in alone]), getattr(together, key)
        result[key] = float((one - many).abs().max() / many.abs().max())


PARTS = {"reconstruction": reconstruction, "tau": choose_tau, "edits": edits, "pictures": pictures, "laws": laws}


def load(folder, device, metric=None):
    """The domain in `folder`, as `domains.load` gives it, or from what files there are where it has no domain.json."""
    folder = Path(folder)
    if (folder / "domain.json").is_file():
        domain = load_domain(folder, device)
        domain.metric = Metric(metric).to(device) if metric else domain.metric
    else:
        def read(part, reader):
            file = folder / f"{part}.safetensors"
            return reader(file) if file.is_file() else None
        found = read("directions", lambda file: load_tensors(file)[0]) or {}
        domain = Domain(
            folder.name, load_generator(folder / "generator.safetensors").to(device),
            Metric(metric or "st-lpips-vgg").to(device),
            read("predictor", lambda file: InvertibilityPredictor.load(file, device)),
            read("segmenter", lambda file: Tidy(SceneSegmenter.load(file, device))),
            {name: direction.to(device) for name, direction in found.items()}, folder=folder)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        for module in (domain.generator, domain.metric):
            module.to(memory_format=torch.channels_last)
    return domain


def evaluate(run, parts=tuple(PARTS)):
    """Runs the parts in order -> {part: its numbers, "error" among them if it failed}, written to `run.out` as they come."""
    results = {"images": run.count, "steps": run.steps, "metric": run.domain.metric.name}

    def write():
        with paths.atomic_file(run.out) as temporary:
            temporary.write_text(json.dumps(results, indent=1))

    for part in parts:
        result, begin = results.setdefault(part, {}), time.monotonic()
        try:
            PARTS[part](run, result, write)
        except Exception as error:  # whatever it is, the other parts are still worth having
            traceback.print_exc()
            result["error"] = f"{type(error).__name__}: {error}"
        result["seconds"] = round(time.monotonic() - begin, 1)
        write()
        print(part, json.dumps(result), flush=True)
    return results


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m samlib.training.evaluate", description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--category", required=True, choices=list(SEGMENTS))
    parser.add_argument("--out", required=True, type=Path, help="the JSON file; pictures go beside it")
    parser.add_argument("--images", type=int, default=64, help="of each of the two sets")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--tau", type=float, help="for edits, pictures and laws when `tau` is not among the parts")
    parser.add_argument("--quantiles", type=int, default=8, help="how many thresholds beside the paper's")
    parser.add_argument("--metric", help="default: that of the domain.json, or st-lpips-vgg")
    parser.add_argument("--device")
    a = parser.parse_args(arguments)
    a.out.parent.mkdir(parents=True, exist_ok=True)
    domain = load(a.folder, pick_device(a.device), a.metric)
    results = evaluate(Run(domain, a.category, a.images, a.steps, a.out, a.quantiles, a.tau), a.parts)
    return int(any("error" in results[part] for part in a.parts))


if __name__ == "__main__":
    raise SystemExit(main())
