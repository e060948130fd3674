"""Segmenters for photographs, through `transformers` (the extra "photos"), behind the call of samlib.segmenters.

Weights come from the model hub, or from a local folder with the two files of such a model, config.json and
model.safetensors. Only safetensors are read, and no code that comes with a model is run.
Each image is scaled to the square that the network was trained with, and its segments come back at its own size.
"""

from collections import Counter

import torch
import torch.nn.functional as F
from torch import Tensor

from samlib.segmenters import check

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for all three networks

GROUND = {"floor/road/earth": ("floor", "road", "earth"), "river/water": ("river", "water"),
          "car/truck/van": ("car", "truck", "van"), "grass/field": ("grass", "field")}
FACE = {"face": ("skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip")}


class SegFormer:
    """A SegFormer (Xie et al., 2021) of semantic classes, some of them merged.

    source    name on the hub, or a local folder; revision: a branch, tag or commit of the hub.
    groups    name -> the labels that become one class; None: none.
    size      side of the square that the network sees.
    """

    def __init__(self, source, groups=None, *, size: int = 512, revision: str = "main", device=None):
        self.network = pretrained("SegformerForSemanticSegmentation", source, revision, device)
        self.size = size
        self.classes, table = merge(labels(self.network), groups or {}, source)
        self.table = table.to(self.network.device)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        logits = self.network(pixel_values=prepare(images, self.size, self.network)).logits
        size = images.shape[-2:]
        # One by one: 150 classes of a 1024 px image are 0.6 GB.
        found = [F.interpolate(one[None], size, mode="bilinear", align_corners=False).argmax(1) for one in logits]
        return self.table[torch.cat(found)].to(images.device)


class ADE20K(SegFormer):
    """Scenes: 150 classes of ADE20K, with those merged that the paper's cars do not tell apart.

    The default is the smallest. segformer-b5-finetuned-ade-640-640 (size=640) sees more; where the hub has safetensors
    of it only in a proposed change, name that one: revision="refs/pr/3".
    """

    def __init__(self, source="nvidia/segformer-b0-finetuned-ade-512-512", **settings):
        super().__init__(source, GROUND, **settings)


class FaceParsing(SegFormer):
    """Faces: the 19 classes of CelebAMask-HQ, with the inner face (skin, eyes, brows, nose, mouth, glasses) as one."""

    def __init__(self, source="jonathandinu/face-parsing", **settings):
        super().__init__(source, FACE, **settings)


class COCOPanoptic:
    """Mask2Former (Cheng et al., 2022) on COCO panoptic: a segment for each thing, and one for each kind of stuff.

    A segment's id is class + len(classes) * k for the k-th thing of its class (k = 0 is the surest), so that
    id % len(classes) is the class. What is neither goes to the last class, "unlabelled".
    things     labels below this one are things, the others stuff. threshold: the least probability of a segment.
    """

    def __init__(self, source="facebook/mask2former-swin-tiny-coco-panoptic", *, things: int = 80, size: int = 384,
                 threshold: float = 0.5, revision: str = "main", device=None):
        self.network = pretrained("Mask2FormerForUniversalSegmentation", source, revision, device)
        self.processor = _transformers().Mask2FormerImageProcessor()
        self.classes = (*labels(self.network), "unlabelled")
        self.stuff = set(range(things, len(self.classes) - 1))
        self.size, self.threshold = size, threshold

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        outputs = self.network(pixel_values=prepare(images, self.size, self.network))
        return self.segments(outputs, images.shape[-2:]).to(images.device)

    def segments(self, outputs, size: tuple[int, int]) -> Tensor:
        """The network's masks and classes for N images -> ids (N, H, W)."""
        found = self.processor.post_process_panoptic_segmentation(
            outputs, self.threshold, label_ids_to_fuse=self.stuff, target_sizes=[tuple(size)] * len(outputs.masks_queries_logits))
        return torch.stack([self.named(one["segmentation"].to(self.network.device), one["segments_info"]) for one in found])

    def named(self, parts: Tensor, info: list[dict]) -> Tensor:
        """Numbers of parts (H, W), and the label of each part, surest first -> ids (H, W)."""
        ids, seen = torch.full_like(parts, len(self.classes) - 1, dtype=torch.long), Counter()
        label_of = {one["id"]: one["label_id"] for one in sorted(info, key=lambda one: -one["score"])}
        for part, label in label_of.items():
            ids[parts == part] = label + len(self.classes) * seen[label]
            seen[label] += 1
        return ids


def prepare(images: Tensor, size: int, network) -> Tensor:
    """(N, 3, H, W) in [-1, 1] -> (N, 3, size, size), normalized, where the network is."""
    check(images)
    images = images.to(network.device, network.dtype)
    if tuple(images.shape[-2:]) != (size, size):
        images = F.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)
    mean, std = images.new_tensor(MEAN), images.new_tensor(STD)
    return ((images + 1) / 2 - mean[:, None, None]) / std[:, None, None]


def labels(network) -> list[str]:
    """The names of a network's classes, in order; of several synonyms ("car, auto") the first."""
    names = network.config.id2label
    return [names[i].split(",")[0].strip() for i in range(len(names))]


def merge(names: list[str], groups: dict[str, tuple], source="the network") -> tuple[tuple, Tensor]:
    """Class names with each group as one, at the place of its first member; and the table: label -> class (K,)."""
    if missing := [name for members in groups.values() for name in members if name not in names]:
        raise ValueError(f"{source}: has no label {', '.join(missing)}, wanted to merge {', '.join(groups)}; "
                         "give a network that was trained on these classes")
    group_of = {member: name for name, members in groups.items() for member in members}
    renamed = [group_of.get(name, name) for name in names]
    classes = tuple(dict.fromkeys(renamed))
    return classes, torch.tensor([classes.index(name) for name in renamed])


def pretrained(kind: str, source, revision: str = "main", device=None):
    """The network of this class of `transformers` in evaluation mode. One clear line if it cannot be had whole."""
    wanted = (f"wanted config.json and model.safetensors of a {kind}: go online for them (huggingface.co/{source}), "
              "or give the local folder that holds them")
    try:
        network, report = getattr(_transformers(), kind).from_pretrained(
            source, revision=revision, use_safetensors=True, trust_remote_code=False, output_loading_info=True)
    except Exception as error:  # files of another network, or damaged ones, can raise nearly anything
        missing = isinstance(error, OSError)
        reason = " ".join(str(error).split())[:200]
        raise (FileNotFoundError if missing else ValueError)(f"{source}: no weights ({reason}); {wanted}") from error
    if missing := sorted(report["missing_keys"]):  # those would be random
        raise ValueError(f"{source}: {len(missing)} weights are missing, {missing[0]} the first; {wanted}")
    return network.to(device or "cpu").eval().requires_grad_(False)


def _transformers():
    try:
        import transformers
    except ImportError as error:
        raise ImportError("segmenters for photographs need transformers: pip install 'sam-inversion[photos]'") from error
    return transformers
