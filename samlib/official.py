"""The official domains: the paper's own setting, from the files that NVIDIA and the authors publish.

`samlib.load("lsun-cars")` comes here. Files are looked for in the user's folder, `paths.weights()`/NAME, downloaded if they
are not there (`download`), and read as data (`checkpoints`); nothing in them is run.
"""

import warnings
from pathlib import Path

import numpy as np
import torch

from samlib import download, encode, paths, segmenters
from samlib.checkpoints import load_generator
from samlib.classifier import ImageNetClassifier, imagenet_classes
from samlib.devices import pick_device
from samlib.images import box_of, framed
from samlib.invertibility import load_predictor
from samlib.irse import load_encoder
from samlib.perceptual import Metric

NVIDIA = "https://nvlabs-fi-cdn.nvidia.com/stylegan2/networks/"
AUTHORS = "https://www.cs.cmu.edu/~SAMInversion/ckpt/"
EDITS = "https://raw.githubusercontent.com/adobe-research/sam_inversion/e083855379efa1bc90bf6ec0bdab0d47cec4c42e/edits/"
BIGGAN = "https://s3.amazonaws.com/models.huggingface.co/biggan/"  # as in the source of pytorch-pretrained-biggan 0.1.1
PARTS = ("generator", "predictor", "encoder")

# generator, predictor (S), encoder (e4e): addresses; None: not published. edits: address of the directions, {} their names.
# size: of the generator's square; aspect: of the images in it, (width, height); sweep: (lowest, highest, step) of tau.
OFFICIAL = {
    "lsun-cars": dict(
        generator=NVIDIA + "stylegan2-car-config-f.pkl", predictor=AUTHORS + "invertibility_cars_sg2.pt",
        encoder=AUTHORS + "e4e_cars_encode.pt", size=512, aspect=(512, 384), tau=0.225, sweep=(0.1, 0.4, 0.025),
        metric="lpips-vgg", segmenter="ade20k", edits=EDITS + "cars/csc_{}.npy",
        directions=("black", "blue", "model_t", "muscle", "rims", "snow", "starwars", "suv", "windows_closed", "windows_open"),
    ),
    "lsun-horses": dict(
        generator=NVIDIA + "stylegan2-horse-config-f.pkl", predictor=None, encoder=None, size=256, aspect=None, tau=0.225,
        sweep=(0.1, 0.4, 0.025), metric="lpips-vgg", segmenter="coco", edits=None, directions=(),
    ),
    "lsun-cats": dict(
        generator=AUTHORS + "stylegan2-cat-config-f_sg2adapyt.pkl", predictor=AUTHORS + "invertibility_lsuncats_sg2.pt",
        encoder=AUTHORS + "e4e_lsuncats_encode.pt", size=256, aspect=None, tau=0.225, sweep=(0.2, 0.45, 0.025),
        metric="lpips-vgg", segmenter="coco", edits=EDITS + "cats/csc_{}.npy",
        directions=("egyptian", "eyes_large", "eyes_small", "nose_pink", "siamese", "surprised"),
    ),
    "ffhq": dict(
        generator=NVIDIA + "stylegan2-ffhq-config-f.pkl", predictor=AUTHORS + "invertibility_faces_sg2.pt",
        encoder=AUTHORS + "e4e_ffhq_encode.pt", size=1024, aspect=None, tau=0.225, sweep=(0.1, 0.4, 0.025),
        metric="lpips-vgg", segmenter="faces", edits=EDITS + "faces/csc_{}.npy",
        directions=("eyebrows_thick", "eyebrows_thin", "glasses_add", "laughing", "nose_big", "nose_small", "old", "sad", "young"),
    ),
}  # fmt: skip
# BigGAN-deep (Sec. 6.3): no S, no directions are published; the class of an image is told by ResNet-50.
OFFICIAL |= {
    f"imagenet-{size}": dict(
        generator=f"{BIGGAN}biggan-deep-{size}-pytorch_model.bin", predictor=None, encoder=None, size=size, aspect=None, tau=0.225,
        sweep=(0.1, 0.4, 0.025), metric="lpips-vgg", segmenter="coco", edits=None, directions=(), classifier="imagenet",
    )
    for size in (128, 256, 512)
}  # fmt: skip
STEPS = 1001  # of the published inversions
VIEW = 256  # pixels: the width of what S and the encoders were trained with


def load(name, device=None, *, facts=None, folder=None, progress=True):
    """The official domain `name` on `device`, from the files in `folder`, which are downloaded if they are not there.

    facts   instead of OFFICIAL[name]; folder: instead of paths.weights()/name.
    Whatever has no start of its own (`methods.STARTS`) begins at e4e where that is published: "w+" is then "hybrid-e4e".
    The segmenter is made when it is first called, since it needs the extra "photos" and a download of its own. Directions
    are those in the folder that end in .npy. FetchError for a file that cannot be had; ValueError for one that is another
    than the one first seen, or is no such file.
    """
    from samlib.domains import Domain

    facts, folder, device = facts or OFFICIAL[name], Path(folder or paths.weights() / name), pick_device(device)
    files = _files(name, folder, facts, progress)
    metric = Metric(facts["metric"]).to(device)
    generator = load_generator(files["generator"]).to(device)
    if generator.resolution != facts["size"]:
        raise ValueError(f"{files['generator']}: makes images of {generator.resolution} px; {name} wants {facts['size']}")
    if facts.get("classifier") == "imagenet":
        generator.names = imagenet_classes()
        generator.classify = segmenters.Later(lambda: ImageNetClassifier().to(device))
    predictor = load_predictor(files["predictor"], device) if files["predictor"] else None
    _check_spaces(files["predictor"], predictor, generator)
    encoders = {"e4e": Framed(load_encoder(files["encoder"]), facts["aspect"]).to(device)} if files["encoder"] else {}
    return Domain(
        name, generator, metric, predictor, segmenters.named(facts["segmenter"], device),
        _directions(folder, facts, generator, progress),
        tau=facts["tau"], folder=folder, encoders=encoders, start="e4e" if encoders else None, aspect=facts["aspect"],
        steps=STEPS, view=min(VIEW, facts["size"]), missing=_unpublished(name, facts, folder))  # fmt: skip


class Framed(encode.Published):
    """A published encoder for images of another aspect than their square: it sees what is inside (cars: 192 of 256 rows)."""

    def __init__(self, encoder, aspect=None):
        super().__init__(encoder)
        self.aspect = aspect

    def seen(self, images):
        x = super().seen(images)
        return x[box_of(x, framed(torch.ones_like(x[:, :1]), self.aspect))]


def status(name, folder=None, facts=None) -> dict[str, tuple[str, Path, str]]:
    """part -> (name of its file, where it belongs, "here", "in part", "not here" or "not published"). Asks no server."""
    facts, folder = facts or OFFICIAL[name], Path(folder or paths.weights() / name)
    addresses = {part: facts[part] for part in PARTS} | {d: facts["edits"].format(d) for d in facts["directions"]}
    found = {}
    for part, url in addresses.items():
        path = folder / (download.name_of(url) if url else f"{part}.safetensors")
        state = "here" if path.is_file() else "in part" if path.with_name(f"{path.name}.part").is_file() else "not here"
        found[part] = (path.name, path, "not published" if state == "not here" and not url else state)
    return found


def _files(name, folder, facts, progress) -> dict[str, Path | None]:
    """part -> its published file; or, where none is published, one made here and put into the folder as PART.safetensors."""
    found = {}
    for i, part in enumerate(PARTS):
        own = folder / f"{part}.safetensors"
        try:
            found[part] = download.fetch(facts[part], folder, progress) if facts[part] else own if own.is_file() else None
        except download.FetchError as error:
            others = [facts[o] for o in PARTS[i + 1:] if status(name, folder, facts)[o][2] in ("not here", "in part")]
            raise download.FetchError(f"{error}" + f"; then {' and '.join(others)} as well" * bool(others)) from None
    return found


def _unpublished(name, facts, folder) -> dict[str, str]:
    """What to say when somebody asks for a part that was never published."""
    file = folder / download.name_of(facts["generator"])
    train = f"`python -m samlib train OUT --images FOLDER --generator {file}`"
    texts = {
        "predictor": f"no predictor is published for {name}, which \"sam\" needs: train one with {train}, then load OUT, or put its "
                     f"predictor.safetensors into {folder}; w, w+, gaussian and single spaces work without",
        "encoder": f"no encoder is published for {name}: put one into {folder} as encoder.safetensors (python -m samlib convert)",
    }  # fmt: skip
    missing = {part: text for part, text in texts.items() if not facts[part]}
    return missing | ({"e4e": missing["encoder"]} if "encoder" in missing else {})


def _check_spaces(path, predictor, generator):
    wanted = tuple(space.name for space in generator.spaces)
    if predictor is not None and predictor.spaces != wanted:
        raise ValueError(f"{path}: predicts errors of {', '.join(predictor.spaces)}; this generator has {', '.join(wanted)}")


def _directions(folder, facts, generator, progress) -> dict[str, torch.Tensor]:
    """name -> (L, D): the published ones, and whatever else lies in the folder as .npy. Those that cannot be had are left out."""
    try:
        for direction in facts["directions"]:
            download.fetch(facts["edits"].format(direction), folder, progress=False)
    except download.FetchError as error:
        warnings.warn(f"edit directions are left out: {error}", stacklevel=4)
    found = {path.stem.removeprefix("csc_"): path for path in sorted(folder.glob("*.npy"))}
    return {name: read_direction(path, generator).to(generator.w_avg.device) for name, path in found.items()}


def read_direction(path, generator) -> torch.Tensor:
    """An edit direction (L, D) out of a .npy file of as many numbers, a row for each row of w+; read as data."""
    rows, width = generator.num_layers, generator.w_dim
    try:
        if Path(path).stat().st_size > 64 * rows * width + 4096:
            raise ValueError("far too large")
        numbers = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(numbers, np.ndarray) or numbers.dtype.kind != "f" or numbers.size != rows * width:
            raise ValueError(f"{getattr(numbers, 'dtype', 'no array')} of shape {getattr(numbers, 'shape', '')}"[:100])
        return torch.from_numpy(np.array(numbers, np.float32)).reshape(rows, width)
    except (ValueError, OSError, EOFError, TypeError, SyntaxError) as error:
        reason = " ".join(str(error)[:150].split())
        raise ValueError(f"{path}: no edit direction ({reason}); want a .npy file of floats ({rows}, {width})") from None
