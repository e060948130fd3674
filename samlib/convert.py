"""Conversion of anyone's checkpoint to the project's own format: a generator, an encoder or a predictor as safetensors."""

from pathlib import Path

from samlib import paths, weights
from samlib.checkpoints import CheckpointError, is_safetensors, load_generator, load_tensors, read_arrays, save_generator
from samlib.encode import E4e, ReStyle, SamEncoder
from samlib.invertibility import load_predictor
from samlib.irse import load_encoder


def convert(source, target, part: str | None = None, half: bool = False) -> str:
    """Write the network in `source`, any checkpoint that samlib reads, to `target` (.safetensors). Returns its `part`.

    part  "generator", "encoder" or "predictor"; None: what the file holds. An e4e or pSp file holds an encoder and the
          generator it was trained for; the encoder is meant unless `part` says otherwise.
    half  store matrices in 16 bits, which halves the file and moves images by about 1e-3 of their range.
    Numbers are otherwise kept exactly, and the new file says what it was made from.
    """
    source, target = Path(source), Path(target)
    if target.suffix != ".safetensors":
        raise ValueError(f"{target}: want a name that ends in .safetensors")
    held = parts(source)
    if part not in (None, *held):
        raise CheckpointError(f"{source}: holds no {part} but {' and '.join(held)}")
    part = part or held[0]
    load, save = NETWORKS[part]
    save(load(source), target, half=half, metadata={"source": source.name, "source_sha256": paths.digest(source)})
    return part


def class_of(path) -> str:
    """Which of our networks a safetensors file says it holds."""
    return load_tensors(path)[1].get("class", "").strip('"')


def _load_encoder(path):
    """A published encoder, or one that was trained here."""
    own = OWN_ENCODERS.get(class_of(path)) if is_safetensors(path) else None
    return weights.load(own, path) if own else load_encoder(path)


def _save_encoder(network, path, half, metadata):
    if type(network).__name__ in OWN_ENCODERS:
        weights.save(network, path, half, **{**network.metadata, **metadata})  # how it was trained goes along
    else:
        network.save(path, half=half, metadata=metadata)


OWN_ENCODERS = {kind.__name__: kind for kind in (SamEncoder, E4e, ReStyle)}
# How each is read, from any layout, and written.
NETWORKS = {
    "generator": (load_generator, save_generator),
    "encoder": (_load_encoder, _save_encoder),
    "predictor": (load_predictor, lambda network, path, half, metadata: network.save(path, half, **metadata)),
}


def parts(path) -> tuple[str, ...]:
    """The networks that a checkpoint holds, by the names of what is in it. CheckpointError for what is no checkpoint."""
    if is_safetensors(path):
        kinds = {"InvertibilityPredictor": "predictor", **dict.fromkeys(("Encoder", *OWN_ENCODERS), "encoder")}
        return (kinds.get(class_of(path), "generator"),)
    return read_arrays(path, _parts)


def _parts(content, size: int) -> tuple[str, ...]:
    if type(content) is not dict:
        return ("generator",)
    state = content.get("state_dict")
    if type(content.get("sd_base")) is dict:
        return ("predictor",)
    if type(state) is dict and any(str(name).startswith("encoder.") for name in state):
        return ("encoder", *["generator"] * any(str(name).startswith("decoder.") for name in state))
    return ("generator",)
