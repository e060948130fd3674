"""How each encoder is trained (Sec. 6.2), given a frozen generator, scenes and their layer maps.

    own samples of the generator, w known -> e4e -> scenes, half of them challenging -> e4e
    e4e -> the W+ encoder of SAM, as in the paper, and the trunk of both ReStyle, whose papers start from a trained one, too

The objective is that of Sec. 3.3 (Eq. 5-8), with LPIPS at half the image's size, averaged over the images.
"""

import copy
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .. import encode
from ..objective import Weights, WStatistics, f_loss, reconstruction_loss, total, w_loss
from ..optimize import at_size
from . import loop
from .latent_judge import LatentJudge, sample_w

OFFSETS = 2e-4  # e4e's weight of the offsets, sum_i ||Delta_i||
JUDGE = 0.1  # e4e's weight of the latent discriminator


@dataclass(frozen=True)
class Settings:
    """scenes: half of them challenging. lesson, e4e, restyle, sam: steps; of the lesson each ReStyle takes half.
    taus: so many thresholds, at which `shares` of the pixels (lowest, highest) are left in W+; a step picks one for each image.
    progressive: shares of e4e's steps at which the first and the last row get an offset of their own.
    architecture: of the SAM encoder, for instance {"context": True}."""

    scenes: int = 3000
    batch: int = 48
    lesson: int = 500
    e4e: int = 400
    restyle: int = 250
    sam: int = 700
    learning_rate: float = 2e-3
    taus: int = 5
    shares: tuple[float, float] = (0.3, 0.9)
    progressive: tuple[float, float] = (0.2, 0.7)
    architecture: dict = field(default_factory=dict)


FULL = Settings()
QUICK = Settings(scenes=8, batch=4, lesson=4, e4e=2, restyle=2, sam=3, taus=2)


@dataclass
class Course:
    """What the training of each encoder needs: a frozen generator and metric, and the scenes on their device.

    images (N, 3, R, R) and layer_maps (N, T, R, R), one for each of T thresholds: uint8.
    weights: of the objective.
    """

    generator: torch.nn.Module
    metric: torch.nn.Module
    images: Tensor
    layer_maps: Tensor
    weights: Weights = Weights()
    settings: Settings = FULL
    seed: int = 0
    progress: bool = True

    def __post_init__(self):
        self.generator = copy.deepcopy(self.generator).requires_grad_(False)
        if self.images.is_cuda:
            self.generator.compute_dtype = torch.bfloat16
        self.statistics = WStatistics.sample(self.generator, 2000) if self.weights.gaussian else None

    def batch(self, index: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images (n, 3, R, R) in [-1, 1] and layer maps (n, R, R), each of a threshold at random; half of them mirrored."""
        choice = torch.randint(self.layer_maps.shape[1], index.shape, generator=random, device=index.device)
        x, maps = loop.flip(random, self.images[index], self.layer_maps[index, choice])
        return loop.as_float(x).contiguous(memory_format=torch.channels_last), maps

    def objective(self, x: Tensor, formed: Tensor, w_plus: Tensor, deltas: dict, weights: Weights) -> Tensor:
        """Eq. 8, the mean over the images. The image is not clamped here: outside of [-1, 1] no gradient would be left."""
        size = min(self.generator.resolution // 2, 256)
        terms = reconstruction_loss(x, formed.float(), replace(weights, lpips=0.0))
        terms |= reconstruction_loss(at_size(x, size), at_size(formed.float(), size), replace(weights, l2=0.0), self.metric)
        terms |= w_loss(w_plus, weights, self.statistics) | f_loss(deltas, weights)
        return total(terms, weights).mean()

    def fit(self, encoder, loss, steps: int, label: str, count: int | None = None) -> Tensor:
        """Train on `count` images, None: the scenes -> the loss of each step."""
        if not steps:
            return torch.zeros(0)
        optimizer = loop.adamw(encoder.parameters(), self.settings.learning_rate, 0.01)
        return loop.fit(encoder, loss, count or len(self.images), steps=steps, batch=self.settings.batch, optimizer=optimizer,
                        seed=self.seed, progress=self.progress, label=label)

    def new(self, kind: type, *arguments, **architecture):
        """An untrained encoder on the device."""
        torch.manual_seed(self.seed)
        return kind.of(self.generator, *arguments, **architecture).to(self.images.device)


def lesson(course: Course, encoder, steps: int) -> Tensor:
    """Supervised warm-up: the generator's own samples, whose w is known. ReStyle starts from the mean, or from half way.

    The loss is the mean square error in units of the variance of w. Returns it for each step.
    """
    generator = course.generator

    def loss(index, random):
        w = sample_w(generator, len(index), random)[:, None].expand(-1, generator.num_layers, -1)
        with torch.no_grad():
            x = generator.synthesis(w, noise="none").float().clamp(-1, 1).contiguous(memory_format=torch.channels_last)
        if isinstance(encoder, encode.ReStyle):
            other = sample_w(generator, len(index), random)[:, None].lerp(w, loop.uniform(random, 0, 1, len(w), 1, 1))
            fresh = loop.uniform(random, 0, 1, len(w), 1, 1) < 0.5
            found = encoder.step(generator, x, torch.where(fresh, generator.w_avg, other))
        else:
            found = encoder.w_plus(generator, x)
        return ((found - w) / encoder.net.scale).square().mean()

    return course.fit(encoder, loss, steps, "lesson", count=course.settings.batch)


def train_e4e(course: Course) -> tuple[encode.E4e, dict]:
    """e4e: reconstruction, small offsets that appear row by row, and rows that its latent discriminator takes for w."""
    encoder, settings = course.new(encode.E4e), course.settings
    history = {"lesson": lesson(course, encoder, settings.lesson)}
    judge = LatentJudge(course.generator, encoder.net.scale)
    first, last = settings.progressive
    count = iter(range(settings.e4e))

    def loss(index, random):
        t = (next(count) / settings.e4e - first) / (last - first)
        encoder.net.active = 1 + round((encoder.net.rows - 1) * min(1.0, max(0.0, t)))
        x, _ = course.batch(index, random)
        w_plus, _, _, formed = encoder(course.generator, x)
        return editable(course, judge, x, formed, w_plus, random)

    history["loss"] = course.fit(encoder, loss, settings.e4e, "e4e")
    encoder.net.active = encoder.net.rows
    return encoder, history


def editable(course, judge, x, formed, w_plus, random) -> Tensor:
    """e4e's objective: reconstruction, the norm of the offsets, and the judge, which takes a step of its own."""
    judge.update(w_plus, random)
    loss = course.objective(x, formed, w_plus, {}, Weights(gaussian=0, spread=OFFSETS, feature=0))
    return loss + JUDGE * judge.loss(w_plus)


def train_restyle(course: Course, kind: str, start: encode.E4e) -> tuple[encode.ReStyle, dict]:
    """ReStyle with the objective of pSp (reconstruction) or of e4e. A step trains one of the five iterations, at random,
    after those before it without gradients: its paper cuts the gradient between iterations, too, and trains all five."""
    encoder, settings = course.new(encode.ReStyle, kind), course.settings
    inherit(encoder.net, start.net, last=False)
    history = {"lesson": lesson(course, encoder, settings.lesson // 2)}
    judge = LatentJudge(course.generator, encoder.net.scale) if kind == "e4e" else None
    before = iter(torch.randint(encoder.iterations, (settings.restyle,), generator=torch.Generator().manual_seed(course.seed)).tolist())

    def loss(index, random):
        x, _ = course.batch(index, random)
        with torch.no_grad():
            w_plus = encoder.refine(course.generator, x, next(before))
        torch.clear_autocast_cache()  # older torch would hand out the weights again as cast without gradients
        w_plus = encoder.step(course.generator, x, w_plus)
        formed = course.generator.synthesis(w_plus, noise="none")
        if judge:
            return editable(course, judge, x, formed, w_plus, random)
        return course.objective(x, formed, w_plus, {}, Weights(gaussian=0, spread=0, feature=0))

    history["loss"] = course.fit(encoder, loss, settings.restyle, f"restyle-{kind}")
    return encoder, history


def train_sam(course: Course, start: encode.E4e) -> tuple[encode.SamEncoder, dict]:
    """Sec. 6.2: all five encoders together, through the image they form under the predicted maps. W+ starts from e4e."""
    encoder = course.new(encode.SamEncoder, **course.settings.architecture)
    inherit(encoder.latent, start.net)

    def loss(index, random):
        x, maps = course.batch(index, random)
        w_plus, deltas, _, formed = encoder(course.generator, x, maps)
        return course.objective(x, formed, w_plus, deltas, course.weights)

    return encoder, {"loss": course.fit(encoder, loss, course.settings.sam, "sam-encoder")}


@torch.no_grad()
def inherit(network, source, last: bool = True) -> None:
    """Start a LatentEncoder from another that sees fewer channels: the new ones count for nothing at first.
    last: with the last layers, too."""
    state = {name: value for name, value in source.state_dict().items() if last or not name.startswith("last.")}
    first = torch.zeros_like(network.trunk.conv1.weight)
    known = state["trunk.conv1.weight"]
    first[:, : known.shape[1]] = known
    network.load_state_dict(state | {"trunk.conv1.weight": first}, strict=last)
