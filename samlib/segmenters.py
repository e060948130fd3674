"""Segmenters behind one call: `segmenter(images)` takes (N, 3, H, W) in [-1, 1] and gives segment ids (N, H, W), long.

`.classes` holds the names of the ids where they have any, and is None where a segment is only a region.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from skimage.color import rgb2lab
from skimage.measure import label
from skimage.segmentation import expand_labels, slic
from torch import Tensor, nn

from samlib import weights


def check(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images of shape {tuple(images.shape)}; wanted (N, 3, H, W) in [-1, 1]")


class DoubleConv(nn.Sequential):
    """Two 3x3 convolutions, each with BatchNorm and ReLU."""

    def __init__(self, inputs: int, outputs: int):
        def unit(channels: int) -> tuple[nn.Module, ...]:
            return nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()

        super().__init__(*unit(inputs), *unit(outputs))


class SceneSegmenter(nn.Module):
    """A U-Net (Ronneberger et al., 2015) that names the parts of a built-in scene.

    It works at the full size of the image, since poles and fence pales are two pixels wide. Any H and W from 16 on.
    """

    def __init__(self, classes, channels=(24, 48, 96, 160, 224)):
        super().__init__()
        self.classes = tuple(classes)
        self.config = dict(classes=self.classes, channels=tuple(channels))
        self.down = nn.ModuleList(DoubleConv(i, o) for i, o in zip((3, *channels), channels))
        self.up = nn.ModuleList(DoubleConv(i + o, o) for i, o in zip(channels[:0:-1], channels[-2::-1]))
        self.last = nn.Conv2d(channels[0], len(self.classes), 1)

    def logits(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, classes, H, W); for training."""
        check(images)
        height, width = images.shape[2:]
        step = 2 ** len(self.up)
        x = F.pad(images, (0, -width % step, 0, -height % step), mode="replicate")
        skips = []
        for i, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        for block, skip in zip(self.up, skips[-2::-1]):
            x = block(torch.cat((F.interpolate(x, scale_factor=2, mode="nearest"), skip), 1))
        return self.last(x)[..., :height, :width]

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Tensor:
        return self.logits(images).argmax(1)

    def save(self, path, **metadata):
        return weights.save(self, path, **metadata)

    @classmethod
    def load(cls, path, device=None) -> "SceneSegmenter":
        return weights.load(cls, path, device)


class Unsupervised:
    """Regions of like colour on any image: SLIC superpixels, then neighbours merged by Ward's cost until they differ.

    most, fewest  bounds of the number of regions (fewer only where there are fewer superpixels).
    threshold     between the bounds, merging ends at this cost: Lab distance squared times share of the image.
    """

    classes = None

    def __init__(self, most: int = 20, fewest: int = 5, threshold: float = 8.0, superpixels: int = 250):
        self.most, self.fewest, self.threshold, self.superpixels = most, fewest, threshold, superpixels

    def __call__(self, images: Tensor) -> Tensor:
        check(images)
        pixels = ((images.detach().float().clamp(-1, 1) + 1) / 2).movedim(1, -1).cpu().numpy()
        return torch.from_numpy(np.stack([self.regions(image) for image in pixels])).to(images.device)

    def regions(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) in [0, 1] -> (H, W) ids from 0 on, without gaps."""
        superpixels = slic(image, self.superpixels, compactness=10, sigma=0.5, start_label=0)
        return self.merge(superpixels, rgb2lab(image))[superpixels]

    def merge(self, superpixels: np.ndarray, colours: np.ndarray) -> np.ndarray:
        """Greedy agglomeration of a region adjacency graph: the region of each superpixel, (K,)."""
        flat = superpixels.ravel()
        sizes = np.bincount(flat).astype(float)
        sums = np.stack([np.bincount(flat, channel.ravel()) for channel in np.moveaxis(colours, -1, 0)], 1)
        beside = adjacency(superpixels)
        region = np.arange(len(sizes))
        for count in range(len(sizes), self.fewest, -1):
            means = sums / np.maximum(sizes, 1)[:, None]
            square = np.square(means).sum(1)
            distance = square[:, None] + square - 2 * means @ means.T
            weight = sizes[:, None] * sizes / np.maximum(sizes[:, None] + sizes, 1) / flat.size
            cost = np.where(beside, weight * distance, np.inf)
            kept, gone = np.unravel_index(cost.argmin(), cost.shape)
            if count <= self.most and cost[kept, gone] > self.threshold:
                break
            sizes[kept], sums[kept] = sizes[kept] + sizes[gone], sums[kept] + sums[gone]
            beside[kept] |= beside[gone]
            beside[:, kept] = beside[kept]
            beside[gone] = beside[:, gone] = beside[kept, kept] = False
            region[region == gone] = kept
        return np.unique(region, return_inverse=True)[1]


def adjacency(labels: np.ndarray) -> np.ndarray:
    """(H, W) ids -> (K, K) booleans: which share an edge."""
    beside = np.zeros((labels.max() + 1,) * 2, bool)
    for a, b in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        beside[a, b] = beside[b, a] = True
    np.fill_diagonal(beside, False)
    return beside


class DeepLabV3:
    """torchvision's DeepLabV3 (20 classes of Pascal VOC and background) for photographs. Its weights are downloaded."""

    def __init__(self, device=None):
        from torchvision.models.segmentation import DeepLabV3_ResNet50_Weights, deeplabv3_resnet50

        source = DeepLabV3_ResNet50_Weights.DEFAULT
        self.classes = tuple(source.meta["categories"])
        try:
            state = source.get_state_dict(progress=True, check_hash=True, map_location="cpu", weights_only=True)
        except OSError as error:
            name = source.url.rsplit("/", 1)[-1]
            raise FileNotFoundError(
                f"DeepLabV3 needs {source.url}, which could not be fetched ({error}): go online, or put {name} into "
                f"{torch.hub.get_dir()}/checkpoints, or use the Unsupervised segmenter"
            ) from error
        network = deeplabv3_resnet50(weights_backbone=None, num_classes=len(self.classes), aux_loss=True)
        network.load_state_dict(state)
        self.network = network.to(device or "cpu").eval()

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        check(images)
        mean, std = images.new_tensor([0.485, 0.456, 0.406]), images.new_tensor([0.229, 0.224, 0.225])
        normal = ((images + 1) / 2 - mean[:, None, None]) / std[:, None, None]
        return self.network(normal)["out"].argmax(1)


class Tidy:
    """Any segmenter with its result cleaned (`clean`) and, with `split`, cut into connected parts (`split`).

    After a split, id % len(classes) is the class of a part.
    """

    def __init__(self, segmenter, smallest: float = 0.001, split: bool = False):
        self.segmenter, self.smallest, self.split = segmenter, smallest, split
        self.classes = segmenter.classes

    def __call__(self, images: Tensor) -> Tensor:
        segments = clean(self.segmenter(images), self.smallest)
        return split(segments, len(self.classes) if self.classes else None) if self.split else segments


class Later:
    """A segmenter that `make` gives at the first call: what needs a download shall not stop who does without it.
    key: its name, which tells it from others before it is made as after."""

    def __init__(self, make, key: str = ""):
        self.make, self.key = make, key

    @cached_property
    def segmenter(self):
        return self.make()

    @property
    def classes(self):
        return self.segmenter.classes

    def __call__(self, images: Tensor) -> Tensor:
        return self.segmenter(images)


def _of_photos(kind):
    def make(device):
        from samlib import segmenters_photos  # imports this module

        return getattr(segmenters_photos, kind)(device=device)

    return make


NAMES = {"unsupervised": lambda device: Unsupervised(), "deeplab": DeepLabV3, "ade20k": _of_photos("ADE20K"),
         "coco": _of_photos("COCOPanoptic"), "faces": _of_photos("FaceParsing")}  # device -> segmenter


def named(name: str, device=None):
    """The segmenter of this name, for images that nobody trained one for; cleaned, and made when it is first called."""
    if name not in NAMES:
        raise ValueError(f"no segmenter {name!r}; there are {', '.join(NAMES)}")
    return Later(lambda: Tidy(NAMES[name](device)), key=name)


def each(function, segments: Tensor) -> Tensor:
    """Apply a function of one (H, W) array to every map of (N, H, W), long; in threads: scikit-image and SciPy leave Python to others."""
    if segments.ndim != 3 or segments.is_floating_point():
        raise ValueError(f"segments are {segments.dtype} of shape {tuple(segments.shape)}; wanted integers (N, H, W)")
    with ThreadPoolExecutor() as pool:
        done = np.stack([*pool.map(function, segments.cpu().numpy())])
    return torch.from_numpy(done).long().to(segments.device)


def clean(segments: Tensor, smallest: float = 0.001) -> Tensor:
    """Give connected components smaller than `smallest` times the image to the nearest larger ones. (N, H, W) -> same.

    Diagonal neighbours count as connected, so that a slanted pole stays whole. The largest component always stays.
    """

    def one(ids: np.ndarray) -> np.ndarray:
        while True:
            parts = label(ids, background=-1, connectivity=2)
            sizes = np.bincount(parts.ravel())
            keep = (sizes >= smallest * ids.size) | (sizes == sizes.max())
            if keep[1:].all():
                return ids
            # 0 stands for "to be filled", and a filled pixel may have cut another component in two: look again.
            ids = expand_labels(np.where(keep[parts], ids + 1, 0), distance=sum(ids.shape)) - 1

    return each(one, segments)


def split(segments: Tensor, n_classes: int | None = None) -> Tensor:
    """A number of its own for each connected component: id + k * n_classes for the k-th of an id. (N, H, W) -> same."""
    count = n_classes or int(segments.max()) + 1

    def one(ids: np.ndarray) -> np.ndarray:
        parts = label(ids, background=-1, connectivity=2)
        found = ids.copy()
        for name in np.unique(ids):
            inside = ids == name
            found[inside] += count * np.unique(parts[inside], return_inverse=True)[1]
        return found

    return each(one, segments)
