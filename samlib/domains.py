"""A domain: a generator with all that inversion and editing need around it, by name. The flow of the method is here.

    image -> predicted error per space -> mean per segment -> layer map (tau) -> inversion -> edit -> image

Files of data/<name>/:  domain.json (tau, encoder_tau, metric, steps, learning_rate, sam_learning_rate, delta_learning_rate, start,
weights, strengths, left, aspect, view), generator.safetensors, predictor.safetensors (S), segmenter.safetensors, directions.safetensors
((L, D) each).
Where there is no segmenter.safetensors, domain.json may name one of `segmenters.NAMES` under "segmenter".
sam-encoder, e4e, restyle-psp, restyle-e4e.safetensors: the encoders, read when first asked for. A BigGAN has a
classifier.safetensors instead.
"""

import operator
import reprlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from samlib import encode as encoders
from samlib import layer_map as maps
from samlib import methods, official, paths
from samlib.baselines import pti
from samlib.checkpoints import load_generator, load_tensors
from samlib.classifier import SceneClassifier
from samlib.devices import pick_device
from samlib.domain_files import file_of, missing, read_description
from samlib.edit import acts_in, edit
from samlib.images import check, check_valid, framed, to_square
from samlib.inversion import Inversion, closest
from samlib.invertibility import InvertibilityPredictor
from samlib.objective import Weights
from samlib.optimize import DELTA_RATE, optimize
from samlib.perceptual import Metric
from samlib.predict import predict
from samlib.segmenters import SceneSegmenter, Tidy, named

WORKS = 0.5  # share of an edit that a space has to leave for the edit to work there


@dataclass
class Domain:
    """All parts of one category; `load` reads them from files, and any can be put in by hand.

    predictor   S: images -> error maps (N, S, H, W). segmenter: images -> ids (N, H, W); None: no file, no "sam".
    directions  name -> (L, D); strengths: name -> (low, high), where it is meant to be used, or (low, high, meant); left: name ->
                space -> the share of the edit that the space leaves, as measured (Table 3), where it was.
    tau         the threshold of Sec. 3.2; encoder_tau: that of SAM's encoder, None: the same. S foretells the errors of an
                optimization, and one pass leaves larger ones.
    steps       of the optimization; weights: of its objective;
    learning_rate: of w; sam_learning_rate: of w in "sam", None: the same. Where features may change, too, w+ need not go far, and
                from where it is usual edits may go further. delta_learning_rate: of the feature changes, or space name -> rate. The
                scales of all are the generator's own.
    start       name of the encoder that the optimization begins at, or several, of which each image begins at what comes closest to
                it; None: the mean w.
    aspect      (width, height) of what the generator makes inside its square; None: all of it.
    view        side of the square at which S sees an image; None: the generator's.
    missing     part -> what to say when it is asked for and not there.
    """

    name: str
    generator: torch.nn.Module
    metric: torch.nn.Module
    predictor: torch.nn.Module | None = None
    segmenter: object | None = None
    directions: dict[str, torch.Tensor] = field(default_factory=dict)
    strengths: dict[str, tuple] = field(default_factory=dict)
    tau: float = 0.225
    steps: int = 200
    weights: Weights = Weights()
    learning_rate: float = 0.05
    delta_learning_rate: float | dict[str, float] = DELTA_RATE
    folder: Path | None = None
    encoders: dict[str, torch.nn.Module] = field(default_factory=dict)
    start: str | tuple[str, ...] | None = None
    aspect: tuple[int, int] | None = None
    view: int | None = None
    missing: dict[str, str] = field(default_factory=dict)
    encoder_tau: float | None = None
    sam_learning_rate: float | None = None
    left: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def device(self):
        return self.generator.w_avg.device

    @property
    def spaces(self):
        return self.generator.spaces

    @property
    def methods(self):
        """The names `invert` knows: those of `samlib.methods`, the encoders, and each feature space alone."""
        return methods.names(self.spaces)

    def invert(self, images, method="sam", *, tau=None, steps=None, layer_map=None, start=None, valid=None, classes=None,
               seed=0, progress=True, callback=None, precision=None, compiled=False, tuning_l2=None):
        """Invert images (N, 3, H, W) in [-1, 1] -> Inversion of n images, each with its own masks.

        Images that are no squares are padded to one by repeating their border, those of another size resized. The padding,
        and what is outside of the domain's aspect, is seen by nobody but the encoders, costs nothing, and stays in W+.
        method     "sam"; "w", "w+", "gaussian", "hybrid-e4e", "pti"; or a feature space, "F4" to "F10", for the whole image;
                   or an encoder, which takes no steps: "sam-encoder", "e4e", "restyle-psp", "restyle-e4e".
                   Of a BigGAN "sam", "z", "z+", "gaussian", "F2", "F4".
        tau        threshold of the error, a number or (N,); None: the domain's for this method.
        layer_map  (N, R, R) or (R, R) index into `spaces`, R the generator's resolution: instead of the one that "sam" and
                   "sam-encoder" predict.
        start      where to begin: the name of an encoder, a tuple of such names, or an Inversion of these images; None: the domain's own.
        valid      (N, 1, R, R), 1 where images that are squares already have not been padded.
        classes    of a BigGAN: names or ids, one or for each image; None: what its classifier says.
        callback   called as callback(step, images) now and then, for a preview. Ctrl-C ends early with what there is.
        precision, compiled  of `optimize`: what pays on a GPU, for many images. Encoders do without.
        tuning_l2  of "pti": the weight of l2 in its tuning; None: 1, as published (`baselines.pti`).
        """
        if method not in self.methods:
            raise ValueError(f"no method {method!r}; there are {', '.join(self.methods)}")
        if layer_map is not None and method not in methods.BY_TAU:
            space = method if method in {one.name for one in self.spaces} else self.spaces[0].name
            raise ValueError(f"{method} inverts in {space} alone; leave layer_map out, or choose "
                             + " or ".join(name for name in methods.BY_TAU if name in self.methods))
        if tuning_l2 is not None and method != "pti":
            raise ValueError(f"tuning_l2 is a weight of pti, and {method} tunes nothing; leave it out")
        steps, tau = _whole(self.steps if steps is None else steps), self.tau_of(method) if tau is None else _threshold(tau)
        check(images)
        generator = self._generator_of(classes, start)
        images, whole = to_square(images.to(self.device, torch.float32), self.generator.resolution, "pad")
        valid = framed(whole if valid is None else valid.to(whole), self.aspect)
        check_valid(valid, images)
        valid = None if valid.all() else valid
        record = {"domain": self.name, "method": method, "valid": valid}
        if layer_map is not None:
            record["layer_map"] = self._given(layer_map, len(images))
        elif method in methods.BY_TAU:
            record |= self.predict(images, tau, valid)
        else:
            index = next((i for i, space in enumerate(self.spaces) if space.name == method), 0)
            record["layer_map"] = maps.uniform(len(images), images.shape[-1], index, self.device)
        if valid is not None:
            record["layer_map"] = record["layer_map"] * (valid[:, 0] > 0)  # masks are zero in the padding
        if method in encoders.ENCODERS:
            found = encoders.encode(self.encoder(method), self.generator, images, record["layer_map"])
            return replace(found, **record)
        masks = maps.masks(record["layer_map"], self.spaces)
        options = {"weights": self.weights, "learning_rate": self.rate_of(method),
                   "delta_learning_rate": self.delta_learning_rate, **methods.options(method, self.weights)}
        start = methods.STARTS.get(method, self.start) if start is None else start
        options |= self.begin_at(start, images, record["layer_map"], masks, valid)
        if tuning_l2 is not None:
            options["tuning_l2"] = tuning_l2
        run = pti if method == "pti" else optimize
        inversion = run(generator, images, masks, self.metric, steps=steps, seed=seed, valid=valid, progress=progress,
                        callback=callback, precision=precision, compiled=compiled, **options)
        return replace(inversion, **record)

    def tau_of(self, method) -> float:
        """The threshold that `method` has unless told another."""
        return self.encoder_tau if method == "sam-encoder" and self.encoder_tau is not None else self.tau

    def rate_of(self, method) -> float:
        """The learning rate of w in `method`."""
        return self.sam_learning_rate if method == "sam" and self.sam_learning_rate is not None else self.learning_rate

    @torch.no_grad()
    def predict(self, images, tau=None, valid=None):
        """Sec. 3.1-3.2 for images (N, 3, R, R): error_maps (N, S, R, R), segments and layer_map (N, R, R), and tau.

        valid (N, 1, R, R): where the images were not padded; None: everywhere. See `samlib.predict`.
        """
        return predict(self._need("predictor"), self._need("segmenter"), images, self.tau if tau is None else tau, valid, self.view)

    def edit(self, inversion, strengths, published=False):
        """{direction: strength} applied to an Inversion, Sec. 3.4 -> images (N, 3, R, R); several directions add up.

        A class of a BigGAN, by its name, is a direction as well: at 1 the image is of that class, at 0.5 halfway (Figure 6).
        published=True: as the published implementation does it, with a ghost of the edit in segments that it does not reach; but
        each cell that a mask touches (m > 0) keeps its feature whole, at soft borders too (`samlib.edit.keep`).
        """
        inversion, directions = inversion.to(self.device), dict(self.directions)
        for name in {*strengths} & {*(getattr(self.generator, "names", None) or ())} - {*directions}:
            directions[name] = self.generator.class_direction(inversion.w_plus, name)
        return edit(self.generator, inversion, directions, strengths, published=published)

    def add_directions(self, path):
        """Take the directions of a safetensors file, name -> (L, D), beside those there are; returns their names."""
        found = load_tensors(path)[0]
        want = (self.generator.num_layers, self.generator.w_dim)
        for name, direction in found.items():
            if tuple(direction.shape) != want:
                raise ValueError(f"{path}: {name} has shape {tuple(direction.shape)}; the directions of {self.name} have {want}")
        self.directions.update({name: direction.to(self.device) for name, direction in found.items()})
        self.left = {name: shares for name, shares in self.left.items() if name not in found}  # that was of another direction
        return list(found)

    def range_of(self, direction):
        """(low, high), the strengths between which a direction is meant to be used."""
        low, high, *_ = self.strengths.get(direction, (-3, 3))
        return float(low), float(high)

    def meant(self, direction):
        """The strength of the edit that figures show: the third of its `strengths`, or the high end where there are two."""
        return float(self.strengths.get(direction, (-3, 3))[-1])

    def caption(self, direction):
        """Its name, as figures print it: with the strength that is `meant` where that is below 0, as in "trees -2"."""
        return direction if self.meant(direction) > 0 else f"{direction} {self.meant(direction):+g}"

    def works(self, direction) -> list[bool]:
        """For each space, whether the edit works there: half of it is left, as measured, or else a row of it comes after the space."""
        if direction in self.left:
            return [self.left[direction].get(space.name, 0.0) >= WORKS for space in self.spaces]
        return acts_in(self.directions[direction], self.spaces)

    def has_encoder(self, name) -> bool:
        """Whether the encoder of this name is there, put in by hand, as those of official domains are, or as a file."""
        return name in self.encoders or encoders.find(name, self.folder or Path(self.name)).is_file()

    def encoder(self, name):
        """The encoder of this name, from its file."""
        if name not in encoders.ENCODERS:
            raise ValueError(f"no encoder {name!r}; there are {', '.join(encoders.ENCODERS)}")
        if name not in self.encoders:
            folder = self.folder or Path(self.name)
            if not self.has_encoder(name):
                raise FileNotFoundError(self.missing.get(name) or missing(folder, name))
            self.encoders[name] = encoders.load(name, folder, self.device)
        return self.encoders[name]

    def begin_at(self, start, images, layer_map, masks, valid=None):
        """The options of `optimize` that begin at `start`, as `invert` takes it; masks: those of the layer map."""
        if start is None:
            return {}
        if not isinstance(start, Inversion):
            names = methods.encoders_in(start)
            if not names:
                raise TypeError(f"start is {_named(start)}; want the name of an encoder, a tuple of such names, or an Inversion")
            start = closest([encoders.encode(self.encoder(name), self.generator, images, layer_map) for name in names], valid)
        deltas = {name: delta for name, delta in start.deltas.items() if name in masks and masks[name].any()}
        return {"start": start.w_plus, "start_deltas": deltas}

    def _generator_of(self, classes, start):
        """The generator that knows the classes which `invert` was given."""
        if classes is None:
            return self.generator
        if not hasattr(self.generator, "conditioned"):
            raise ValueError(f"classes for {self.name}, whose generator has none; leave them out, they are a BigGAN's")
        if start is not None:
            raise ValueError("classes and a start, which has its own; leave one out, or change the class by an edit")
        return self.generator.conditioned(classes)

    def _given(self, layer_map, count):
        size = self.generator.resolution
        layer_map = torch.as_tensor(layer_map, device=self.device)
        if tuple(layer_map.shape) not in ((size, size), (1, size, size), (count, size, size)) or layer_map.is_floating_point():
            raise ValueError(f"the layer map has shape {tuple(layer_map.shape)}; want whole numbers ({count}, {size}, {size})")
        if layer_map.min() < 0 or layer_map.max() >= len(self.spaces):
            raise ValueError(f"the layer map names space {int(layer_map.max())}; there are 0 to {len(self.spaces) - 1}")
        return layer_map.long().expand(count, size, size)

    def _need(self, part):
        if getattr(self, part) is None:
            raise FileNotFoundError(self.missing.get(part) or missing(self.folder or Path(self.name), part))
        return getattr(self, part)


def domains():
    """Names of the domains in data/."""
    return sorted(file.parent.name for file in paths.DATA.glob("*/domain.json"))


def known(name) -> str:
    """A domain's name as every process understands it: of a folder the whole path. ValueError, with what there is, for none."""
    if str(name) in (*domains(), *official.OFFICIAL):
        return str(name)
    if not (Path(name) / "domain.json").is_file():
        raise ValueError(f"no domain {str(name)!r}: there are {', '.join(domains()) or 'none'}, the official "
                         f"{', '.join(official.OFFICIAL)}, or give a folder that has a domain.json")
    return str(Path(name).resolve())


def load(name, device=None):
    """The domain of this name in data/, or in the folder given -> Domain on `device` (None: the GPU if there is one).

    A missing generator is an error here; a missing predictor or segmenter only when "sam" asks for it.
    Names of `official.OFFICIAL` are downloaded to the user's folder.
    """
    if name in official.OFFICIAL and name not in domains():
        return official.load(name, device)
    known(name)
    folder = paths.DATA / name if str(name) in domains() else Path(name)
    device = pick_device(device)
    settings = read_description(folder)
    if not file_of(folder, "generator").is_file():
        raise FileNotFoundError(missing(folder, "generator"))
    # Convolutions are faster in this layout; on MPS it has not been tried.
    layout = torch.preserve_format if device.type == "mps" else torch.channels_last
    generator = load_generator(file_of(folder, "generator")).to(device, memory_format=layout)
    if file_of(folder, "classifier").is_file():  # a BigGAN needs the class
        generator.classify = SceneClassifier.load(file_of(folder, "classifier"), device).forward
    strengths = settings.get("strengths", {})
    domain = Domain(
        str(name), generator, Metric(settings.get("metric", "st-lpips-vgg")).to(device, memory_format=layout),
        _load(folder, "predictor", lambda path: InvertibilityPredictor.load(path, device)),
        _load(folder, "segmenter", lambda path: Tidy(SceneSegmenter.load(path, device)))
        or (named(settings["segmenter"], device) if "segmenter" in settings else None),
        {}, strengths, settings.get("tau", 0.225), settings.get("steps", 200), Weights(**settings.get("weights", {})),
        settings.get("learning_rate", 0.05), settings.get("delta_learning_rate", DELTA_RATE), folder, start=settings.get("start"),
        encoder_tau=settings.get("encoder_tau"), sam_learning_rate=settings.get("sam_learning_rate"),
        aspect=tuple(settings["aspect"]) if "aspect" in settings else None,
        view=settings.get("view"))
    found = _load(folder, "directions", domain.add_directions) or []
    domain.left = settings.get("left", {})
    domain.directions = {name: domain.directions[name] for name in sorted(found, key=[*strengths, *found].index)}  # as listed there
    return domain


def _whole(steps) -> int:
    try:
        steps = operator.index(steps)
    except TypeError:
        raise TypeError(f"steps is {_named(steps)}; want a whole number, 0 or more") from None
    if steps < 0:
        raise ValueError(f"steps is {steps}; want 0 or more")
    return steps


def _threshold(tau):
    """tau as it is, if it is a number or one for each image; `layer_map.select` sees to its shape."""
    try:
        unknown = torch.as_tensor(tau, dtype=torch.float32).isnan().any()
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"tau is {_named(tau)}; want a number, or one for each image") from None
    if unknown:
        raise ValueError("tau is nan; want a number, or one for each image")
    return tau


def _named(value) -> str:
    """A value in an error, in one line."""
    return f"a tensor of shape {tuple(value.shape)}" if torch.is_tensor(value) else reprlib.repr(value)


def _load(folder, part, read):
    return read(file_of(folder, part)) if file_of(folder, part).is_file() else None
