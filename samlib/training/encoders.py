"""Training of the encoders (Sec. 6.2), from the files of a domain to those of its encoders, and how well they do.

    scenes, half of them challenging -> predicted layer maps at several tau -> the recipes of encoder_recipes.py -> files
"""

import json
import time
from pathlib import Path

import torch
from torch import Tensor

from .. import encode, layer_map, weights
from ..metrics import psnr
from . import loop
from .encoder_recipes import FULL, QUICK, Course, Settings, train_e4e, train_restyle, train_sam
from .records import metadata

__all__ = ["FULL", "QUICK", "Course", "Settings", "evaluate_encoders", "train_encoders", "train_encoders_stage"]

SEED = 4  # of the scenes; 0 to 3 are taken by the other stages (category.py)


@torch.inference_mode()
def predicted_maps(domain, images: Tensor, shares: Tensor, batch: int = 32, sample: int = 256) -> tuple[Tensor, list[float]]:
    """Layer maps (N, T, R, R), uint8, of images (N, 3, R, R), uint8, at the T thresholds that leave `shares` (T,) of the pixels
    in W+ by prediction; and these thresholds. The segments are not tidied, which takes longer than all the rest."""
    segmenter = getattr(domain.segmenter, "segmenter", domain.segmenter)

    def errors(chunk):
        x = loop.as_float(chunk.to(domain.device))
        return layer_map.segment_means(domain.predictor(x), segmenter(x))

    some = images[:: max(1, len(images) // sample)]
    first = torch.cat([errors(chunk)[:, 0, ::4, ::4].flatten() for chunk in some.split(batch)])
    taus = first.float().sort().values[(shares.to(first.device) * (len(first) - 1)).long()].tolist()
    parts = []
    for chunk in images.split(batch):
        means = errors(chunk)
        parts.append(torch.stack([layer_map.select_per_pixel(means, tau) for tau in taus], 1).byte())
    return torch.cat(parts), taus


@torch.inference_mode()
def evaluate_encoders(domain, images: dict[str, Tensor], methods=tuple(encode.ENCODERS), tau=None, batch: int = 16) -> dict:
    """{kind: {method: {"psnr", "lpips", "seconds" an image}}} of images, kind -> (N, 3, R, R), by domain.metric at full size."""
    result = {}
    for kind, x in images.items():
        for method in methods:
            seconds, rows = 0.0, []
            for chunk in loop.as_float(x).split(batch):
                begin = time.monotonic()
                found = domain.invert(chunk, method, tau=tau if method == "sam-encoder" else None)
                decibel = psnr(found.images, found.inputs).cpu()  # waits for the device
                seconds += time.monotonic() - begin
                rows.append(torch.stack([decibel, domain.metric(found.images, found.inputs).cpu()]))
            decibel, distance = torch.cat(rows, 1).mean(1).tolist()
            result.setdefault(kind, {})[method] = {"psnr": decibel, "lpips": distance, "seconds": round(seconds / len(x), 4)}
    return result


def train_encoders(course: Course, out, **metadata) -> dict:
    """All four, in order, each into its file in the folder `out` when it is done; what is there is not made again, and what
    builds on another builds on its file. Returns what `trained` gives."""
    out, made = Path(out), {}
    recipes = {"e4e": train_e4e, "sam-encoder": lambda c: train_sam(c, made["e4e"]),
               "restyle-e4e": lambda c: train_restyle(c, "e4e", made["e4e"]), "restyle-psp": lambda c: train_restyle(c, "psp", made["e4e"])}
    for name, train in recipes.items():
        file = out / f"{name}.safetensors"
        if not file.exists():
            begin = time.monotonic()
            encoder, history = train(course)
            curves = {key: [float(part.mean()) for part in values.tensor_split(10) if len(part)] for key, values in history.items()}
            weights.save(encoder, file, seconds=round(time.monotonic() - begin, 1), **curves, **metadata)
            print(name, json.dumps(curves), flush=True)
        made[name] = encode.load(name, out, course.images.device)
    return trained(out)


def trained(out) -> dict:
    """{encoder: {"loss": the mean of every tenth of the steps, "seconds", "taus", ...}}, as the files in `out` have it."""
    headers = {name: metadata(Path(out) / f"{name}.safetensors") for name in encode.ENCODERS}
    return {name: {key: header[key] for key in ("lesson", "loss", "seconds", "taus") if key in header} for name, header in headers.items()}


def train_encoders_stage(category, out, profile, device):
    """A stage of `category.train`: needs generator, predictor and segmenter, and writes the encoders, those that are not there, and
    encoders.json, what they reach at the domain's encoder_tau."""
    from .category import INVERSION, TEST_SEED, scenes, write_json  # which knows this module in its turn
    from .evaluate import load

    out, settings, domain = Path(out), profile.get("encoders", FULL), load(out, device, profile["metric"])
    known = (out / "domain.json").is_file()
    if not all(encode.find(name, out).is_file() for name in encode.ENCODERS):
        half, size = settings.scenes // 2, domain.generator.resolution
        images = torch.cat([scenes(category, range(half), size, SEED, device, challenging)[0] for challenging in (False, True)])
        maps, taus = predicted_maps(domain, images, torch.linspace(*settings.shares, settings.taus))
        course = Course(domain.generator, domain.metric, images, maps, domain.weights if known else INVERSION["weights"], settings)
        train_encoders(course, out, taus=taus)
    report = trained(out)
    taus = report["sam-encoder"]["taus"]
    tau = domain.tau_of("sam-encoder") if known else taus[len(taus) // 2]
    test = {kind: scenes(category, range(4 * profile["test"]), domain.generator.resolution, TEST_SEED, device, kind == "challenging")[0]
            for kind in ("challenging", "ordinary")}
    measured = evaluate_encoders(domain, test, tau=tau)
    write_json(out / "encoders.json", {"taus": taus, "tau": tau, "training": report, **measured})
