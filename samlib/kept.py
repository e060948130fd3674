"""Inversions on disk, one file for each image, under a key made of all that decides what is in it.

The key is a digest of the image, the method and its options, the domain's settings, the weights that the method reads, and
the code that it runs (comments and docstrings left out), so that no file is trusted by its name.
"""

import ast
import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from samlib import encode, methods, paths
from samlib.images import to_square
from samlib.inversion import Inversion, joined
from samlib.segmenters import Later

CODE = ("baselines", "biggan", "biggan_layers", "classifier", "devices", "domains", "encode", "encoder_networks", "features", "images",
        "inversion", "invertibility", "irse", "layer_map", "memory", "methods", "objective", "official", "optimize", "perceptual",
        "precision", "predict", "segmenters", "segmenters_photos", "spaces", "stylegan2")
SETTINGS = ("name", "tau", "steps", "weights", "delta_learning_rate", "start", "aspect", "view")
UNKEYED = ("batch", "brief", "callback", "compute", "holes", "progress")  # how an inversion is made or read, not what is in it
WHOLE = ("layer_map", "segments")  # numbers of spaces and of segments
LARGE = ("images", "error_maps", *WHOLE)
OF_A_PART = ("config", "name", "kind", "scale", "aspect", "truncation", "compute_dtype")  # what a module has beside its weights


def folder() -> Path:
    """Where they are; SAMLIB_CACHE moves it."""
    return paths.cache() / "inversions"


def failures() -> Path:
    """The file with one line of JSON for each batch that failed, its traceback included."""
    folder().mkdir(parents=True, exist_ok=True)
    return folder() / "failures.jsonl"


def file_of(key: str) -> Path:
    return folder() / key[:2] / f"{key}.safetensors"


def measures(keys: Iterable[str]) -> Path:
    """The file of what was measured on these inversions; by the code that measures, too."""
    key = digest(*keys, code_digest(Path(__file__).with_name("metrics.py")))
    return paths.cache() / "measures" / key[:2] / f"{key}.json"


def write(key: str, one: Inversion, note: dict) -> None:
    """Write the inversion of one image, for `read`, and the note beside it.

    Left out are the image itself, which whoever knows the key has, and the spaces that none of the masks uses; what is large has 16 bits.
    """
    used = {name for name, mask in one.masks.items() if mask.any()}
    parts = {"masks": {k: v for k, v in one.masks.items() if k in used}, "inputs": None,
             "deltas": {k: _in_16_bits(v) for k, v in one.deltas.items() if k in used}}
    parts |= {name: _in_16_bits(getattr(one, name)) for name in LARGE if getattr(one, name) is not None}
    with paths.atomic_file(file_of(key).with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(note) + "\n")
    replace(one, **parts).save(file_of(key))  # last: an inversion that is there has its note


def read(key: str, image: Tensor, brief: bool = False) -> Inversion:
    """What `write` wrote of an image (1, 3, H, W), on the CPU, in the types that it had; brief: without what forms it again."""
    one = Inversion.load(file_of(key))
    one = replace(one, deltas={}, masks={}, tuned={}) if brief else one
    whole = {name: getattr(one, name).long() for name in WHOLE if getattr(one, name) is not None}
    inputs, _ = to_square(image.detach().to("cpu", torch.float32), one.images.shape[-1], "pad")  # as `Domain.invert` made them
    return replace(one, inputs=inputs, **whole)


def _in_16_bits(x: Tensor) -> Tensor:
    """Rounded, or as it is where 16 bits cannot hold it."""
    small = x.half() if x.is_floating_point() else x.short()
    held = small.isfinite().all() if x.is_floating_point() else torch.equal(small.to(x), x)
    return small if held else x


def keys(domain, images: Tensor, method: str, options: dict) -> list[str]:
    """One key for each image."""
    if chosen := [name for name in ("precision", "compiled") if name in options]:
        raise ValueError(f"{' and '.join(chosen)} of what is kept on disk: the device decides; leave it out, or call Domain.invert")
    options = {name: value for name, value in options.items() if name not in UNKEYED}
    options = {"tau": domain.tau_of(method), "steps": domain.steps} | {k: v for k, v in options.items() if v is not None}
    if not by_tau(method, options):
        del options["tau"]
    settings = repr([(name, getattr(domain, name)) for name in SETTINGS if name not in ("tau", "steps")])
    settings += repr(domain.rate_of(method))
    shared = [settings, method, repr(precision_of(domain)), *parts_of(domain, method, options).values(), *map(code_digest, _code())]
    return [digest(*shared, of_tensor(images[i : i + 1]), of_options(rows(options, [i], len(images)))) for i in range(len(images))]


def by_tau(method: str, options: dict) -> bool:
    """Whether this call chooses spaces by S and tau."""
    return method in methods.BY_TAU and options.get("layer_map") is None


def precision_of(domain) -> torch.dtype | None:
    """In which kept inversions are computed: 16 bits on a GPU; None: as the weights are."""
    return torch.bfloat16 if domain.device.type == "cuda" else None


def rows(options: dict, part: list[int], count: int) -> dict:
    """The options for some of `count` images: what has the images first is cut up with them."""

    def cut(name, value):
        if isinstance(value, Inversion):
            return joined([value[i] for i in part])
        if isinstance(value, Tensor) and value.ndim and len(value) == count and (name != "layer_map" or value.ndim == 3):
            return value[part]
        of_each = isinstance(value, list | tuple) and len(value) == count and name != "start"  # which names encoders, for all
        return [value[i] for i in part] if of_each else value

    return {name: cut(name, value) for name, value in options.items()}


def digests(domain) -> dict[str, str]:
    """Name of a part of a domain -> digest of its weights, for the record of a result."""
    parts = {"generator": domain.generator, "metric": domain.metric, "predictor": domain.predictor,
             "segmenter": domain.segmenter, **domain.encoders}
    found = {name: of_module(part) for name, part in parts.items() if part is not None}
    return found | ({"directions": of_options(domain.directions)} if domain.directions else {})


def parts_of(domain, method: str, options: dict) -> dict[str, str]:
    """The digests of those parts that this call reads: of their weights and of what else they are set to."""
    wanted = {"generator": domain.generator, "metric": domain.metric}
    if by_tau(method, options):
        wanted |= {"predictor": domain.predictor, "segmenter": domain.segmenter}
    start = methods.STARTS.get(method, domain.start) if options.get("start") is None else options["start"]
    start = None if method in encode.ENCODERS else start
    for name in {method, *methods.encoders_in(start)} & {*encode.ENCODERS}:
        wanted[name] = domain.encoder(name)
    if options.get("classes") is None:  # then a BigGAN goes by the classes it was given, or asks its classifier
        wanted |= {name: getattr(domain.generator, name, None) for name in ("given", "classify")}
    return {name: digest(of_module(part), of_settings(part)) for name, part in sorted(wanted.items()) if part is not None}


def of_module(part) -> str:
    """Digest of a module's weights; of a segmenter that wraps one, of its settings and what it wraps."""
    part = getattr(part, "__self__", part)  # a module's method stands for the module
    if isinstance(part, Tensor):
        return digest(of_tensor(part))
    if isinstance(part, torch.nn.Module):
        return digest(type(part).__name__, *(x for name, value in part.state_dict().items() for x in (name, of_tensor(value))))
    if isinstance(part, Later):
        return digest("Later", part.key)  # what it holds is there only after its first call
    if part is None or isinstance(part, str | int | float | tuple | list):
        return repr(part)
    inner = sorted(getattr(part, "__dict__", {}).items())  # an object's own repr may hold its address
    return digest(getattr(part, "__qualname__", type(part).__name__), *(x for name, value in inner for x in (name, of_module(value))))


def of_settings(part) -> str:
    """The attributes OF_A_PART of a module and of those inside it. Apart from `of_module`, which records name the weights by."""
    part = getattr(part, "__self__", part)
    inside = part.modules() if isinstance(part, torch.nn.Module) else ()
    return repr([(name, getattr(module, name)) for module in inside for name in OF_A_PART if hasattr(module, name)])


def of_options(options: dict) -> str:
    """Digest of names and values: numbers, text, tensors, Inversions, lists of those."""

    def of(value):
        if isinstance(value, Inversion):
            return digest(*(of_tensor(x) for x in (value.w_plus, *value.deltas.values())), *value.deltas)
        if isinstance(value, Tensor):
            return of_tensor(value) if value.ndim else repr(value.item())
        return digest(*map(of, value)) if isinstance(value, list | tuple) else repr(value)

    return digest(*(part for name, value in sorted(options.items()) for part in (name, of(value))))


def of_tensor(x: Tensor) -> bytes:
    x = x.detach().cpu().contiguous()
    x = x.float() if x.dtype == torch.bfloat16 else x
    return f"{x.dtype} {tuple(x.shape)}".encode() + hashlib.sha256(x.numpy()).digest()


def digest(*parts: bytes | str) -> str:
    """SHA-256 of all parts, in hexadecimal."""
    found = hashlib.sha256()
    for part in parts:
        part = part.encode() if isinstance(part, str) else part
        found.update(len(part).to_bytes(8, "little") + part)
    return found.hexdigest()


def _code() -> Iterable[Path]:
    return [Path(__file__).with_name(f"{name}.py") for name in CODE]


@cache
def code_digest(file: Path) -> str:
    """Digest of what a file of Python does: comments, docstrings and the arrangement of lines do not count."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return digest(ast.dump(tree))
