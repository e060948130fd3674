"""The domain biggan-scenes, stage by stage, each from the files of those before it.

    gan -> classifier, segmenter, factors -> inversions -> predictor, directions -> domain -> evaluate

A stage writes its files into the output folder when it is done; what is there is not made again. `gan` runs on several
GPUs under torchrun; `inversions` takes a part of the images, so that several GPUs can share it.
"""

import argparse
import functools
import os
import time
from dataclasses import asdict

import torch
from torch import distributed

from .. import directions as find
from ..arguments import known
from ..checkpoints import load_generator, save_tensors
from ..classifier import SceneClassifier
from ..invertibility import LITE, InvertibilityPredictor
from ..objective import Weights
from ..perceptual import Metric
from ..scenes.classes import all_segments, common_factors, names, renumbered
from ..segmenters import SceneSegmenter, Tidy
from . import biggan, threshold
from .biggan_evaluate import evaluate_stage
from .biggan_scenes import scene_data
from .category import GAN_SEED, INVERSION_SEED, NETWORK_SEED, TEST_SEED, scenes, train_predictor_stage, write_json
from .classifier import evaluate_classifier, train_classifier
from .factors import FactorRegressor, evaluate_factors, train_factors
from .predictor import inversion_dataset, load_inversions
from .segmenter import evaluate_segmenter, train_segmenter
from .stages import add_options, parse, run_stages

PROFILES = {
    # What was run is in figures/training/biggan-scenes.md: the same in two runs, pairs and judge, and in shares of the time in place of
    # images, S of fewer steps from an earlier one, and no evaluation.
    "full": dict(gan=biggan.Settings(judge="projected", images=6_900_000, warm_up=0.54, warm_lr=1.5e-3, lr_g=8e-5, lr_d=1e-4, settle=0.77,
                                     lesson=3000),
                 scenes=12_000, sketches=30_000, report=50, networks=1500, classifier_steps=1500, network_steps=2000, factor_steps=6000,
                 metric="st-lpips-vgg", inversions=64, inversion_steps=80,
                 backbone=LITE, predictor_steps=1500, codes=4_000, test=8, steps=200),
    # A minute on a CPU: it shows that every stage runs, and no more.
    "quick": dict(gan=biggan.Settings(resolution=64, width=8, attention=16, class_dim=8, images=32, batch=8, lesson=2,
                                      lesson_batch=16, statistics=1, metric="st-lpips-alex"), scenes=4, sketches=16, report=1, networks=4,
                  classifier_steps=3, network_steps=3, factor_steps=3, metric="st-lpips-alex", inversions=2, inversion_steps=2,
                  backbone="resnet18", predictor_steps=2, codes=16, test=1, steps=2),
}  # fmt: skip
SKETCH = 32  # px of the many scenes that places and colours are learnt from
# How it inverts, as in its domain.json. z has variance 1, so its weights are on another scale than those of W. The published
# weight of L_F, 5, left F2 and F4 within 1 dB of z+ on a small generator; with 0.05 they were 3 and 4 dB above it. l2 weighs
# what it does in the other domains (see `category`). Features deviate by 3 over images in F2 and by 4.5 in F4, 15 times as much as there
# and more: at the published rate of 0.05 F2 hardly moves.
INVERSION = {"weights": Weights(l2=5, gaussian=1e-5, spread=1e-4, feature=0.05), "learning_rate": 0.1,
             "delta_learning_rate": {"F2": 0.4, "F4": 0.4}}


@functools.lru_cache(maxsize=64)
def kept_scenes(name, count, size, seed, device, challenging):
    """`scenes`, rendered once for all the stages of a run that look at them."""
    return scenes(name, range(count), size, seed, device, challenging, chunk=256)


def scenes_of(classes, count, size, seed, device, kinds=("ordinary",)):
    """`count` scenes of each class and kind: images, segments numbered as in `all_segments`, common factors, labels (N,)."""
    common, parts = common_factors(classes), []
    for kind in kinds:
        for label, name in enumerate(classes):
            images, ids, factors = kept_scenes(name, count, size, seed, device, kind == "challenging")
            values = torch.stack([factors[factor] for factor in common], 1)
            parts.append((images, renumbered(ids, name, classes), values, torch.full((count,), label)))
    images, ids, values, labels = (torch.cat(column) for column in zip(*parts))
    return images, ids, dict(zip(common, values.unbind(1))), labels


def gan_stage(classes, out, profile, device, seconds=float("inf"), done=None, start=None):
    """The generator. Each process of a torchrun renders its own share of the scenes, and of many more of them small."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        torch.cuda.set_device(rank)
        device = torch.device("cuda", rank)
        distributed.init_process_group("nccl", device_id=device)
    s, begin = profile["gan"], time.monotonic()
    data = scene_data(classes, profile["scenes"], s.resolution, s.z_dim, device, GAN_SEED, rank, world, keep=out / "scenes")
    sketches = scene_data(classes, profile["sketches"], SKETCH, s.z_dim, device, GAN_SEED, rank, world, out / "scenes", shard=1000)
    biggan.train(data, out, s, seconds - (time.monotonic() - begin), sketches, done, start, profile["report"],
                 on_report=lambda training, row: print(row, flush=True))
    if world > 1:
        distributed.destroy_process_group()


def classifier_stage(classes, out, profile, device):
    size, both = profile["gan"].resolution, ("ordinary", "challenging")
    images, _, _, labels = scenes_of(classes, profile["networks"], size, NETWORK_SEED, device, both)
    model, _ = train_classifier(images, labels, classes, steps=profile["classifier_steps"], device=device)
    measured = {}
    for kind in both:
        images, _, _, labels = scenes_of(classes, 4 * profile["test"], size, TEST_SEED, device, (kind,))
        measured[kind] = evaluate_classifier(model, images, labels)
    model.save(out / "classifier.safetensors")
    write_json(out / "classifier.json", measured)


def segmenter_stage(classes, out, profile, device):
    size, both = profile["gan"].resolution, ("ordinary", "challenging")
    images, segments, _, _ = scenes_of(classes, profile["networks"], size, NETWORK_SEED, device, both)
    model, _ = train_segmenter(images, segments, all_segments(classes), steps=profile["network_steps"], device=device)
    measured = {kind: evaluate_segmenter(model, *scenes_of(classes, 4 * profile["test"], size, TEST_SEED, device, (kind,))[:2])
                for kind in both}  # fmt: skip
    model.save(out / "segmenter.safetensors")
    write_json(out / "segmenter.json", measured)


def factors_stage(classes, out, profile, device):
    """A regressor of the factors that all classes have: it tells whether a change of class keeps them. Of both kinds of scenes, as
    in `category`."""
    size, both = profile["gan"].resolution, ("ordinary", "challenging")
    images, _, factors, _ = scenes_of(classes, profile["networks"], size, NETWORK_SEED, device, both)
    model, _ = train_factors(images, factors, steps=profile["factor_steps"], device=device)
    model.save(out / "factors.safetensors")
    measured = {}
    for kind in both:
        images, _, factors, _ = scenes_of(classes, 4 * profile["test"], size, TEST_SEED, device, (kind,))
        measured[kind] = evaluate_factors(model, images, factors)
    write_json(out / "factors.json", measured)


def inversions_stage(classes, out, profile, device, part=0, parts=1):
    """Single-space inversions of scenes, half of them challenging (Sec. 3.1), and of the held-out test scenes."""
    generator, metric = load_generator(out / "generator.safetensors").to(device), Metric(profile["metric"]).to(device)
    generator.classify = SceneClassifier.load(out / "classifier.safetensors", device).forward
    options = dict(INVERSION)
    if device.type == "cuda":
        generator, metric = (network.to(memory_format=torch.channels_last) for network in (generator, metric))
        options["precision"] = torch.bfloat16
    for name, seed, count in (("inversions", INVERSION_SEED, profile["inversions"]), ("test", TEST_SEED, profile["test"])):
        for kind in ("challenging", "ordinary"):
            images = scenes_of(classes, count, generator.resolution, seed, device, (kind,))[0][part::parts]
            inversion_dataset(generator, metric, images, out / f"{name}-{kind}-{part}", shard=64, steps=profile["inversion_steps"],
                              **options)


@torch.inference_mode()
def directions_stage(classes, out, profile, device):
    """A direction in Z for each factor that all classes have, from factors read off generated images, in the rows of z+ that it needs
    (see `directions`): with all rows the pose, which the first settle, would ruin what F2 keeps."""
    generator = load_generator(out / "generator.safetensors").to(device)
    regressor = FactorRegressor.load(out / "factors.safetensors", device)
    random = torch.Generator().manual_seed(0)
    z = torch.randn(profile["codes"], generator.z_dim, generator=random).to(device)
    labels = (torch.arange(len(z)) % len(classes)).to(device)
    read = torch.cat([regressor(generator.synthesis(generator.mapping(a, classes=b))) for a, b in zip(z.split(64), labels.split(64))])
    codes, found, measured = generator.mapping(z[:256], classes=labels[:256])[:, 0], {}, {}
    before = find.read(generator, regressor, codes)
    for name, asked, solved in zip(regressor.names, torch.eye(len(regressor.names), device=device), find.supervised(z, read)):
        whole = generator.z_direction(solved)[0]
        rows = find.choose_rows(generator, regressor, codes[:64], whole, asked)
        found[name] = find.to_rows(whole, rows, generator.num_layers)
        change = find.effect(generator, regressor, codes, found[name], before=before)
        measured[name] = {"rows": [rows.start, rows.stop], "effect": dict(zip(regressor.names, change.tolist())),
                          "spaces": find.allowed_in(generator, regressor, codes[:64], found[name], asked, before=before[:64])}
    save_tensors(found, out / "directions.safetensors", half=False)
    write_json(out / "directions.json", measured)


def domain_stage(classes, out, profile, device):
    """domain.json, with the tau that wins 0.7 of what F4 wins over z+ on the challenging test scenes."""
    predictor = InvertibilityPredictor.load(out / "predictor.safetensors", device)
    segmenter = Tidy(SceneSegmenter.load(out / "segmenter.safetensors", device))
    tau = threshold.choose(predictor, segmenter, load_inversions(sorted(out.glob("test-challenging-*/*.safetensors"))), 0.7)
    recipe = INVERSION | {"weights": asdict(INVERSION["weights"])}
    write_json(out / "domain.json", {"tau": tau, "metric": profile["metric"], "steps": profile["steps"], **recipe})


STAGES = {
    "gan": (gan_stage, "generator.safetensors"),
    "classifier": (classifier_stage, "classifier.safetensors"),
    "segmenter": (segmenter_stage, "segmenter.safetensors"),
    "factors": (factors_stage, "factors.safetensors"),
    "inversions": (inversions_stage, None),  # resumes by itself, file by file
    "predictor": (train_predictor_stage, "predictor.safetensors"),
    "directions": (directions_stage, "directions.safetensors"),
    "domain": (domain_stage, "domain.json"),
    "evaluate": (evaluate_stage, "evaluation.json"),
}


def train(out, stages=tuple(STAGES), profile: str | dict = "full", classes=None, device=None, **options):
    """Runs `stages` in order into the folder `out`; a stage whose file is there is skipped. classes: of samlib.scenes.classes;
    None: all there are. profile: a key of PROFILES, or settings like theirs. Prints what it measures."""
    classes = list(classes or names())
    if unknown := [s for s in stages if s not in STAGES] + [c for c in classes if c not in names()]:
        raise ValueError(f"no stage or class {', '.join(unknown)}; there are {', '.join(STAGES)}, and {', '.join(names())}")
    takes = {"gan": ("seconds", "done", "start"), "inversions": ("part", "parts")}
    run_stages(stages, STAGES, classes, out, PROFILES[profile] if isinstance(profile, str) else profile, device, takes, options)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m samlib.training.biggan_domain", description=__doc__.split("\n")[0])
    add_options(parser, STAGES, PROFILES)
    parser.add_argument("--classes", nargs="+", help="of samlib.scenes.classes; all there are")
    parser.add_argument("--done", type=float, help="share of the GAN's training that counts as over, instead of what its checkpoint says")
    a, profile = parse(parser, arguments, STAGES, PROFILES)
    known(parser, "class", a.classes or (), names())
    train(a.out, a.stages, profile, a.classes, seconds=a.seconds, done=a.done, start=a.start, part=a.part, parts=a.parts)


if __name__ == "__main__":
    main()
