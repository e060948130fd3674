"""Stand-ins for the official files: networks written in the official layouts, so that all that reads and uses such files
can be tried where the real ones cannot be had.

    networks of any size -> `make` -> files under their official names, and facts -> official.load(name, facts=, folder=)

The source text that the official pickles carry raises an error here, should anything run it.
"""

import contextlib
import pickle
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from samlib.download import RECORD, name_of
from samlib.official import OFFICIAL
from samlib.official import load as official_load

SOURCE = "raise RuntimeError('code inside a checkpoint was run')\n"


@contextlib.contextmanager
def modules(**globals_by_module):
    """Make objects picklable under the names of modules that are not installed here: dnnlib__tflib=[...]."""
    before = dict(sys.modules)
    added = set()
    for name, things in globals_by_module.items():
        name = name.replace("__", ".")
        for end in [*(i for i, letter in enumerate(name) if letter == "."), len(name)]:
            sys.modules[name[:end]] = types.ModuleType(name[:end])
            added.add(name[:end])
        for thing in things:
            thing.__module__ = name
            setattr(sys.modules[name], thing.__qualname__, thing)
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]
            if name in before:
                sys.modules[name] = before[name]


def named(name, **attributes):
    return type(name, (), {"__qualname__": name, **attributes})


def write_generator(generator, path, source=SOURCE, protocol=4, whole=False):
    """A TensorFlow-era pickle: (G, D, Gs) of dnnlib.tflib.network.Network, with text that nobody should run.

    whole: G and D have numbers of their own, as many as Gs, which makes the file as large as the official ones.
    """
    Network = named("Network", __getstate__=lambda self: self.content)
    state = {name: tensor.detach().numpy() for name, tensor in generator.state_dict().items()}

    def network(name, variables, **components):
        it = Network()
        it.content = dict(version=4, name=name, static_kwargs=dict(label_size=0, resolution=generator.resolution),
                          components=components, build_module_src=source, build_func_name=name,
                          variables=variables)  # fmt: skip
        return it

    def generating(name):
        found = [variable for key, array in state.items() if (variable := _tensorflow(key, array))]
        mapping, synthesis = ([v for v in found if v[0].startswith("Dense") == chosen] for chosen in (True, False))
        top = [("lod", state["mapping.w_avg"][:0].sum()), ("dlatent_avg", state["mapping.w_avg"])]
        parts = dict(mapping=network("G_mapping", mapping), synthesis=network("G_synthesis", synthesis))
        return network(name, top, **parts)

    gs = generating("Gs")
    g, d = (generating("G"), generating("D")) if whole else (gs, network("D", []))
    with modules(dnnlib__tflib__network=[Network]), open(path, "wb") as file:
        pickle.dump((g, d, gs), file, protocol=protocol)


def _tensorflow(name, array):
    owner, layer, kind = ([*name.split("."), ""] * 2)[:3] if name.startswith("mapping") else name.split(".", 2)
    if owner == "mapping":
        return (f"Dense{layer[2:]}/{kind}", array.T) if layer != "w_avg" else None
    resolution = int(layer[1:])
    if kind == "const":
        return "4x4/Const/const", array[None]
    if "." not in kind or kind.endswith("resample_filter"):
        return None
    layer, kind = kind.split(".", 1)
    level = resolution.bit_length() - 3  # 0 at 4 px
    if kind == "noise_const":
        return f"noise{2 * level - (layer == 'conv0')}", array[None, None]
    there = {"conv0": "Conv0_up", "conv1": "Conv1" if level else "Conv", "torgb": "ToRGB"}[layer]
    if kind == "weight":
        array = array.transpose(2, 3, 1, 0)
        array = array[::-1, ::-1] if layer == "conv0" else array
    elif kind == "affine.weight":
        array = array.T
    elif kind == "affine.bias":
        array = array - 1
    kind = kind.replace("affine.", "mod_")
    return f"{resolution}x{resolution}/{there}/{kind}", array.copy()[()]  # [()]: numbers, not 0-d arrays


def write_predictor(predictor, path):
    """A published predictor's file: {"sd_base": state, space name: state of its head, ...}."""
    heads = {name: head.state_dict() for name, head in predictor.heads.items()}
    torch.save({"sd_base": predictor.sd_base.state_dict(), **heads}, path)


def write_encoder(encoder, path):
    """A published e4e or pSp checkpoint, without the generator that such files carry along."""
    kind = {"e4e": "Encoder4Editing", "psp": "GradualStyleEncoder"}[encoder.kind]
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    torch.save({"state_dict": state, "latent_avg": encoder.latent_avg,
                "opts": {"encoder_type": kind, "start_from_latent_avg": True}}, path)


def make(folder, name, generator, predictor=None, encoder=None, directions=None, **facts) -> dict:
    """Write the files of the official domain `name` into `folder`, holding these networks instead of the published ones, and
    in place of any that are there.

    directions: name -> (L, D). Returns the facts with which `official.load(name, facts=..., folder=...)` takes them: those
    of the official domain with what is not given marked as not published, the size of the generator, and `facts`.
    """
    folder, official = Path(folder), OFFICIAL[name]
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (*folder.glob("csc_*.npy"), folder / RECORD):  # of an older one, which this one need not equal
        stale.unlink(missing_ok=True)
    found = dict(generator=(write_generator, generator), predictor=(write_predictor, predictor), encoder=(write_encoder, encoder))
    for part, (write, network) in found.items():
        if network is not None:
            write(network, folder / name_of(official[part]))
    for direction, rows in (directions or {}).items():
        np.save(folder / f"csc_{direction}.npy", rows.detach().cpu().numpy())
    gone = {part: None for part, (_, network) in found.items() if network is None}
    return {**official, **gone, "size": generator.resolution, "directions": tuple(directions or ()), **facts}


def cars(folder, device=None):
    """The built-in cars as files of lsun-cars in `folder`, and the domain that `official.load` makes of them.

    Of 256 px instead of 512, with no encoder, so that inversions begin at the mean w, and with the settings that suit this
    generator. ST-LPIPS and the built-in segmenter stand for LPIPS and ADE20K, whose weights would have to be downloaded.
    """
    from samlib.domains import load

    own = load("cars", "cpu")
    facts = make(folder, "lsun-cars", own.generator, own.predictor, directions=own.directions, metric="st-lpips-alex",
                 segmenter="unsupervised", tau=own.tau)
    found = official_load("lsun-cars", device, facts=facts, folder=folder, progress=False)
    return replace(found, segmenter=load("cars", found.device).segmenter, strengths=own.strengths, steps=own.steps,
                   weights=own.weights, learning_rate=own.learning_rate, delta_learning_rate=own.delta_learning_rate)
