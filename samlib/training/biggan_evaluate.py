"""What a trained biggan-scenes can do: a grid of its classes, how well each space fits, and what a change of class keeps."""

from pathlib import Path

import torch

from .. import figures
from ..domains import load
from ..edit import edit
from ..inversion import joined
from ..metrics import psnr
from ..scenes import render
from ..scenes.classes import CLASSES
from .category import TEST_SEED, write_json
from .factors import FactorRegressor
from .loop import as_float

EVALUATION_SEED = TEST_SEED + 1  # tau was chosen on the test scenes
KEEPS = 0.5  # standard deviations of the data: a factor that moved less has been kept


@torch.inference_mode()
def class_grid(generator, columns: int = 8, seed: int = 0) -> torch.Tensor:
    """Images of `columns` z, one z a column, in every class, one class a row: (K * columns, 3, R, R)."""
    z = torch.randn(columns, generator.z_dim, generator=torch.Generator().manual_seed(seed)).to(generator.w_avg)
    return torch.cat([generator.synthesis(generator.mapping(z, classes=i)) for i in range(generator.config["classes"])])


def sheet(generator, columns: int = 5):
    """The figure of a class a row: `class_grid`, and beside it as many rendered scenes of the class."""
    drawn = class_grid(generator, columns).clamp(-1, 1).unflatten(0, (-1, columns)).cpu()
    scenes = [render(name, TEST_SEED, range(columns), generator.resolution).images.clamp(-1, 1) for name in generator.names]
    titles = [title if i == 0 else "" for title in ("generated", "rendered") for i in range(columns)]
    return figures.grid([torch.cat(pair) for pair in zip(drawn, scenes)], titles, list(generator.names))


@torch.inference_mode()
def told_right(generator, count: int = 64, seed: int = 1) -> dict[str, float]:
    """Share of generated images of each class that `generator.classify` finds to be of it."""
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(seed)).to(generator.w_avg)
    shares = [(generator.classify(generator.synthesis(generator.mapping(z, classes=i))) == i).double().mean()
              for i in range(generator.config["classes"])]  # fmt: skip
    return dict(zip(generator.names, map(float, shares)))


def next_of_kind(names) -> list[int]:
    """For each class the one after it that the same category draws, round and round: itself where there is no other. Classes
    that nothing here draws, as ImageNet's, are of one kind."""
    category = [CLASSES[name].category if name in CLASSES else None for name in names]
    count = len(names)
    return [next((i + k) % count for k in range(1, count + 1) if category[(i + k) % count] == category[i]) for i in range(count)]


def regressor_of_classes(domain) -> FactorRegressor | None:
    """The regressor of the factors that all classes of a domain have; None where there is no file of it."""
    file = (domain.folder or Path(domain.name)) / "factors.safetensors"
    return FactorRegressor.load(file, domain.device) if file.is_file() else None


def other_class(names) -> list[int]:
    """`next_of_kind`, and for a class that is alone of its kind the one after it."""
    return [(i + 1) % len(names) if other == i else other for i, other in enumerate(next_of_kind(names))]


@torch.inference_mode()
def as_classes(domain, inversion, wanted: torch.Tensor) -> torch.Tensor:
    """The images of an Inversion when the class embedding is that of the classes `wanted` (N,)."""
    change = {"class": domain.generator.class_direction(inversion.w_plus, wanted)}
    return edit(domain.generator, inversion, change, {"class": 1.0})


@torch.inference_mode()
def changes(domain, regressor, inversion, wanted: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of each of some inverted images (N,), asked to be of the classes `wanted` (N,): whether it is told to be of it (`changed`),
    whether it keeps its pose (`pose_kept`), and whether it does both. Images are compared with their inversions. regressor: of the
    factors, pose among them; None: nothing is said of the pose."""
    wanted = wanted.to(domain.device)
    images = as_classes(domain, inversion, wanted)
    found = {"changed": domain.generator.classify(images) == wanted}
    if regressor is not None:
        pose = regressor.names.index("pose")
        kept = (regressor(images) - regressor(inversion.images))[:, pose].abs() < KEEPS
        found |= {"pose_kept": kept, "both": found["changed"] & kept}
    return found


def class_change(domain, regressor, inversion, wanted: torch.Tensor) -> dict[str, float]:
    """The shares of images of which `changes` holds, and how many there are."""
    return in_shares(changes(domain, regressor, inversion, wanted))


def in_shares(found: dict[str, torch.Tensor]) -> dict[str, float]:
    """What `changes` gives, as the share of the images and their number."""
    return {name: float(x.double().mean()) for name, x in found.items()} | {"images": len(found["changed"])}


ROWS = {"z+": "Z+", "F2": "F2", "F4": "F4", "sam": "SAM", "sam-F2": "SAM, Z+ and F2"}  # of `inverted`, as its grid prints them


def evaluate_stage(classes, out, profile, device):
    """evaluation.json and grids: generated-rendered.jpg; inversions.png, rows: a challenging scene of each class, then `inverted` of it."""
    from .biggan_domain import scenes_of  # which lists this stage

    domain, regressor = load(out, device), FactorRegressor.load(out / "factors.safetensors", device)
    figures.save(sheet(domain.generator), out / "generated-rendered.jpg")
    easy, _, _, labels = scenes_of(classes, profile["test"], domain.generator.resolution, EVALUATION_SEED, device)
    hard = as_float(scenes_of(classes, profile["test"], domain.generator.resolution, EVALUATION_SEED, device, ("challenging",))[0])
    measured = {"images": len(hard), "steps": profile["steps"], "generated": told_right(domain.generator)}
    ordinary = domain.invert(as_float(easy), "z+", classes=labels, steps=profile["steps"])
    kin = torch.tensor(next_of_kind(classes))[labels]
    siblings = [i for i in range(len(labels)) if kin[i] != labels[i]]  # a face has none
    for name, chosen, wanted in (("of_its_kind", siblings, kin), ("any", [*range(len(labels))], (labels + 1) % len(classes))):
        if chosen:
            part = joined([ordinary[i] for i in chosen])
            measured[f"class_change_{name}"] = class_change(domain, regressor, part, wanted[chosen])
    found = inverted(domain, hard, profile["steps"])
    for method, inversion in found.items():
        quality = {"psnr": psnr(hard, inversion.images), "lpips": domain.metric(hard, inversion.images)}
        measured[method] = {name: float(values.mean()) for name, values in quality.items()}
    measured["sam-F2_over_z+"] = measured["sam-F2"]["psnr"] - measured["z+"]["psnr"]
    measured["shares"] = dict(zip([space.name for space in domain.spaces], shares(found["sam"].layer_map, len(domain.spaces))))
    each = slice(None, None, profile["test"])
    rows = {"input": hard[each], **{ROWS[name]: inversion.images[each] for name, inversion in found.items()}}
    figures.save(figures.grid([row.cpu() for row in rows.values()], list(classes), [*rows]), out / "inversions.png")
    write_json(out / "evaluation.json", measured)


def inverted(domain, images, steps: int) -> dict:
    """Inversions of images by "z+", "F2", "F4", "sam", and "sam-F2": its layer map without F4, whose segments go to F2."""
    found = {method: domain.invert(images, method, steps=steps) for method in ("z+", "F2", "F4", "sam")}
    return found | {"sam-F2": domain.invert(images, layer_map=found["sam"].layer_map.clamp(max=1), steps=steps)}


def shares(layer_map: torch.Tensor, spaces: int) -> list[float]:
    """The share of all pixels that each of so many spaces has."""
    return (torch.bincount(layer_map.flatten(), minlength=spaces) / layer_map.numel()).tolist()
