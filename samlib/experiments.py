"""What the paper's notebooks share: the images they measure on, inversions that are kept on disk, and the record of a result.

    inputs(domain, kind, count, seed) -> Inputs -> inverted(domain, images, method) -> Inversion -> record(name, numbers, parameters)
"""

import json
import platform
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from samlib import figures, kept, memory, methods, metrics, paths, scenes
from samlib.images import read_image, to_aspect, to_square
from samlib.inversion import Inversion, joined
from samlib.scenes import classes

HELD_OUT = 100  # added to a notebook's seed: the trainings drew their scenes from seeds 0 to 4
COMPILE_FROM = 50_000  # steps of single images, of which compiling spares 30 s on an H200; it takes 15 to 25 s, the first time two minutes
ONE_IMAGE = 0.6e9  # bytes that inverting one of 256 px takes at most: 100 of them, compiled, took 30 GB of an H100; 50, not compiled, 25
STARTED = time.perf_counter(), time.process_time()  # of this process, so of the notebook


@dataclass(frozen=True)
class Inputs:
    """Images (N, 3, R, R) in [-1, 1] and what is known of them; of photographs, segments and factors are not known.

    names  one for each image; segments (N, R, R) ids of the true parts; factors: name -> (N,).
    """

    images: Tensor
    names: tuple[str, ...]
    segments: Tensor | None = None
    factors: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self):
        return len(self.images)


def inputs(domain, kind="challenging", count=1, seed=0, first=0) -> Inputs:
    """`count` images for a domain, from the `first` on, the same for the same seed, and none that a training saw.

    kind  "challenging" or "ordinary": scenes of a built-in category, or of the classes of a generator in turn; anything else: a
          folder of images, in the order of names.
    """
    size, indices = domain.generator.resolution, range(first, first + count)
    if kind in ("challenging", "ordinary"):
        how = dict(seed=HELD_OUT + seed, indices=indices, size=size, challenging=kind == "challenging", device=domain.device)
        names = getattr(domain.generator, "names", None) or ()
        if domain.name in scenes.FACTORS:
            drawn = scenes.render(domain.name, **how)
        elif names and {*names} <= {*classes.names()}:
            drawn = classes.in_turn(names, **how)
        else:
            raise ValueError(f"{kind} scenes are there for {', '.join(scenes.FACTORS)}, not for {domain.name!r}; name a folder of images")
        return Inputs(drawn.images.clone(), tuple(f"{kind}-{seed}-{i}" for i in indices), drawn.segments, drawn.factors)
    folder = Path(kind)
    files = sorted(path for path in folder.glob("*") if path.is_file() and not path.name.startswith("."))
    if len(files) < first + count:
        raise ValueError(f"{folder} has {len(files)} images; {first + count} are wanted: ask for fewer, or name another folder")
    if domain.aspect:  # cut to it: what pads an image inside of the domain's frame would be inverted and measured as image
        images = [to_square(to_aspect(read_image(files[i]), domain.aspect), size, "pad")[0] for i in indices]
    else:
        images = [read_image(files[i], size) for i in indices]
    return Inputs(torch.cat(images).to(domain.device), tuple(files[i].name for i in indices))


def missing(domain, images, method="sam", **options) -> list[int]:
    """Which of the images have no inversion on disk yet, by their place."""
    return [i for i, key in enumerate(kept.keys(domain, images, method, options)) if not kept.file_of(key).is_file()]


def inverted(domain, images, method="sam", *, batch=None, compute=True, holes=False, brief=False, progress=False,
             **options) -> Inversion:
    """`domain.invert(images, method, **options)`, each image kept on disk, so that it is made once and shared by all notebooks.

    Images are made `batch` at a time (None: as many as suit the device), on a GPU in 16 bits and, where there are enough of them,
    compiled. They are written one by one under a temporary name first: killed anywhere and called again, the result is the
    same. A batch for which the GPU has no memory is made in halves. One that fails is noted with its traceback in
    `kept.failures()`, the others go on, and in the end one RuntimeError says how many are missing.
    options  those of Domain.invert, but precision and compiled; what has the images first, such as layer_map (N, R, R), is cut up
             with them.
    compute  False only reads. holes=True gives what there is, in order, without the missing (`missing` says which). brief=True leaves
             out what only forms and edits an image again: the changes of features, and the tuned weights of PTI, 11 MB an image.
    """
    keys, batch = kept.keys(domain, images, method, options), batch or _batch_of(domain)
    steps = domain.steps if options.get("steps") is None else options["steps"]
    todo = [i for i, key in enumerate(keys) if not kept.file_of(key).is_file()] if compute else []
    pays = domain.device.type == "cuda" and len(todo) * methods.steps_in_all(method, steps) >= COMPILE_FROM
    parts = _batches(todo, batch)
    while parts:
        part = parts.pop(0)
        try:
            call = {**kept.rows(options, part, len(images)), "progress": progress, "precision": kept.precision_of(domain),
                    "compiled": pays and len(part) == batch}
            if call["compiled"] and part == todo[:batch]:
                domain.invert(images[part], method, **{**call, "steps": 4})  # all shapes, so that compiling is not in the time below
            clock = _clock(domain)
            begun = clock()
            found = domain.invert(images[part], method, **call)
            done = max(map(len, found.losses.values()), default=0)
            if done < methods.steps_in_all(method, steps):
                raise KeyboardInterrupt(f"{method} was stopped after {done} steps")  # an early result is not kept
            seconds = (clock() - begun) / len(part)
            for place, one in zip(part, found.to("cpu")):
                kept.write(keys[place], one, {"method": method, "domain": domain.name, "seconds": seconds})
        except Exception as error:
            if isinstance(error, torch.cuda.OutOfMemoryError) and len(part) > 1:  # another process has taken what was free
                parts[:0] = _batches(part, (len(part) + 1) // 2)
            else:
                _note_failure(domain=domain.name, method=method, keys=[keys[i] for i in part], error=repr(error))
    there = [i for i, key in enumerate(keys) if kept.file_of(key).is_file()]
    if not there or (len(there) < len(keys) and not holes):
        raise RuntimeError(f"{len(keys) - len(there)} of {len(keys)} inversions by {method} are missing in {kept.folder()}"
                           + (f"; {_last_failure()}" if compute else "; run them first, or take what there is with holes=True"))
    return joined([kept.read(keys[i], images[i:i + 1], brief) for i in there]).to(domain.device)


def seconds(domain, images, method="sam", *, holes=False, **options) -> list[float]:
    """What each of the inversions took, its share of a batch; as `inverted` noted it when it made them. holes: as there.

    On a GPU by the clock; on a CPU the time of its cores, which other programs do not change.
    """
    files = [kept.file_of(key) for key in kept.keys(domain, images, method, options)]
    return [json.loads(file.with_suffix(".json").read_text())["seconds"] for file in files if file.is_file() or not holes]


def measured(domain, images, method="sam", *, batch=None, compute=True, holes=False, progress=False, **options) -> dict[str, list[float]]:
    """How close `inverted` comes to the images, and in what time; kept on disk, too, where it stays when the inversions are gone, of
    which 1,000 of PTI are 11 GB.

    psnr, lpips (by the domain's metric), seconds  of each image, (N,)
    reached  see `metrics.reached`; [] of an encoder
    batch, compute, holes, progress  of `inverted`; what is measured with holes is not kept.
    """
    file = kept.measures(kept.keys(domain, images, method, options))
    if not file.is_file():
        found = inverted(domain, images, method, batch=batch, compute=compute, holes=holes, brief=True, progress=progress, **options)
        row = plain({**metrics.closeness(found, domain.metric), "seconds": seconds(domain, images, method, holes=holes, **options),
                     "reached": metrics.reached(found)})
        if len(found) < len(images):
            return row
        with paths.atomic_file(file) as temporary:
            temporary.write_text(json.dumps(row) + "\n")
    return json.loads(file.read_text())


def record(name, numbers: Mapping, parameters: Mapping, figure=None, domain=None, folder=None) -> Path:
    """Write a result: `<stem>.json` and, of a figure, `<stem>.png` and `<stem>.pdf` -> path of the JSON.

    The stem is `name`, followed by the domain's name where the parameters have a `domain`: fig03-cars. A `domain` that is
    empty stands for all of them: fig05.
    They go where `paths.results` says, by the `profile` of the parameters.
    numbers     of any depth: tensors, numbers, text. What is no number (NaN) is written as null.
    parameters  those of the notebook, its seed among them.
    domain      a Domain, or several, whose weights' digests are written down.
    """
    folder = Path(folder or paths.results(parameters.get("profile")))
    stem = f"{name}-{Path(parameters['domain']).name}" if parameters.get("domain") else name
    domains = [domain] if hasattr(domain, "generator") else list(domain or ())
    wall, cpu = time.perf_counter() - STARTED[0], time.process_time() - STARTED[1]
    content = {"name": name, "numbers": plain(numbers), "parameters": plain(parameters),
               "digests": {one.name: kept.digests(one) for one in domains}, "seconds": round(wall, 1), "cpu_seconds": round(cpu, 1),
               "device": _device(domains), "torch": torch.__version__}
    if figure is not None:
        figures.save(figure, folder / f"{stem}.png", pdf=True)
    with paths.atomic_file(folder / f"{stem}.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
    return folder / f"{stem}.json"


def plain(value):
    """`value` as JSON can hold it; floats to six digits, NaN and infinities as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # tensors and numpy
        return plain(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if abs(value) < float("inf") else None
    if hasattr(value, "__dataclass_fields__"):
        return plain(asdict(value))
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _clock(domain):
    """A function that reads the time that the domain's device has worked."""
    def read():
        if domain.device.type == "cuda":
            torch.cuda.synchronize(domain.device)  # what was asked for may still be under way
        return time.perf_counter()

    return time.process_time if domain.device.type == "cpu" else read


def _batch_of(domain) -> int:
    """16 on a CPU; on a GPU 100 of 256 px, or as many pixels, and no more than its memory holds."""
    return memory.fits(domain.generator, 100, ONE_IMAGE) if domain.device.type == "cuda" else 16


def _batches(indices, size):
    return [indices[i:i + size] for i in range(0, len(indices), size)]


def _note_failure(**row):
    """A line in `kept.failures()`, with the traceback of the error at hand."""
    with open(kept.failures(), "a") as file:
        file.write(json.dumps({**row, "traceback": traceback.format_exc()}) + "\n")


def _last_failure():
    if not kept.failures().is_file():
        return "nothing failed, so another process removed them"
    last = json.loads(kept.failures().read_text().splitlines()[-1])
    return f"the last failure: {last['error']} (all are in {kept.failures()})"


def _device(domains):
    if domains and domains[0].device.type == "cuda":
        return torch.cuda.get_device_name(domains[0].device)
    return f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"
