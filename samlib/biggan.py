"""The generator of BigGAN-deep in plain PyTorch (Brock et al., "Large Scale GAN Training for High Fidelity Natural Image
Synthesis", ICLR 2019, App. B), cut at the feature spaces of the SAM paper (Sec. 6.3).

It answers the calls of StyleGAN2's generator. What w+ is there is here the code (N, L, z_dim + class_dim) of what each
layer reads: a row of z+ (Z+ of the paper) and, the same in every row, the embedding of the class. So a class travels with
its image through batches and files; inversion leaves it as it is, and changing it is an edit like any other.
Parameter names are those of the package pytorch-pretrained-biggan, with spectral norm folded into the weights.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from . import features
from .biggan_layers import Block, Norm, Synthesis
from .spaces import biggan_spaces

# Widths of the official generators, in units of 128.
OFFICIAL = {128: (16, 16, 8, 4, 2, 1), 256: (16, 16, 8, 8, 4, 2, 1), 512: (16, 16, 8, 8, 4, 2, 1, 1)}


def official_channels(resolution: int, width: int = 128) -> dict[int, int]:
    """resolution -> width of a layer in the official generator of 128, 256 or 512 px."""
    return {4 * 2**i: m * width for i, m in enumerate(OFFICIAL[resolution])}


class BigGAN(nn.Module):
    """BigGAN-deep's generator with the spaces Z+, F2, F4 of the paper.

    classes     how many there are; names: what they are called, or None.
    channels    resolution -> width, from 4 px on, each the one before or half of it; None: the official ones.
    attention   the resolution that has self-attention, None: nowhere.
    classify    (an attribute) a function images (N, 3, H, W) -> ids (N,), such as a `samlib.classifier`: tells `optimize` the
                class of what it inverts. None unless set: then the classes have to be given.
    truncation  (an attribute, in (0, 1]) whose batch-norm statistics are used; 1 unless set, and the same for an inversion
                and its edits. The package is matched by `generator.truncation = t` and z drawn from [-2 t, 2 t].
    """

    def __init__(self, resolution=128, z_dim=128, class_dim=128, classes=1000, channels=None, attention=64, n_stats=51,
                 eps=1e-4, names=None):
        super().__init__()
        if channels is None and resolution not in OFFICIAL:
            raise ValueError(f"resolution {resolution}: give its channels; the official ones are {', '.join(map(str, OFFICIAL))}")
        channels = {int(r): int(c) for r, c in (channels or official_channels(resolution)).items()}
        if sorted(channels) != [4 * 2**i for i in range(len(channels))] or resolution < 8 or max(channels) != resolution:
            raise ValueError(f"channels for {sorted(channels)} px; want them for 4, 8, 16, ... {resolution}")
        if n_stats < 2 or names is not None and len(names) != classes:
            raise ValueError(f"n_stats {n_stats} and {len(names or ())} names of {classes} classes; want 2 or more, and as many")
        self.config = dict(resolution=resolution, z_dim=z_dim, class_dim=class_dim, classes=classes, channels=channels,
                           attention=attention, n_stats=n_stats, eps=eps, names=None if names is None else list(names))
        self.resolution, self.z_dim, self.w_dim = resolution, z_dim, z_dim + class_dim
        self.names, self.truncation = None if names is None else tuple(names), 1.0
        self.given, self.classify = None, None
        self.embeddings = nn.Linear(classes, class_dim, bias=False)
        self.generator = Synthesis(channels, self.w_dim, attention, n_stats, eps)
        self.num_layers = 1 + sum(isinstance(layer, Block) for layer in self.generator.layers)
        self.spaces = biggan_spaces(z_dim, channels)

    def embed(self, classes) -> torch.Tensor:
        """Embeddings (N, class_dim) of classes: a name, an id, several of either, ids (N,), or one-hot or mixed (N, classes)."""
        weight = self.embeddings.weight
        if isinstance(classes, str | int):
            classes = [classes]
        if not isinstance(classes, torch.Tensor):
            classes = torch.tensor([self._id(c) for c in classes])
        ids = classes.ndim == 1 and not classes.is_floating_point()
        if ids and classes.device.type == "cpu":  # on a GPU they come from a classifier or a training, and looking would be waiting
            for wrong in classes[(classes < 0) | (classes >= weight.shape[1])].tolist():
                self._id(wrong)  # says what there is
        classes = classes.to(weight.device)
        if ids:
            return weight.t()[classes]
        if classes.ndim != 2 or classes.shape[1] != weight.shape[1]:
            raise ValueError(f"classes of shape {tuple(classes.shape)}; want ids (N,) or weights (N, {weight.shape[1]})")
        return self.embeddings(classes.to(weight.dtype))

    def _id(self, name) -> int:
        if isinstance(name, str) and name in (self.names or ()):
            return self.names.index(name)
        if isinstance(name, str) or not 0 <= int(name) < self.config["classes"]:
            known = ", ".join(self.names or ()) or f"0 to {self.config['classes'] - 1}"
            raise ValueError(f"no class {name!r}; there are {known}")
        return int(name)

    def conditioned(self, classes) -> "BigGAN":
        """The same generator, weights shared, that maps z to these classes: one, or one for each image of a batch."""
        view = copy.copy(self)
        view.given = self.embed(classes).detach()
        return view

    @property
    def w_avg(self) -> torch.Tensor:
        """The code of z = 0: (D,), of the mean class; of a view with given classes (D,) or (N, D), of theirs."""
        given = self.embeddings.weight.mean(1) if self.given is None else self.given
        return F.pad(given[0] if given.ndim == 2 and len(given) == 1 else given, (self.z_dim, 0)).detach()

    def mapping(self, z: torch.Tensor, truncation: float = 1.0, classes=None) -> torch.Tensor:
        """z (N, z_dim) ~ N(0, I), times `truncation`, and the classes (see `embed`; None: those given) -> code (N, L, D)."""
        if classes is None and self.given is None:
            raise ValueError("mapping wants the classes of the images: ids (N,), names, or generator.conditioned(classes)")
        embedded = (self.given if classes is None else self.embed(classes)).to(z)
        if len(embedded) not in (1, len(z)):
            raise ValueError(f"{len(embedded)} classes for {len(z)} images; want one, or one for each")
        code = torch.cat([z * truncation, embedded.expand(len(z), -1)], 1)
        return code[:, None].expand(-1, self.num_layers, -1)

    def synthesis(self, w_plus, deltas=None, masks=None, noise="const") -> torch.Tensor:
        """Image formation, Eq. 3-4 with z+ for w+: code (N, L, D), deltas and masks as for StyleGAN2; `noise` is there for
        the same call and changes nothing. Returns images (N, 3, H, W) in [-1, 1]."""
        features.check(self, w_plus, deltas, masks, noise, "the code")
        return self.generator(w_plus, self.truncation, lambda r, x: features.add_change(self.space_at(r), x, deltas, masks))

    def edit(self, w_plus, direction, deltas=None, masks=None, noise="none") -> torch.Tensor:
        """The edited image of Sec. 3.4: `direction` (L, D) or (N, L, D), in z+ or in the class embedding, is added to the
        code, and segments of an F space keep their unedited feature. Both versions run as one batch of 2N."""
        features.check(self, w_plus, deltas, masks, noise, "the code", direction=direction)
        both = torch.cat([w_plus, w_plus + direction.to(w_plus)])
        images = self.generator(both, self.truncation, lambda r, x: features.keep_inside(self.space_at(r), x, deltas, masks))
        return images[len(w_plus):]

    def space_at(self, resolution: int):
        return next((s for s in self.spaces if s.resolution == resolution), None)

    def class_direction(self, w_plus: torch.Tensor, classes) -> torch.Tensor:
        """The edit (N, L, D) that, at strength 1, gives images of code `w_plus` the class embeddings of `classes`."""
        change = self.embed(classes).to(w_plus)[:, None] - w_plus[..., self.z_dim :]
        return F.pad(change, (self.z_dim, 0))

    def z_direction(self, direction: torch.Tensor, rows=None) -> torch.Tensor:
        """A direction (z_dim,) in Z -> (L, D) that changes z+ in `rows` (None: all) and no class."""
        out = direction.new_zeros(self.num_layers, self.w_dim)
        out[range(self.num_layers) if rows is None else list(rows), : self.z_dim] = direction
        return out


def initialize(generator: BigGAN):
    """Orthogonal matrices, as in the paper; gains and offsets small, so that each norm starts as a plain one."""
    for name, p in generator.named_parameters():
        if p.ndim > 1:
            nn.init.orthogonal_(p, 0.1 if name.endswith(("scale.weight", "offset.weight")) else 1.0)
    nn.init.normal_(generator.embeddings.weight)  # as large as the entries of z


@torch.no_grad()
def standing_statistics(generator: BigGAN, batches: int = 32, batch: int = 64, seed: int = 0) -> None:
    """Fills the batch-norm statistics of every truncation, as those of `batches` of random images with random classes
    (Brock et al. 2019, App. C). A trained generator needs them before it is used."""
    norms = [m for m in generator.modules() if isinstance(m, Norm)]
    device, was = generator.embeddings.weight.device, generator.training
    n_stats, random = generator.config["n_stats"], torch.Generator().manual_seed(seed)
    generator.train()
    for step in range(n_stats):
        for norm in norms:
            norm.tally = []
        for _ in range(batches):
            z = torch.randn(batch, generator.z_dim, generator=random) * (step / (n_stats - 1))
            classes = torch.randint(generator.config["classes"], (batch,), generator=random)
            generator.synthesis(generator.mapping(z.to(device), classes=classes))
        for norm in norms:
            mean, var = (torch.stack(values) for values in zip(*norm.tally))
            norm.running_means[step] = mean.mean(0)
            norm.running_vars[step] = var.mean(0) + mean.var(0, correction=0)  # of all batches together
            norm.tally = None
    generator.train(was)
