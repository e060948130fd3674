"""How long, and with how much memory, a generator of config-f (512 px) loads from a file in the official TensorFlow-era layout.

    python benchmarks/loading.py [--layout all|one]

The file is made on the spot, with random weights: G, D and Gs as in the official ones (all), or Gs alone, which is the
hardest case for memory, since nothing in the file can be passed over (one). Each of three loads is a process of its own; the
medians are printed. Memory is the highest resident size while loading, above what it was once everything was imported.
Wanted: at most 10 s on two cores, and at most 2.5 times the file.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SECONDS, TIMES = 10, 2.5
UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


def make(path, layout):
    import torch

    from samlib import standin
    from samlib.stylegan2 import Generator, default_channels

    torch.manual_seed(0)
    generator = Generator(512, channels=default_channels(512, base=32768))
    standin.write_generator(generator, path, whole=layout == "all")


def load(path):
    """One load: what it took, as JSON, on standard output."""
    from samlib import load_generator

    before, start = resident(), time.perf_counter()
    generator = load_generator(path)
    seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT
    assert generator.resolution == 512
    print(json.dumps({"seconds": seconds, "growth": peak - before, "peak": peak}))


def resident():
    """Bytes in memory now; at most what they were at their highest, where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT


def child(what, path, layout):
    """Each step is a process of its own, and this one stays small, for a child's highest size counts its parent's."""
    command = [sys.executable, __file__, "--step", what, "--file", path, "--layout", layout]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def measure(layout):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config-f.pkl")
        child("make", path, layout)
        runs = [json.loads(child("load", path, layout)) for _ in range(3)]
        size = path.stat().st_size
    seconds, growth, peak = (statistics.median(run[name] for run in runs) for name in ("seconds", "growth", "peak"))
    print(f"512 px config-f, {size / 1e6:.0f} MB ({layout}): {seconds:.2f} s, {growth / size:.2f} times the file in memory "
          f"({growth / 1e6:.0f} MB above the {(peak - growth) / 1e6:.0f} MB of the imports); wanted {SECONDS} s and {TIMES} times")
    return seconds <= SECONDS and growth <= TIMES * size


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layout", choices=("all", "one"), default="one")
    parser.add_argument("--step", choices=("make", "load"), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step == "make":
        return make(options.file, options.layout)
    if options.step == "load":
        return load(options.file)
    return 0 if measure(options.layout) else 1


if __name__ == "__main__":
    sys.exit(main())
