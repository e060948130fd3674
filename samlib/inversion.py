"""The Inversion record: what every method of inversion returns, and what every edit starts from."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from .checkpoints import load_tensors, save_tensors

FORMAT = "samlib inversion 1"
BATCHED = ("w_plus", "images", "inputs", "valid", "layer_map", "segments", "error_maps", "tau")
BY_SPACE = ("deltas", "masks")
BY_NAME = (*BY_SPACE, "tuned")
TEXTS = ("domain", "method", "noise")


@dataclass
class Inversion:
    """phi = {w_plus, deltas} of n images (Sec. 3.3), with the masks that form them and how they were found.

    w_plus       (N, L, D)
    images       (N, 3, H, W) in [-1, 1], the images that phi forms
    deltas       space name -> delta_f (N, C, h, w); spaces that no mask uses are absent
    masks        space name -> m_l (N, 1, h, w) in [0, 1], for the same spaces
    inputs       (N, 3, H, W) in [-1, 1], the images that were inverted
    valid        (N, 1, H, W), 1 where they were not padded, and only there `images` resemble them; None: everywhere
    layer_map    (N, H, W) index into `spaces`; segments (N, H, W) ids; error_maps (N, S, H, W); tau (N,)
    losses       name of a term -> (steps, N), unweighted
    tuned        what PTI adds to the generator for each image: name of a weight of its synthesis network -> (N, ...) in 16 bits
    spaces       names of the candidate spaces, in order
    noise        how the generator's noise was set: "none" or "const"; edits use the same

    Fields that a method does not have are None or empty. `inversion[i]` is the i-th alone, still a batch of one;
    `inversion[a:b]` a part.
    """

    w_plus: Tensor
    images: Tensor
    deltas: dict[str, Tensor] = field(default_factory=dict)
    masks: dict[str, Tensor] = field(default_factory=dict)
    inputs: Tensor | None = None
    valid: Tensor | None = None
    layer_map: Tensor | None = None
    segments: Tensor | None = None
    error_maps: Tensor | None = None
    tau: Tensor | float | None = None
    losses: dict[str, Tensor] = field(default_factory=dict)
    tuned: dict[str, Tensor] = field(default_factory=dict)
    spaces: tuple[str, ...] = ()
    domain: str = ""
    method: str = ""
    noise: str = "none"

    def __post_init__(self):
        if self.tau is not None:
            self.tau = torch.as_tensor(self.tau, dtype=torch.float32).expand(len(self)).clone()
        self.spaces = tuple(self.spaces)
        self._check()

    def __len__(self) -> int:
        return self.w_plus.shape[0]

    def __getitem__(self, index: int | slice) -> "Inversion":
        chosen = range(len(self))[index]  # an IndexError here ends `for one in inversion`
        part = slice(chosen, chosen + 1) if isinstance(chosen, int) else index
        return self._map(lambda x: x[part], lambda x: x[:, part])

    def to(self, device) -> "Inversion":
        """The same on `device`."""
        return self._map(lambda x: x.to(device), lambda x: x.to(device))

    def repeat(self, k: int) -> "Inversion":
        """k copies, one batch after the other: image i stands at i, n + i, 2n + i, ..."""
        return self._map(lambda x: x.repeat(k, *[1] * (x.ndim - 1)), lambda x: x.repeat(1, k))

    def _map(self, batched, history) -> "Inversion":
        """A copy with `batched` applied to every tensor that has the images first, `history` to every loss."""
        changed = {name: batched(getattr(self, name)) for name in BATCHED if getattr(self, name) is not None}
        changed |= {name: {k: batched(x) for k, x in getattr(self, name).items()} for name in BY_NAME}
        return replace(self, **changed, losses={k: history(x) for k, x in self.losses.items()})

    def generators(self, generator) -> Iterator[tuple[torch.nn.Module, slice]]:
        """The generator that forms each part of the batch: `generator` for all, or for each image a copy that was tuned."""
        if not self.tuned:
            yield generator, slice(None)
            return
        for i in range(len(self)):
            own = copy.deepcopy(generator)
            with torch.no_grad():
                for name, weight in own.synthesis_network.named_parameters():
                    weight += self.tuned[name][i].to(weight)
            yield own, slice(i, i + 1)

    def save(self, path) -> None:
        """Write everything, exactly, as one safetensors file: under a temporary name first, then renamed."""
        tensors = {name: getattr(self, name) for name in BATCHED if getattr(self, name) is not None}
        for group in (*BY_NAME, "losses"):
            tensors |= {f"{group}/{name}": x for name, x in getattr(self, group).items()}
        header = {"kind": FORMAT, "spaces": "\n".join(self.spaces), **{name: getattr(self, name) for name in TEXTS}}
        save_tensors(tensors, path, header, half=False)

    @classmethod
    def load(cls, path) -> "Inversion":
        """Read what `save` wrote, onto the CPU. One-line ValueError for any other file, FileNotFoundError for none."""
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; want an inversion written by Inversion.save")
        try:
            tensors, header = load_tensors(path)
            if header.get("kind") != FORMAT:
                raise ValueError(f"it is marked {header.get('kind', 'nothing')!r}, not {FORMAT!r}")
            values = {"spaces": header.get("spaces", "").split(), **{name: header[name] for name in TEXTS if name in header}}
            for key, tensor in tensors.items():
                group, _, name = key.partition("/")
                if group in (*BY_NAME, "losses") and name:
                    values.setdefault(group, {})[name] = tensor.half() if group == "tuned" else tensor
                elif key in BATCHED:
                    values[key] = tensor
                else:
                    raise ValueError(f"unknown tensor {key!r}")
            found = cls(**values)
            found._check_values()
            return found
        except (ValueError, TypeError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{path}: not an inversion ({reason}); want a file written by Inversion.save") from None

    def _check(self):
        """One ValueError for parts that do not belong together."""
        if self.w_plus.ndim != 3:
            raise ValueError(f"w_plus has shape {tuple(self.w_plus.shape)}; want (N, L, D)")
        dimensions = dict(images=4, inputs=4, valid=4, layer_map=3, segments=3, error_maps=4)
        parts = {name: (getattr(self, name), wanted) for name, wanted in dimensions.items()}
        parts |= {f"{group} of {k}": (x, 4) for group in BY_SPACE for k, x in getattr(self, group).items()}
        for name, (x, wanted) in parts.items():
            if x is not None and (x.ndim != wanted or len(x) != len(self)):
                raise ValueError(f"{name}: shape {tuple(x.shape)}; want {wanted} dimensions, {len(self)} first")
        if bare := {*self.deltas} - {*self.masks}:
            raise ValueError(f"deltas of {', '.join(sorted(bare))} without masks; want a mask for each")
        if self.layer_map is not None and self.layer_map.is_floating_point():
            raise ValueError(f"layer_map holds {self.layer_map.dtype}; want whole numbers, indices into the spaces")
        for name, x in self.tuned.items():
            if x.ndim < 1 or len(x) != len(self):
                raise ValueError(f"tuned {name}: shape {tuple(x.shape)}; want {len(self)} first")
        for name, x in self.losses.items():
            if x.ndim != 2 or x.shape[1] != len(self):
                raise ValueError(f"losses of {name}: shape {tuple(x.shape)}; want (steps, {len(self)})")

    def _check_values(self):
        """ValueError for what no inversion can be edited with. Of a file alone, since it reads the numbers: in a run they are our own, and
        one image that diverged leaves the others."""
        if not self.w_plus.isfinite().all():
            raise ValueError("w_plus is not finite")
        if self.layer_map is not None and self.spaces and self.layer_map.numel():
            low, high = map(int, self.layer_map.aminmax())
            if low < 0 or high >= len(self.spaces):
                raise ValueError(f"layer_map names spaces {low} to {high}; want 0 to {len(self.spaces) - 1}")


def closest(inversions: list[Inversion], valid: Tensor | None = None) -> Inversion:
    """Of several Inversions of the same images, for each image the one whose picture is closest to it, by l2.

    valid (N, 1, H, W): 1 where the images were not padded, which is where they are compared; None: everywhere."""
    if len(inversions) == 1:
        return inversions[0]
    errors = torch.stack([_distance(one, valid) for one in inversions])
    return joined([inversions[best][i] for i, best in enumerate(errors.argmin(0).tolist())])


def _distance(one: Inversion, valid: Tensor | None) -> Tensor:
    error = (one.images - one.inputs).square()
    return error.mean((1, 2, 3)) if valid is None else (error.mean(1, True) * valid).sum((1, 2, 3)) / valid.sum((1, 2, 3))


def joined(inversions: list[Inversion]) -> Inversion:
    """One batch of several; a space that one of them does not use gets zeros there, which changes nothing."""
    if len(inversions) == 1:
        return inversions[0]
    first = inversions[0]
    if any(one.valid is not None for one in inversions):  # None is valid everywhere
        inversions = [replace(one, valid=torch.ones_like(one.images[:, :1]) if one.valid is None else one.valid) for one in inversions]
    values = {name: torch.cat([getattr(one, name) for one in inversions]) for name in BATCHED
              if all(getattr(one, name) is not None for one in inversions)}
    for group in BY_NAME:
        values[group] = {name: torch.cat(parts) for name, parts in _by_name(inversions, group).items()}
    # runs that were stopped have shorter histories: only the steps that all have
    values["losses"] = {name: torch.cat([part[:min(map(len, parts))] for part in parts], 1)
                        for name, parts in _by_name(inversions, "losses").items()}
    texts = {name: getattr(first, name) for name in ("spaces", "domain", "method", "noise")}
    return Inversion(**values, **texts)


def _by_name(inversions, group):
    """name -> the tensor of each inversion, zeros for each of its images where it has none."""
    def zeros(x, n):
        return x.new_zeros(len(x), n) if group == "losses" else x.new_zeros(n, *x.shape[1:])

    known = {name: x for one in inversions for name, x in getattr(one, group).items()}
    return {name: [getattr(one, group).get(name, zeros(x, len(one))) for one in inversions] for name, x in known.items()}
