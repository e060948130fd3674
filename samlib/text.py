"""Edit directions from a sentence, or from any other differentiable score (StyleCLIP, Patashnik et al., ICCV 2021).

`direction_for` finds one direction (L, D) of w+ for all images; `CLIPScore` is the score of a sentence, through
`open_clip` (the extra "text"); `add` keeps a direction in a file that a domain reads.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import trange

from samlib.checkpoints import load_tensors, save_tensors
from samlib.directions import sample_w
from samlib.precision import double

PROMPTS = ("{}", "a photo of {}", "a picture of {}", "a close-up photo of {}", "a rendering of {}")


def direction_for(generator, score, w_plus=64, *, steps: int = 100, batch: int = 8, rows=None, strengths=(-2.0, 2.0),
                  identity=None, identity_weight: float = 1.0, w_weight: float = 0.01, learning_rate: float = 0.3,
                  size: int | None = None, seed: int = 0, progress: bool = True) -> Tensor:
    """The direction d (L, D) along which `score` rises and the image stays itself; rows that are not to move are 0.

    It is the d for which the score of w+ + s d is s standard deviations above that of w+, for s between `strengths`: one
    strength is one standard deviation of the score over the generator's own images. By gradient descent it minimizes

        mean ((score(after) - score(before)) / deviation - s)^2 + identity_weight * mean identity(before, after)
            + w_weight * mean over rows of d_l^T Sigma^-1 d_l,     Sigma the covariance of w.

    score      images (N, 3, R, R) in [-1, 1] -> (N,), differentiable. R is the generator's resolution.
    w_plus     (N, L, D), the codes to learn from, or how many to draw.
    rows       of w+ that may move, as range(0, 7); None: all.
    identity   images before and after -> (N,), what the edit shall keep small: a perceptual metric, a distance of faces,
               the change of other scores; None: only the last term.
    size       side of the image that is rendered, and then enlarged to R; a smaller one is faster. None: R.
    """
    w_plus = codes(generator, w_plus, seed)
    rows = check_rows(generator, rows)
    before, scores = seen(generator, score, w_plus, size, batch, keep=identity is not None)
    deviation = scores.std()
    if not deviation > 0:
        raise ValueError(f"the score is the same for all of {len(w_plus)} images; give one that tells images apart")

    def loss(direction: Tensor, chosen: Tensor, strength: Tensor) -> Tensor:
        after = render(generator, w_plus[chosen] + strength[:, None, None] * direction, size)
        rise = (values(score, after) - scores[chosen]) / deviation
        kept = identity_weight * identity(before[chosen], after).mean() if identity else 0
        return (rise - strength).square().mean() + kept

    def draw(random: torch.Generator) -> tuple[Tensor, Tensor]:
        share = torch.rand(batch, generator=random)
        chosen = torch.randint(len(w_plus), (batch,), generator=random)
        return chosen.to(w_plus.device), (strengths[0] + (strengths[1] - strengths[0]) * share).to(w_plus)

    scale = root_covariance(generator, seed)
    return descend(loss, draw, rows, w_plus, scale, w_weight, steps, learning_rate, seed, progress)


@torch.no_grad()
def seen(generator, score, w_plus: Tensor, size, batch: int, keep: bool) -> tuple[Tensor | None, Tensor]:
    """The images of the codes, if they are to be kept, and their scores (N,)."""
    images, scores = [], []
    for part in w_plus.split(batch):
        rendered = render(generator, part, size)
        images += [rendered] if keep else []
        scores.append(values(score, rendered))
    return torch.cat(images) if keep else None, torch.cat(scores)


def descend(loss, draw, rows, w_plus, scale, w_weight, steps, learning_rate, seed, progress) -> Tensor:
    """The minimizing direction (L, D), sought as Sigma^-1/2 d from 0 on.

    So scaled, and with scores in standard deviations, steps of one size suit every problem. Plain gradient descent then
    leaves alone what hardly matters, where Adam enlarges its noise: as much wanted change, half the unwanted.
    """
    moves = torch.zeros(len(rows), w_plus.shape[-1], device=w_plus.device, dtype=w_plus.dtype, requires_grad=True)
    optimizer = torch.optim.SGD([moves], learning_rate, momentum=0.5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    random = torch.Generator().manual_seed(seed)
    for _ in trange(steps, desc="direction", disable=not progress):
        total = loss(in_rows(moves @ scale, rows, w_plus), *draw(random)) + w_weight * moves.square().sum(1).mean()
        (moves.grad,) = torch.autograd.grad(total, [moves])
        nn.utils.clip_grad_norm_([moves], 2.0)
        optimizer.step()
        schedule.step()
    return in_rows(moves.detach() @ scale, rows, w_plus)


def rise(generator, score, direction: Tensor, w_plus=32, *, strength: float = 1.0, batch: int = 8, size: int | None = None,
         seed: int = 1) -> Tensor:
    """What a direction brings: the change of the score of each image (N,), in standard deviations of the score.

    w_plus as in `direction_for`; those that are drawn here are others.
    """
    w_plus = codes(generator, w_plus, seed)
    _, before = seen(generator, score, w_plus, size, batch, keep=False)
    _, after = seen(generator, score, w_plus + strength * direction.to(w_plus), size, batch, keep=False)
    return (after - before) / before.std()


def codes(generator, w_plus, seed: int) -> Tensor:
    """w+ (N, L, D): as given, or as many as said, drawn."""
    if not torch.is_tensor(w_plus):
        return sample_w(generator, w_plus, seed).clone()[:, None].expand(-1, generator.num_layers, -1)
    want = (generator.num_layers, generator.w_dim)
    if w_plus.ndim != 3 or tuple(w_plus.shape[1:]) != want:
        raise ValueError(f"w_plus has shape {tuple(w_plus.shape)}; wanted (N, {want[0]}, {want[1]}), or a number of samples")
    return w_plus.detach()


def check_rows(generator, rows) -> list[int]:
    rows = sorted(set(range(generator.num_layers) if rows is None else rows))
    if not rows or rows[0] < 0 or rows[-1] >= generator.num_layers:
        raise ValueError(f"rows {rows} of w+; wanted some of 0 to {generator.num_layers - 1}")
    return rows


@torch.no_grad()
def root_covariance(generator, seed: int) -> Tensor:
    """Sigma^1/2 (D, D) of w."""
    covariance = torch.cov(double(sample_w(generator, 4096, seed)).T)
    found, vectors = torch.linalg.eigh(covariance)
    return (vectors * found.clamp_min(0).sqrt() @ vectors.T).to(generator.w_avg)


def in_rows(moves: Tensor, rows: list[int], like: Tensor) -> Tensor:
    """(len(rows), D) -> (L, D), 0 elsewhere."""
    return moves.new_zeros(like.shape[1:]).index_copy(0, torch.tensor(rows, device=moves.device), moves)


def render(generator, w_plus: Tensor, size: int | None) -> Tensor:
    """Images at the generator's resolution, from `size` on enlarged: a score may expect things at their usual size."""
    images = generator.synthesis(w_plus, noise="none", size=size).clamp(-1, 1)
    if images.shape[-1] == generator.resolution:
        return images
    return F.interpolate(images, [generator.resolution] * 2, mode="bicubic", align_corners=False).clamp(-1, 1)


def values(score, images: Tensor) -> Tensor:
    found = score(images)
    if found.shape != (len(images),):
        raise ValueError(f"the score of {len(images)} images has shape {tuple(found.shape)}; wanted ({len(images)},)")
    return found


class CLIPScore(nn.Module):
    """images (N, 3, H, W) in [-1, 1] -> (N,): cosine between CLIP's view of them and that of a sentence, in [-1, 1].

    model       name of an architecture of open_clip, "ViT-B-32", or where it reads a model from: "hf-hub:...".
    pretrained  its weights: a tag of open_clip, which are downloaded, or a local file of weights.
    neutral     a sentence without what is wanted, "a car" for "a red car": then only the difference counts.
    """

    def __init__(self, sentence: str, model: str = "ViT-B-32", pretrained="laion2b_s34b_b79k", *,
                 neutral: str | None = None, device=None):
        super().__init__()
        self.network, tokenize = pretrained_clip(model, str(pretrained))
        self.network.to(device or "cpu").eval().requires_grad_(False)
        text = self.embed(sentence, tokenize) - (self.embed(neutral, tokenize) if neutral else 0)
        if not text.norm() > 1e-6:
            raise ValueError(f"{sentence!r} and {neutral!r} mean the same to CLIP; the neutral sentence leaves something out")
        visual = self.network.visual
        self.size = visual.image_size if isinstance(visual.image_size, (tuple, list)) else (visual.image_size,) * 2
        self.register_buffer("text", F.normalize(text, dim=0))
        self.register_buffer("mean", text.new_tensor(visual.image_mean)[:, None, None])
        self.register_buffer("std", text.new_tensor(visual.image_std)[:, None, None])

    @torch.no_grad()
    def embed(self, sentence: str, tokenize) -> Tensor:
        """The mean direction of a sentence, in several wordings."""
        tokens = tokenize([prompt.format(sentence) for prompt in PROMPTS])
        device = next(self.network.parameters()).device
        return F.normalize(self.network.encode_text(tokens.to(device)), dim=-1).mean(0)

    def forward(self, images: Tensor) -> Tensor:
        images = F.interpolate(images, tuple(self.size), mode="bicubic", align_corners=False, antialias=True)
        seen = self.network.encode_image(((images + 1) / 2 - self.mean) / self.std)
        return F.normalize(seen, dim=-1) @ self.text


def pretrained_clip(model: str, pretrained: str):
    """The network and its tokenizer; one clear line if it cannot be had. open_clip reads files as data."""
    try:
        import open_clip
    except ImportError as error:
        raise ImportError("directions from text need open_clip: pip install 'sam-inversion[text]'") from error
    try:
        network = open_clip.create_model(model, None if ":" in model else pretrained, require_pretrained=True)
        return network, open_clip.get_tokenizer(model)
    except Exception as error:  # no network, no such name, a damaged file: nearly any kind
        reason = " ".join(str(error).split())[:200]
        raise FileNotFoundError(
            f"CLIP {model} with weights {pretrained}: not to be had ({reason}); wanted weights that open_clip knows: go online "
            f"for a tag of it (open_clip.list_pretrained() has them), or give a local file (.safetensors, .pt)") from error


def check_name(name: str) -> str:
    """`name`, if a direction can be called so. "=" stands before the strength, and safetensors keeps the other for itself."""
    if "=" in name or name == "__metadata__":
        raise ValueError(f"a direction cannot be called {name!r}; want a name without '=', other than __metadata__ (--name gives it one)")
    return name


def add(path, name: str, direction: Tensor, **record) -> None:
    """Put a direction (L, D) into the safetensors file `path`, made if need be, beside those it holds, as `name`.

    `record`, anything that JSON can hold, is kept under that name in the file's metadata. A domain reads such files:
    `Domain.add_directions(path)`; and its own, data/<domain>/directions.safetensors, is one.
    """
    path, name = Path(path), check_name(name)
    found, metadata = load_tensors(path) if path.exists() else ({}, {})
    if any(other.shape != direction.shape for other in found.values()):
        shapes = sorted({tuple(other.shape) for other in found.values()})
        raise ValueError(f"{path}: holds directions of shape {shapes}; this one has {tuple(direction.shape)}, so give another file")
    save_tensors({**found, name: direction}, path, {**metadata, name: json.dumps(record)})
