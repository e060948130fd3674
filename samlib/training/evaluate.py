"""What a trained domain can do, on held-out scenes: reconstruction, the choice of tau, edits, and pictures of them.

    python -m samlib.training.evaluate FOLDER --category cars --out FILE.json

FOLDER holds the files that `samlib.training.category` writes. The parts run in order, and FILE.json is written again
after each result. A part that fails leaves its error there, the others go on, and the exit code is 1.
"""

import argparse
import json
import math
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import torch

from .. import layer_map as maps
from .. import paths
from ..checkpoints import load_generator, load_tensors
from ..devices import pick_device
from ..domains import Domain
from ..domains import load as load_domain
from ..figures import names_of
from ..inversion import Inversion
from ..invertibility import InvertibilityPredictor
from ..perceptual import Metric
from ..scenes import SEGMENTS
from ..segmenters import SceneSegmenter, Tidy
from .category import TEST_SEED, scenes
from .measures import PARTS, invert
from .stages import fast_matrices


@dataclass
class Run:
    """A domain, the scenes it is measured on, and its inversions; each is computed when it is first asked for."""

    domain: Domain
    category: str
    count: int
    steps: int
    out: Path
    quantiles: int = 8
    tau: float | None = None  # given, or chosen by `measures.choose_tau`
    found: dict = field(default_factory=dict)

    def once(self, key, make):
        if key not in self.found:
            self.found[key] = make()
        return self.found[key]

    def scenes(self, kind):
        """images (N, 3, R, R) in [-1, 1] and true segments (N, R, R) of "ordinary" or "challenging" scenes."""
        def make():
            size, device = self.domain.generator.resolution, self.domain.device
            challenging = kind == "challenging"
            images, segments, _ = scenes(self.category, range(self.count), size, TEST_SEED, device, challenging)
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
            layer_map, images = self.layer_map(kind, method), self.scenes(kind)[0]
            precision = torch.bfloat16 if layer_map.is_cuda else None
            begin = self.domain.begin_at(self.domain.start, images, layer_map, maps.masks(layer_map, self.domain.spaces))
            inversion = invert(self.domain, images, layer_map, self.steps, "sam" if isinstance(method, float) else method,
                               precision=precision, **begin)
            inversion.layer_map = layer_map
            return inversion
        return self.once(("inversion", kind, method), make)


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
        fast_matrices()
        for module in (domain.generator, domain.metric):
            module.to(memory_format=torch.channels_last)
    return domain


def evaluate(run, parts=tuple(PARTS)):
    """Runs the parts in order -> {part: its numbers, and "error" if it failed}, written to `run.out` as they come."""
    results = {"images": run.count, "steps": run.steps, "metric": run.domain.metric.name}

    def write():
        with paths.atomic_file(run.out) as temporary:
            temporary.write_text(json.dumps(finite(results), indent=1))

    for part in parts:
        result, begin = results.setdefault(part, {}), time.monotonic()
        try:
            PARTS[part](run, result, write)
        except Exception as error:  # whatever it is, the other parts are still worth having
            traceback.print_exc()
            result["error"] = f"{type(error).__name__}: {error}"
        result["seconds"] = round(time.monotonic() - begin, 1)
        write()
        print(part, json.dumps(finite(result)), flush=True)
    return results


def finite(values):
    """Numbers that JSON does not know, NaN where there was nothing to measure, become null."""
    if isinstance(values, (dict, list)):
        return {k: finite(v) for k, v in values.items()} if isinstance(values, dict) else [finite(v) for v in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m samlib.training.evaluate", description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--category", required=True, choices=list(SEGMENTS))
    parser.add_argument("--out", required=True, type=Path, help="the JSON file; pictures go beside it")
    parser.add_argument("--images", type=int, default=64, help="of each of the two sets")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--parts", nargs="+", default=[part for part in PARTS if part != "starts"], choices=list(PARTS),
                        help="`starts` needs encoders, which the others do not")
    parser.add_argument("--tau", type=float, help="the only one that part `tau` measures, and that of edits, pictures, laws and starts")
    parser.add_argument("--quantiles", type=int, default=8, help="how many thresholds beside the paper's")
    parser.add_argument("--metric", help="default: that of the domain.json, or st-lpips-vgg")
    parser.add_argument("--device")
    a = parser.parse_args(arguments)
    try:
        domain = load(a.folder, pick_device(a.device), a.metric)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    a.out.parent.mkdir(parents=True, exist_ok=True)
    results = evaluate(Run(domain, a.category, a.images, a.steps, a.out, a.quantiles, a.tau), a.parts)
    return int(any("error" in results[part] for part in a.parts))


if __name__ == "__main__":
    raise SystemExit(main())
