"""Everything a built-in domain is made of, stage by stage, each from the files of those before it.

    gan -> segmenter, factors, lesson, inversions -> predictor -> encoders, directions, generator, domain

A stage writes its files into the output folder when it is done; what is there is not made again. `gan` runs on several
GPUs under torchrun; `inversions` takes a part of the images, so that several GPUs can share it.
"""

import argparse
import json
import os
import time
from dataclasses import asdict

import torch
from safetensors.torch import load_file, save_file
from torch import distributed
from tqdm.auto import tqdm

from .. import directions as find
from .. import paths
from ..checkpoints import load_generator, save_tensors
from ..domains import load as load_domain
from ..invertibility import LITE, InvertibilityPredictor
from ..known_codes import w_of
from ..metrics import ImageFeatures, factor_spread, kid
from ..objective import Weights
from ..optimize import DELTA_RATE
from ..perceptual import Metric
from ..scenes import SEGMENTS, codes, render
from ..segmenters import SceneSegmenter, Tidy
from . import gan, records, threshold
from .edits import DEPENDENT, EDITS, change_asked
from .encoder_recipes import FULL, QUICK
from .encoders import train_encoders_stage
from .factors import FactorRegressor, evaluate_factors, train_factors
from .loop import as_uint8, predict
from .predictor import evaluate_predictor, first_errors, imagenet, inversion_dataset, load_inversions, train_predictor
from .segmenter import evaluate_segmenter, train_segmenter
from .stages import add_options, parse, run_stages

SHARD = 1000  # scenes that are kept in one file
GAN_SEED, NETWORK_SEED, INVERSION_SEED, TEST_SEED = 0, 1, 2, 3  # of the scenes: no stage is measured on what it saw

# from_encoders: 1 lets the inversions that S learns from begin where those of the domain in the output folder do, at its rates.
# regressor: scenes of each kind. backbone: that of S, one of BACKBONES in invertibility.py; EfficientNet-Lite0 brings its ImageNet weights.
PROFILES = {
    "full": dict(gan=gan.Settings(noise="none", judges="projected", mixing=0.0, path_length_every=16, lr=0.0015,
                                  warm_up=0.5),
                 metric="st-lpips-vgg", lesson=80_000, scenes=30_000, networks=4_000, network_steps=1200,
                 regressor=8_000, regressor_steps=4000,
                 inversions=1280, inversion_steps=40, from_encoders=0, backbone="resnet18", predictor_lesson=4000,
                 predictor_steps=1200, encoders=FULL, codes=10_000, test=64),
    # A minute on a CPU: it shows that every stage runs, and no more.
    "quick": dict(gan=gan.Settings(resolution=64, channel_base=512, channel_max=32, w_dim=256, judges="stylegan2", noise="none",
                                   images=64, batch=4, lesson=4), metric="st-lpips-alex", lesson=64, scenes=32, networks=16,
                  network_steps=4, regressor=16, regressor_steps=4, inversions=4, inversion_steps=3, from_encoders=0,
                  backbone="resnet18", predictor_lesson=8, predictor_steps=3, encoders=QUICK, codes=64, test=2),
}

# How the built-in domains invert, as in their domain.json: their W is nearly flat in most directions, where the published
# weights of the priors would keep w from reaching the image. With the published weight of l2, 1, SAM had the worse PSNR, by
# 2.5 to 3.4 dB, and the worse LPIPS too (24 challenging cats, 200 steps: 24.3 dB, 0.0284; with 5: 27.7 dB, 0.0253).
# Where features may change, too, w+ need not go as far: at the published rate of w SAM's edits of cars and cats
# go 15 % further for 0.15 dB (Figure 8), those of horses and faces as far.
# Features deviate by 0.2 over images in F4 and F6, 0.1 in F8 and 0.05 in F10: at the published rate of 0.05 F10 came after F8.
INVERSION = {"weights": Weights(l2=5, gaussian=1e-12, spread=1e-4), "learning_rate": 0.2,
             "delta_learning_rate": {"F4": 0.05, "F6": 0.05, "F8": 0.02, "F10": 0.006}}
SAM_RATE = 0.05


def scenes(category: str, indices, size: int, seed: int, device, challenging: bool = False, chunk: int = 64, fused: bool = False):
    """Rendered scenes on `device`: images (N, 3, H, W) and segments (N, H, W) as uint8, factors name -> (N,) on the CPU.
    fused: compile the distance field, on CUDA, which takes half a minute and pays from 5,000 scenes on."""
    parts = []
    for start in tqdm(range(0, len(indices), chunk), desc="rendering", mininterval=5):
        part = render(category, seed, indices[start:start + chunk], size, challenging, device, compile=fused)
        parts.append((as_uint8(part.images), part.segments.byte(), part.factors))
    factors = {name: torch.cat([p[2][name].cpu() for p in parts]) for name in parts[0][2]}
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts]), factors


def kept_scenes(category, out, indices, size, device, fused):
    """The images of scenes for the GAN (N, 3, size, size), rendered once and kept in a file, for as long as the code draws the same."""
    file = out / "scenes" / f"{category}-{size}-{indices[0]:06d}-{indices[-1]:06d}-{records.code_of_scenes()}.safetensors"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        with paths.atomic_file(file) as temporary:
            save_file({"images": scenes(category, indices, size, GAN_SEED, device, fused=fused)[0]}, temporary)
    return load_file(file, device=str(device))["images"]


def train_gan(category, out, profile, device, seconds=float("inf"), start=None, warm=0.0):
    """The generator. Each process of a torchrun renders its own share of the scenes, once: a file keeps them."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        torch.cuda.set_device(rank)
        device = torch.device("cuda", rank)
        distributed.init_process_group("nccl", device_id=device)
    settings = profile["gan"]
    begin = time.monotonic()
    shards = [range(i, min(i + SHARD, profile["scenes"])) for i in range(rank * SHARD, profile["scenes"], world * SHARD)]
    images = torch.cat([kept_scenes(category, out, shard, settings.resolution, device, len(shards) > 4) for shard in shards])
    numbers = codes(category, GAN_SEED, [i for shard in shards for i in shard])[0]
    seconds -= time.monotonic() - begin

    def report(training, row):
        print(row, flush=True)
        if (training.steps + training.warm_steps) % 1000 == 0:
            z = torch.randn(24, training.ema.z_dim, generator=torch.Generator().manual_seed(0)).to(device)
            samples = training.ema.synthesis(training.ema.mapping(z), noise="const").clamp(-1, 1)
            save_grid(samples, out / f"samples-{training.steps + training.warm_steps:06d}.jpg", 8)

    lesson = None if start else codes(category, GAN_SEED, range(profile["lesson"]))
    gan.train(images, out, settings, seconds, numbers, lesson, start, warm, on_report=report)
    if world > 1:
        distributed.destroy_process_group()


def train_segmenter_stage(category, out, profile, device):
    half, size = profile["networks"] // 2, profile["gan"].resolution
    plain = scenes(category, range(half), size, NETWORK_SEED, device)
    hard = scenes(category, range(half, 2 * half), size, NETWORK_SEED, device, challenging=True)
    images, segments = (torch.cat([a, b]) for a, b in zip(plain[:2], hard[:2]))
    model, _ = train_segmenter(images, segments, SEGMENTS[category], steps=profile["network_steps"], device=device)
    test = range(profile["test"])
    measured = {kind: evaluate_segmenter(model, *scenes(category, test, size, TEST_SEED, device, kind == "challenging")[:2])
                for kind in ("ordinary", "challenging")}
    model.save(out / "segmenter.safetensors")
    write_json(out / "segmenter.json", measured)


def train_factors_stage(category, out, profile, device):
    """On ordinary and challenging scenes alike, as edits of both are measured: one that has seen the ordinary alone reads half of a
    difference of colour between two challenging ones (figures/training/cars.md)."""
    size, count = profile["gan"].resolution, profile["regressor"]

    def drawn(indices, seed, kind):
        images, _, factors = scenes(category, indices, size, seed, device, kind == "challenging", fused=len(indices) > 5000)
        return images, factors

    kinds = {"ordinary": range(count), "challenging": range(count, 2 * count)}
    images, factors = zip(*(drawn(indices, NETWORK_SEED, kind) for kind, indices in kinds.items()))
    factors = {name: torch.cat([one[name] for one in factors]) for name in factors[0]}
    model, _ = train_factors(torch.cat(images), factors, steps=profile["regressor_steps"], device=device)
    model.save(out / "factors.safetensors")
    test = range(4 * profile["test"])
    write_json(out / "factors.json", {kind: evaluate_factors(model, *drawn(test, TEST_SEED, kind)) for kind in kinds})


def invert_stage(category, out, profile, device, part=0, parts=1):
    """Single-space inversions of scenes, half of them challenging (Sec. 3.1), and of the held-out test scenes."""
    generator, metric, options = inverter(out, profile, device)
    domain = load_domain(out, device) if profile["from_encoders"] else None
    if not domain:
        options["delta_learning_rate"] = DELTA_RATE  # these runs are short and begin far away, where F10, too, gets further with it
    for name, seed, count in (("inversions", INVERSION_SEED, profile["inversions"]), ("test", TEST_SEED, profile["test"])):
        for kind in ("challenging", "ordinary"):
            indices = range(part, count // (2 if name == "inversions" else 1), parts)
            images, _, _ = scenes(category, indices, generator.resolution, seed, device, kind == "challenging")
            start = None if domain else w_of(generator, category, seed, indices)
            inversion_dataset(generator, metric, images, out / f"{name}-{kind}-{part}", steps=profile["inversion_steps"],
                              shard=20, start=start, domain=domain, compiled=device.type == "cuda", **options)


def inverter(out, profile, device):
    generator, metric = load_generator(out / "generator.safetensors").to(device), Metric(profile["metric"]).to(device)
    options = dict(INVERSION)
    if device.type == "cuda":
        generator, metric = generator.to(memory_format=torch.channels_last), metric.to(memory_format=torch.channels_last)
        options["precision"] = torch.bfloat16
    return generator, metric, options


def architecture(profile) -> dict:
    """What `train_predictor` makes S of, and how it is trained."""
    return {"recipe": "fine-tune", **imagenet()} if profile["backbone"] == LITE else {"backbone": profile["backbone"]}


def lesson_stage(category, out, profile, device):
    """S as it begins: taught by many scenes drawn from their codes alone, which cost one pass each. It knows nothing of `inversions`, so
    both can be made at once."""
    first, count = profile["inversions"], profile["predictor_lesson"] // 2
    if not count:
        return  # then S begins from nothing
    generator, metric, _ = inverter(out, profile, device)
    parts = []
    for indices, challenging in ((range(first, first + count), False), (range(first + count, first + 2 * count), True)):
        images = scenes(category, indices, generator.resolution, INVERSION_SEED, device, challenging)[0]
        parts.append((images, first_errors(generator, metric, images, w_of(generator, category, INVERSION_SEED, indices))))
    images, errors = (torch.cat(column) for column in zip(*parts))
    model, _ = train_predictor(images, errors.expand(-1, len(generator.spaces), -1, -1), generator.spaces,
                               steps=profile["predictor_steps"], device=device, **architecture(profile))
    model.save(out / "predictor-before.safetensors")


def train_predictor_stage(category, out, profile, device):
    """S, from predictor-before.safetensors on where it is there: that of the lesson, or an earlier one."""
    data = load_inversions(sorted(out.glob("inversions-*/*.safetensors")))
    before = out / "predictor-before.safetensors"
    options = dict(spaces=data["spaces"], steps=profile["predictor_steps"], device=device, **architecture(profile))
    start = InvertibilityPredictor.load(before, device) if before.is_file() else None
    model, history = train_predictor(data["images"], data["error_maps"], start=start, **options)
    model.save(out / "predictor.safetensors")
    measured = {"loss": float(history["loss"][-50:].mean())}
    for kind in ("ordinary", "challenging"):
        test = load_inversions(sorted(out.glob(f"test-{kind}-*/*.safetensors")))
        measured[kind] = evaluate_predictor(model, test["images"], test["error_maps"])
        measured[kind]["psnr"] = dict(zip(data["spaces"], test["psnr"].mean(0).tolist()))
    write_json(out / "predictor.json", measured)


def directions_stage(category, out, profile, device):
    """Supervised directions for the edits, from factors read off generated images, and the first of PCA."""
    generator = load_generator(out / "generator.safetensors").to(device)
    regressor = FactorRegressor.load(out / "factors.safetensors", device)
    w = find.sample_w(generator, profile["codes"])
    with torch.inference_mode():
        read = torch.cat([regressor(generator.synthesis(part[:, None].expand(-1, generator.num_layers, -1), noise="none")
                                    .clamp(-1, 1)) for part in w.split(64)])
    free = [i for i, name in enumerate(regressor.names) if name not in DEPENDENT[category]]
    solved = dict(zip([regressor.names[i] for i in free], find.supervised(w, read[:, free])))
    results, measured = {}, {}
    for name, wanted in EDITS[category].items():
        direction = sum(amount * solved[factor] for factor, amount in wanted.items())
        asked = change_asked(category, name, regressor.names).to(w)
        rows = find.choose_rows(generator, regressor, w[:64], direction, asked)
        results[name] = find.to_rows(direction, rows, generator.num_layers)
        change = find.effect(generator, regressor, w[:256], results[name])
        measured[name] = {"rows": [rows.start, rows.stop], "effect": dict(zip(regressor.names, change.tolist())),
                          "spaces": find.allowed_in(generator, regressor, w[:64], results[name], asked)}
    components, _ = find.pca(generator, 4)
    for i, component in enumerate(components):
        results[f"pca{i + 1}"] = find.to_rows(component, range(generator.num_layers), generator.num_layers)
    save_tensors(results, out / "directions.safetensors", half=False)
    write_json(out / "directions.json", measured)


@torch.inference_mode()
def generator_stage(category, out, profile, device, count=2048):
    """KID beside that of two sets of renders, the spread of each factor, and a grid to look at."""
    count = min(count, profile["codes"])
    generator = load_generator(out / "generator.safetensors").to(device)
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(1)).to(device)
    fakes = torch.cat([as_uint8(generator.synthesis(generator.mapping(part), noise="const")) for part in z.split(64)])
    reals = scenes(category, range(2 * count), generator.resolution, TEST_SEED, device)[0]
    features = ImageFeatures().to(device)
    fake, one, two = (features.of(x) for x in (fakes, reals[:count], reals[count:]))
    regressor = FactorRegressor.load(out / "factors.safetensors", device)
    read = [dict(zip(regressor.names, predict(regressor, x).unbind(1))) for x in (fakes, reals)]
    write_json(out / "generator.json", {"kid": kid(fake, one), "kid_renders": kid(two, one), "images": count,
                                        "spread": factor_spread(*read)})
    save_grid(torch.cat([fakes[:32], reals[:32]]).float() / 127.5 - 1, out / "generated-rendered.png", 8)


def save_grid(images, path, columns):
    from torchvision.utils import make_grid

    from ..images import write_image

    write_image(path, make_grid(images.cpu(), columns, padding=2, pad_value=1.0)[None])


def domain_stage(category, out, profile, device):
    """domain.json, with the tau that wins half of what the last space wins over W+ on the challenging test scenes. Inversions begin at the
    mean w; "start" and what else may stand there is for whoever has measured it."""
    predictor = InvertibilityPredictor.load(out / "predictor.safetensors", device)
    segmenter = Tidy(SceneSegmenter.load(out / "segmenter.safetensors", device))
    tau = threshold.choose(predictor, segmenter, load_inversions(sorted(out.glob("test-challenging-*/*.safetensors"))))
    recipe = INVERSION | {"sam_learning_rate": SAM_RATE, "weights": asdict(INVERSION["weights"])}
    write_json(out / "domain.json", {"tau": tau, "metric": profile["metric"], **recipe})


def write_json(path, values):
    records.write_json(path, values)
    print(path.name, json.dumps(values), flush=True)


STAGES = {
    "gan": (train_gan, "generator.safetensors"),
    "segmenter": (train_segmenter_stage, "segmenter.safetensors"),
    "factors": (train_factors_stage, "factors.safetensors"),
    "lesson": (lesson_stage, "predictor-before.safetensors"),
    "inversions": (invert_stage, None),  # resumes by itself, file by file
    "predictor": (train_predictor_stage, "predictor.safetensors"),
    "encoders": (train_encoders_stage, "encoders.json"),
    "directions": (directions_stage, "directions.safetensors"),
    "generator": (generator_stage, "generator.json"),
    "domain": (domain_stage, "domain.json"),
}


def train(category: str, out, stages=tuple(STAGES), profile: str | dict = "full", device=None, **options):
    """Runs `stages` in order into the folder `out`; a stage whose file is there is skipped. Prints what it measures.
    profile: a key of PROFILES, or settings like theirs."""
    if category not in SEGMENTS:
        raise ValueError(f"no category {category!r}; there are {', '.join(SEGMENTS)}")
    if unknown := [s for s in stages if s not in STAGES]:
        raise ValueError(f"no stage {', '.join(unknown)}; there are {', '.join(STAGES)}")
    takes = {"gan": ("seconds", "start", "warm"), "inversions": ("part", "parts")}
    run_stages(stages, STAGES, category, out, PROFILES[profile] if isinstance(profile, str) else profile, device, takes, options)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m samlib.training.category", description=__doc__.split("\n")[0])
    parser.add_argument("category", choices=list(SEGMENTS))
    add_options(parser, STAGES, PROFILES)
    parser.add_argument("--warm", type=float, default=1.0, help="share of the warm-up that the --generator counts for")
    a, profile = parse(parser, arguments, STAGES, PROFILES)
    train(a.category, a.out, a.stages, profile, seconds=a.seconds, start=a.start, warm=a.warm, part=a.part, parts=a.parts)


if __name__ == "__main__":
    main()
