"""Writes a generator in the official file layouts, so that reading them can be tested without the official files.

The source text that these files carry raises an error if anything runs it.
"""

import collections
import pickle

import torch

from samlib.standin import SOURCE, modules, named


def write_nvidia(generator, path, source=SOURCE, protocol=3, **attributes):
    """A dict of networks rebuilt by torch_utils.persistence; `attributes` are set on the generator."""
    _reconstruct_persistent_obj = lambda meta: None  # noqa: E731
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    EasyDict = type("EasyDict", (dict,), {"__qualname__": "EasyDict"})
    Module = named("Module", __reduce__=lambda self: (_reconstruct_persistent_obj, (self.meta,)))

    def module(tensors, name, **attributes):
        it, state = Module(), dict(attributes, _non_persistent_buffers_set=set())
        state["_parameters"], state["_buffers"] = collections.OrderedDict(), collections.OrderedDict()
        children = collections.defaultdict(dict)
        for key, tensor in tensors.items():
            head, _, rest = key.partition(".")
            if rest:
                children[head][rest] = tensor
            elif head in ("noise_const", "resample_filter", "w_avg"):
                state["_buffers"][head] = tensor.detach().clone()
            else:
                state["_parameters"][head] = torch.nn.Parameter(tensor.detach().clone())
        state["_modules"] = collections.OrderedDict((key, module(value, key)) for key, value in children.items())
        if name.startswith(("conv", "torgb")):
            state["conv_clamp"] = generator.config["conv_clamp"]
        it.meta = EasyDict(type="class", version=6, module_src=source, class_name=name, state=state)
        return it

    network = module(generator.state_dict(), "Generator", **{"c_dim": 0, "img_channels": 3, **attributes})
    content = dict(training_set_kwargs=EasyDict(path="."), G=None, D=None, G_ema=network, augment_pipe=None)
    fakes = modules(torch_utils__persistence=[_reconstruct_persistent_obj], dnnlib__util=[EasyDict])
    with fakes, open(path, "wb") as file:
        pickle.dump(content, file, protocol=protocol)


def rosinality_state(generator) -> dict:
    """The generator's tensors in the names and shapes of rosinality's stylegan2-pytorch."""
    state = {}
    for name, tensor in generator.state_dict().items():
        tensor = tensor.detach().clone()
        parts = name.split(".")
        if parts[0] == "mapping":
            if parts[1] != "w_avg":
                state[f"style.{int(parts[1][2:]) + 1}.{parts[2]}"] = tensor
            continue
        level = int(parts[1][1:]).bit_length() - 3
        if parts[2] == "const":
            state["input.input"] = tensor[None]
        elif parts[2] != "resample_filter":
            state.update(_rosinality(level, parts[2], ".".join(parts[3:]), tensor))
    return state


def _rosinality(level, layer, kind, tensor):
    index = 2 * level - (layer == "conv0")  # of the noise: two to a level, one at 4 px
    there = f"to_rgbs.{level - 1}" if layer == "torgb" else f"convs.{index - 1}"
    if level == 0:
        there = {"conv1": "conv1", "torgb": "to_rgb1"}[layer]
    if kind == "noise_const":
        return {f"noises.noise_{index}": tensor[None, None]}
    if kind == "resample_filter":
        return {f"{there}.conv.blur.kernel": tensor * 4} if layer == "conv0" else {}
    if kind == "noise_strength":
        return {f"{there}.noise.weight": tensor[None]}
    if kind == "weight":
        return {f"{there}.conv.weight": tensor[None]}
    if kind == "bias":
        plane = tensor[None, :, None, None]
        return {f"{there}.bias": plane} if layer == "torgb" else {f"{there}.activate.bias": tensor}
    return {f"{there}.conv.{kind.replace('affine', 'modulation')}": tensor}


def write_rosinality(generator, path, mean=True, **options):
    content = {"g_ema": collections.OrderedDict(rosinality_state(generator))}
    if mean:
        content["latent_avg"] = generator.w_avg.clone()
    torch.save(content, path, **options)
