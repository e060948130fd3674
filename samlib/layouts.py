"""The official StyleGAN2 layouts, translated to the names and conventions of `samlib.stylegan2`.

Each function takes what `torch_files.read` made of a file and gives name -> numpy view, in the names of the PyTorch
reference release. Views only: transposing and flipping copy nothing.
"""

import math
import re

import numpy as np

from . import biggan_layout
from .arrays import Array, CheckpointError, brief
from .unpickle import Record

# Settings of a TensorFlow network that the arrays do not show, with the values that `samlib.stylegan2` computes.
TENSORFLOW_SETTINGS = dict(
    architecture="skip", nonlinearity="lrelu", mapping_nonlinearity="lrelu", mapping_lrmul=0.01,
    normalize_latents=True, resample_kernel=[1, 3, 3, 1], label_size=0, num_channels=3,
)  # fmt: skip
KERNEL = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
MAX_ARRAYS = 5_000


def arrays_of(content, size: int) -> tuple[dict, dict]:
    """(name -> numpy view, settings for the constructor that shapes do not tell) of any known layout.

    size: bytes of the file, the most that all arrays together may claim.
    """
    if type(content) is tuple and len(content) == 3 and all(type(n) is Record and n.kind == "Network" for n in content):
        return from_tensorflow(content[2], size), {}  # (G, D, Gs): the last is the moving average
    if type(content) is not dict:
        raise CheckpointError(f"holds no StyleGAN2 generator but a {type(content).__name__}; want Gs, G_ema or g_ema")
    if biggan_layout.is_biggan(content):
        return biggan_layout.fold(collect(content.items(), size)), {}
    network, state = content.get("G_ema"), content.get("state_dict")
    if type(network) is Record and "_modules" in network.state:
        return from_nvidia(network, size)
    if type(content.get("g_ema")) is dict:
        return from_rosinality(content["g_ema"], content.get("latent_avg"), size), {}
    if type(state) is dict and any(str(name).startswith("decoder.") for name in state):  # pSp and e4e carry theirs
        state = {name[8:]: array for name, array in state.items() if str(name).startswith("decoder.")}
        return from_rosinality(state, content.get("latent_avg"), size), {}
    found = ", ".join(str(key)[:40] for key in list(content)[:8])
    raise CheckpointError(f"holds no StyleGAN2 generator (found: {found}); want Gs, G_ema or g_ema")


def collect(pairs, size: int) -> dict:
    """name -> checked view of each (name, Array). Names of one storage must not add up to more than the file."""
    found, total = {}, 0
    for name, array in pairs:
        if type(name) is not str or len(name) > 200 or type(array) not in (Array, float):
            raise CheckpointError(f"{brief(name)} is not the name of an array")
        found[name] = np.float32(array) if type(array) is float else array.view()  # numpy's scalars come as numbers
        total += found[name].nbytes
        if total > size or len(found) > MAX_ARRAYS:
            raise CheckpointError("arrays that share their data and claim more than the file holds")
    return found


def from_tensorflow(network: Record, size: int) -> dict:
    """The arrays of a `dnnlib.tflib.network.Network`: channels last, filters of upsampling layers not yet flipped."""
    parts = [network, *network.state.get("components", {}).values()]
    for setting, wanted in TENSORFLOW_SETTINGS.items():
        for found in (part.state.get("static_kwargs", {}).get(setting, wanted) for part in parts):
            if found != wanted:
                raise CheckpointError(f"a generator with {setting} {brief(found)}; samlib builds {wanted}")
    found = collect((pair for part in parts for pair in part.state["variables"]), size)
    state = {}
    for name, array in found.items():
        if name != "lod":  # the progress of training, not a weight
            ours, change = _tensorflow_name(name)
            state[ours] = change(array)
    return _with_kernels(state)


def _tensorflow_name(name: str):
    """The name here and the change of convention for one TensorFlow variable."""
    if name == "dlatent_avg":
        return "mapping.w_avg", np.asarray
    if match := re.fullmatch(r"Dense(\d+)/(weight|bias)", name):
        return f"mapping.fc{match[1]}.{match[2]}", np.transpose
    if match := re.fullmatch(r"noise(\d+)", name):
        return _noise_name(int(match[1])), _plane
    if name == "4x4/Const/const":
        return "synthesis.b4.const", lambda a: a[0]
    match = re.fullmatch(r"(\d+)x\1/(Conv|Conv0_up|Conv1|ToRGB)/(mod_)?(weight|bias|noise_strength)", name)
    if not match:
        raise CheckpointError(f"{brief(name)} is no variable of an unconditional StyleGAN2 generator with skips")
    resolution, layer, modulation, kind = match.groups()
    ours = {"Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb"}[layer]
    ours = f"synthesis.b{resolution}.{ours}.{'affine.' if modulation else ''}{kind}"
    if modulation:
        return ours, (lambda a: a + 1) if kind == "bias" else np.transpose  # TensorFlow adds the 1 when it runs
    if kind != "weight":
        return ours, np.asarray
    turned = (slice(None, None, -1),) * 2 if layer == "Conv0_up" else ()
    return ours, lambda a: a[turned].transpose(3, 2, 0, 1)


def _noise_name(index: int) -> str:
    """noise0 belongs to 4 px, then two to each resolution."""
    layer = "conv1" if index % 2 == 0 else "conv0"
    return f"synthesis.b{4 << (min(index, 40) + 1) // 2}.{layer}.noise_const"


def _plane(array):
    return array.reshape(array.shape[-2:])


def _with_kernels(state: dict) -> dict:
    """Adds the low-pass filters, which these layouts keep elsewhere or nowhere."""
    kernel = KERNEL.astype(np.float32)
    blocks = {re.match(r"synthesis\.b\d+\.", name)[0] for name in state if name.startswith("synthesis.b")}
    layers = {name.removesuffix("noise_strength") for name in state if name.endswith(".noise_strength")}
    return {**state, **{f"{owner}resample_filter": kernel for owner in blocks | layers}}


def from_nvidia(network: Record, size: int) -> tuple[dict, dict]:
    """The arrays of a PyTorch-era generator: modules as they were pickled, in the names used here."""
    if network.state.get("c_dim") or network.state.get("img_channels", 3) != 3:
        raise CheckpointError("a class-conditional generator, or one without 3 colours; samlib builds neither")
    clamps = []
    state = collect(_walk(network, clamps), size)
    for name in (name for name in state if name.endswith("resample_filter")):
        _check_kernel(name, state[name])
    if not all(clamp is None or type(clamp) in (int, float) for clamp in clamps) or len(set(clamps)) > 1:
        raise CheckpointError("layers with different limits on their activations")
    return state, {"conv_clamp": clamps[0] if clamps else None}


def _walk(network: Record, clamps: list):
    """(name, array) of every parameter and buffer; appends the limit that each layer sets on its activations."""
    waiting = [("", network)]
    for _ in range(MAX_ARRAYS):
        if not waiting:
            return
        prefix, module = waiting.pop()
        if type(module) is not Record or len(prefix) > 200:
            raise CheckpointError(f"{brief(prefix)} is no module")
        for kind in ("_parameters", "_buffers"):
            yield from ((f"{prefix}{name}", array) for name, array in module.state[kind].items() if array is not None)
        waiting += [(f"{prefix}{name}.", child) for name, child in module.state["_modules"].items()]
        if "conv_clamp" in module.state:
            clamps.append(module.state["conv_clamp"])
    raise CheckpointError("more modules than a generator has")


def _check_kernel(name, kernel):
    gains = (1, 4)  # 4 where zeros are inserted first
    if kernel.shape != (4, 4) or not any(np.allclose(kernel, gain * KERNEL, atol=1e-4) for gain in gains):
        raise CheckpointError(f"{brief(name)} is not the low-pass filter [1, 3, 3, 1]; samlib builds no other")


def from_rosinality(found: dict, mean, size: int) -> dict:
    """The arrays of rosinality's stylegan2-pytorch: the same conventions as here, other names and some axes of 1."""
    state = {}
    for name, array in collect(found.items(), size).items():
        if name.endswith(".kernel"):
            _check_kernel(name, array)
        else:
            state[_rosinality_name(name)] = array
    shapes = {"const": 3, "noise_const": 2, "noise_strength": 0}
    for name, array in state.items():
        wanted = shapes.get(name.rsplit(".", 1)[1])
        if wanted is None:
            wanted = 1 if name.endswith("bias") else 2 if "affine" in name or "mapping" in name else 4
        extra = array.ndim - wanted  # axes of 1 in front, and for the bias of ToRGB also behind
        state[name] = array.reshape(-1 if wanted == 1 else array.shape[extra:]) if extra > 0 else array
    if mean is not None:  # (512,), or pSp's (L, 512) with equal rows
        mean = collect([("latent_avg", mean)], size)["latent_avg"]
        state["mapping.w_avg"] = mean.reshape(-1, mean.shape[-1])[0]
    return _with_kernels(state)


def _rosinality_name(name: str) -> str:
    if match := re.fullmatch(r"style\.([1-9]\d?)\.(weight|bias)", name):
        return f"mapping.fc{int(match[1]) - 1}.{match[2]}"
    if match := re.fullmatch(r"noises\.noise_(\d+)", name):
        return _noise_name(int(match[1]))
    if name == "input.input":
        return "synthesis.b4.const"
    tail = r"(conv\.weight|conv\.modulation\.(?:weight|bias)|noise\.weight|activate\.bias|bias)"
    match = re.fullmatch(rf"(conv1|to_rgb1|convs\.(\d+)|to_rgbs\.(\d+))\.{tail}", name)
    if not match:
        raise CheckpointError(f"{brief(name)} is no tensor of rosinality's StyleGAN2 generator")
    layer, conv, rgb, part = match.groups()
    part = part.replace("conv.modulation", "affine").replace("conv.weight", "weight")
    part = part.replace("noise.weight", "noise_strength").replace("activate.bias", "bias")
    if layer in ("conv1", "to_rgb1"):
        return f"synthesis.b4.{'conv1' if layer == 'conv1' else 'torgb'}.{part}"
    index = min(int(conv if conv is not None else 2 * int(rgb)), 40)
    owner = f"conv{index % 2}" if conv is not None else "torgb"
    return f"synthesis.b{8 << index // 2}.{owner}.{part}"


def config_of(shapes: dict) -> dict:
    """The generator's constructor arguments that its tensors' shapes (name -> tuple) imply."""
    channels = {}
    for name, shape in shapes.items():
        if match := re.fullmatch(r"synthesis\.b(\d{1,5})\.conv1\.weight", name):
            channels[int(match[1])] = shape[0]
    layers = sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in shapes)
    for needed in ("mapping.fc0.weight", "mapping.fc0.bias", "synthesis.b4.conv1.weight", "synthesis.b8.conv1.weight"):
        if needed not in shapes or not math.prod(shapes[needed]):
            raise CheckpointError(f"holds no whole StyleGAN2 generator: {needed} is missing or empty")
    return dict(resolution=max(channels), channels=dict(sorted(channels.items())), mapping_layers=layers,
                z_dim=shapes["mapping.fc0.weight"][-1], w_dim=shapes["mapping.fc0.bias"][0])  # fmt: skip
