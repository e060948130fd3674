"""Runs the stages of a training in order, each only where its result is not there yet."""

import contextlib
import time
from pathlib import Path

import torch

from ..domains import pick_device


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
