"""A domain of one's own, from a folder of images and, where there is one, a generator file.

    images -> generator (a file, or trained here) -> inversions in every space -> predictor S, directions -> tau

    python -m samlib train OUT --images FOLDER --generator FILE

Each stage writes its file into OUT when it is done, with a record of what it was made from. Run again, it goes on after
what is there; a file with another record is refused, never used. `samlib.load("OUT")` then takes the folder.
"""

import os
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from .. import directions as find
from .. import paths, segmenters
from ..checkpoints import load_generator, save_generator, save_tensors
from ..devices import pick_device
from ..invertibility import InvertibilityPredictor
from ..objective import Weights
from ..optimize import DELTA_RATE
from ..perceptual import METRICS, Metric
from . import gan, loop, threshold
from .folder import read_folder, split
from .predictor import described, digest, evaluate_predictor, inversion_dataset, load_inversions, train_predictor
from .records import digest_of_headers, is_there, metadata, write_json

SMALLEST = 64  # px: the metric sees half of it, and below 32 px its last layers have nothing left


@dataclass(frozen=True)
class Settings:
    """What a run is made of.

    steps       of each inversion: of those that S learns from, and of the domain's own.
    inversions  training images that are inverted for S, at most; held_out: images kept apart, at most (and a fifth).
    predictor   goes to `train_predictor`. directions: how many of PCA, from `samples` codes.
    training    of the generator's training, where no file is given; its resolution is the domain's.
    """

    metric: str = "st-lpips-vgg"
    segmenter: str = "unsupervised"
    steps: int = 200
    learning_rate: float = 0.05
    fit: str = "crop"
    inversions: int = 480
    held_out: int = 64
    shard: int = 8
    predictor: dict = field(default_factory=lambda: {"steps": 3000})
    directions: int = 10
    samples: int = 10_000
    training: gan.Settings = field(default_factory=lambda: gan.Settings(judges="stylegan2", noise="none"))


PROFILES = {
    "full": Settings(),
    # A minute on a CPU: it shows that every stage runs, and no more.
    "quick": Settings(
        metric="st-lpips-alex", steps=10, inversions=8, held_out=2, directions=4, samples=200,
        predictor={"steps": 20, "batch": 4, "width": 8, "decoder": 8, "low_reduced": 8},
        training=gan.Settings(resolution=64, channel_base=512, channel_max=32, w_dim=32, mapping_layers=2, images=64, batch=4,
                         judges="stylegan2", noise="none")),
}


@dataclass
class Run:
    """What the stages share: the images (N, 3, R, R) uint8 of either side, the source of the generator in words, the one
    `given`, and what the stages find: the generator, and the files of the inversions."""

    out: Path
    settings: Settings
    images: Tensor
    held_out: Tensor
    source: str
    given: torch.nn.Module | None
    metric: Metric
    segmenter: object
    device: torch.device
    progress: bool
    generator: torch.nn.Module | None = None
    shards: dict = field(default_factory=dict)


def train(out, images, generator=None, profile: str = "full", *, skip_unreadable: bool = False, device=None,
          progress: bool = True, **changes) -> Path:
    """Make the domain in the folder `out` from a folder of `images` and a `generator` file -> `out`.

    generator  any file that `load_generator` reads; None: one is trained from the images.
    profile    a key of PROFILES, of which `changes` replace settings.
    Prints a line for each stage. Ctrl-C raises KeyboardInterrupt; what is done stays.
    """
    out, settings = Path(out), _settings(profile, changes)
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(images)):  # which takes a loop of links, unlike Path.resolve
        raise ValueError(f"{out} lies in the folder of images; want another place for the domain")
    device = pick_device(device)
    given = load_generator(generator) if generator else None
    if given and given.spaces[0].name != "W+":
        raise ValueError(f"{generator} is a generator of classes; want a StyleGAN2: a class cannot be told of images without labels")
    size = given.resolution if given else settings.training.resolution
    if size < SMALLEST:
        raise ValueError(f"a generator of {size} px; want {SMALLEST} at least")
    pictures, held_out = split(read_folder(images, size, settings.fit, skip_unreadable, progress), settings.held_out)
    source = f"the file {paths.digest(generator)[:16]}" if given else f"images {digest(pictures)}, {described(_lasting(settings.training))}"
    metric, segmenter = Metric(settings.metric).to(device), segmenters.named(settings.segmenter, device)
    segmenter(loop.as_float(held_out[:1]))  # what has to be fetched for it, is before anything long begins
    run = Run(out, settings, pictures, held_out, source, given, metric, segmenter, device, progress)
    for name, stage in STAGES.items():
        begin = time.monotonic()
        print(f"{name}: {stage(run) or 'was there'} ({time.monotonic() - begin:.0f} s)", flush=True)
    return out


def make_generator(run):
    path, record = run.out / "generator.safetensors", {"source": run.source}
    if run.given is None:
        record["images shown"] = run.settings.training.images
    made = not is_there(path, record)
    if made:
        save_generator(run.given or train_generator(run), path, half=False, metadata={"made_from": record})
    run.given, run.generator = None, load_generator(path).to(run.device)
    return f"{run.generator.resolution} px, {len(run.generator.spaces)} spaces" if made else None


def train_generator(run):
    """By gan.train in OUT/gan, which resumes; reports are often enough for its checkpoint of every minute."""
    folder, settings = run.out / "gan", run.settings.training
    if not is_there(folder / "made_from.json", {"source": run.source}):
        write_json(folder / "made_from.json", {"made_from": {"source": run.source}})
    every = max(1, min(200, settings.images // settings.batch // 20))
    gan.train(run.images.to(run.device), folder, settings, report_every=every, progress=run.progress)
    return load_generator(folder / "generator.safetensors")


def invert(run):
    """Sec. 3.1: every image in each space alone, with the settings that the domain will invert with."""
    s = run.settings
    before = len(list(run.out.glob("inversions/*/*.safetensors")))
    for name, images in (("train", run.images[:s.inversions]), ("held-out", run.held_out)):
        run.shards[name] = inversion_dataset(
            run.generator, run.metric, images, run.out / "inversions" / name, shard=s.shard, steps=s.steps, weights=Weights(),
            learning_rate=s.learning_rate, delta_learning_rate=DELTA_RATE, progress=run.progress)
    count = sum(map(len, run.shards.values()))
    return f"{count} files" if count > before else None


def learn_predictor(run):
    """Eq. 2, measured on the held-out images."""
    path, s = run.out / "predictor.safetensors", run.settings
    record = {"inversions": digest_of_headers(run.shards["train"]), "settings": described(s.predictor)}
    if is_there(path, record):
        return None
    data, test = (load_inversions(run.shards[name]) for name in ("train", "held-out"))
    model, _ = train_predictor(data["images"], data["error_maps"], data["spaces"], device=run.device,
                               progress=run.progress, **s.predictor)
    measured = evaluate_predictor(model, test["images"], test["error_maps"])
    model.save(path, made_from=record, held_out=measured)
    return "r on held-out images " + ", ".join(f"{name} {r:.2f}" for name, r in measured["pearson"].items())


def find_directions(run):
    path, s = run.out / "directions.safetensors", run.settings
    record = {"generator": digest(*run.generator.state_dict().values()), "count": s.directions, "samples": s.samples}
    if is_there(path, record):
        return None
    components, _ = find.pca(run.generator, s.directions, s.samples)
    rows = run.generator.num_layers
    found = {f"pca{i}": find.to_rows(one, range(rows), rows) for i, one in enumerate(components, 1)}
    save_tensors(found, path, {"made_from": record}, half=False)
    return f"{len(found)} of PCA"


def describe(run):
    """domain.json, with tau chosen on the held-out images."""
    path, s = run.out / "domain.json", run.settings
    made_from = metadata(run.out / "predictor.safetensors").get("made_from")
    held_out = digest_of_headers(run.shards["held-out"])
    record = {"predictor": described(made_from), "segmenter": s.segmenter, "held-out inversions": held_out}
    if is_there(path, record):
        return None
    model = InvertibilityPredictor.load(run.out / "predictor.safetensors", run.device)
    tau = threshold.choose(model, run.segmenter, load_inversions(run.shards["held-out"]))
    count = min(s.directions, run.generator.w_dim)
    write_json(path, {"tau": tau, "metric": s.metric, "steps": s.steps, "learning_rate": s.learning_rate, "segmenter": s.segmenter,
                  "strengths": {f"pca{i}": [-3, 3] for i in range(1, count + 1)}, "made_from": record})
    return f"tau {tau:g}"


STAGES = {"generator": make_generator, "inversions": invert, "predictor": learn_predictor, "directions": find_directions,
          "domain": describe}


def _lasting(settings: gan.Settings) -> dict:
    """All but the length of the run: a generator may be trained for longer."""
    return {name: value for name, value in asdict(settings).items() if name != "images"}


def from_options(profile: str, options) -> dict:
    """What the options of `samlib train` change in a profile; an option that was not given is None."""
    of_gan = {"resolution": options.size, "images": options.shown}
    of_gan = {name: value for name, value in of_gan.items() if value is not None}
    if of_gan and options.generator:
        raise ValueError("--size and --shown are for a generator that is trained here; leave them out with --generator")
    plain = {name: getattr(options, name) for name in ("metric", "segmenter", "steps", "fit")}
    return {k: v for k, v in plain.items() if v is not None} | {"training": replace(PROFILES[profile].training, **of_gan)}


def _settings(profile, changes) -> Settings:
    """Every name is checked before anything long begins."""
    if profile not in PROFILES:
        raise ValueError(f"no profile {profile!r}; there are {', '.join(PROFILES)}")
    settings = replace(PROFILES[profile], **changes)
    if settings.metric not in METRICS:
        raise ValueError(f"no perceptual metric {settings.metric!r}; there are {', '.join(METRICS)}")
    segmenters.named(settings.segmenter)
    size = settings.training.resolution
    if size & (size - 1):
        raise ValueError(f"images of {size} px; want a power of two")
    return settings
