"""Runs the stages of a training in order, each only where its result is not there yet."""

import contextlib
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch

from ..arguments import file, known, parameter, positive
from ..devices import pick_device


def fast_matrices():
    """On CUDA: products in TF32, and the fastest convolution of each shape."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True


@contextlib.contextmanager
def full_precision():
    """On CUDA: no TF32 inside; what comes after has it as before."""
    backends = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = False
        yield
    finally:
        for backend, allowed in zip(backends, before):
            backend.allow_tf32 = allowed


def run_stages(stages, table, subject, out, profile: dict, device, takes: dict, options: dict):
    """table: name -> (function, its result or None); each is called as function(subject, out, profile, device, **some of the
    `options`), those that takes[name] lists. A stage whose result is in the folder `out` is skipped, but "gan" where it has a
    checkpoint to go on from, or is told to `start` from a generator: without them it would begin anew, over a finished one."""
    device, out = pick_device(device), Path(out)
    if device.type == "cuda":
        fast_matrices()
    out.mkdir(parents=True, exist_ok=True)
    for name in stages:
        run, result = table[name]
        goes_on = name == "gan" and ((out / "checkpoint.pt").exists() or options.get("start"))
        if result and (out / result).exists() and not goes_on:
            print(f"{name}: {result} is there, skipped")
            continue
        begin = time.monotonic()
        run(subject, out, profile, device, **{k: v for k, v in options.items() if k in takes.get(name, ())})
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)


def add_options(parser, stages, profiles):
    """What the command lines of all trainings have in common; see `parse`."""
    parser.add_argument("stages", nargs="*", default=list(stages))
    parser.add_argument("--out", required=True)
    parser.add_argument("--profile", default="full", choices=list(profiles))
    parser.add_argument("--seconds", type=float, default=float("inf"), help="of the GAN's training")
    parser.add_argument("--gan", nargs="+", action="extend", default=[], type=parameter, metavar="NAME=VALUE",
                        help="settings of the GAN to change, such as lesson=3000")
    parser.add_argument("--set", nargs="+", action="extend", default=[], type=parameter, metavar="NAME=VALUE",
                        help="numbers of the profile to change, such as scenes=20000")
    parser.add_argument("--generator", dest="start", type=file, help="file of a generator to begin with")
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=positive, default=1)


def parse(parser, arguments, stages, profiles):
    """The options, and the profile with what --gan and --set change of it; a mistake is an error of the command line."""
    a = parser.parse_args(arguments)
    known(parser, "stage", a.stages, stages)
    if not 0 <= a.part < a.parts:
        parser.error(f"no part {a.part} of {a.parts}; the first is 0, the last {a.parts - 1}")
    return a, changed(profiles[a.profile], parser, a.gan, a.set)


def changed(profile: dict, parser, gan: list[tuple], numbers: list[tuple]) -> dict:
    """`profile` with what --gan and --set say, (name, value) each; a mistake in them is an error of the command line."""
    for kind, pairs, there in (("setting", numbers, profile), ("setting of the GAN", gan, asdict(profile["gan"]))):
        known(parser, kind, dict(pairs), there)
        for name, value in pairs:
            if isinstance(value, str) != isinstance(there[name], str):
                parser.error(f"{name}={value}: want something like {there[name]}")
    try:
        return profile | dict(numbers) | {"gan": replace(profile["gan"], **dict(gan))}
    except ValueError as error:
        parser.error(str(error))
