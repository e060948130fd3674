"""The paper's inversions in pieces, for many machines: what is to be done, one piece of it, and the pieces on a cluster.

    plan(domains, kinds, count, methods) -> shards that lack something -> run(shard), anywhere, in any order -> inverted(...) reads

A shard is a few words and numbers, so it can be sent anywhere; where its inversions go is `samlib.kept`'s affair, on a disk
that all machines share (SAMLIB_CACHE). Killed at any point and started again, the same files are there in the end.
"""

from dataclasses import dataclass, field

import samlib
from samlib import experiments


@dataclass(frozen=True)
class Shard:
    """The images first ... first + count of one kind, by one method; `options` are those of Domain.invert."""

    domain: str
    kind: str
    seed: int
    first: int
    count: int
    method: str
    options: dict = field(default_factory=dict)


def plan(domain, methods, kind="challenging", count=1000, seed=0, size=100, device=None, **options) -> list[Shard]:
    """The shards of up to `size` images in which an inversion is missing; an empty list when all is there.

    domain: a name; the images are those of `experiments.inputs`. Inversions that cannot even be named, for want of a file of
    weights, are no shards: the error is raised.
    """
    loaded, found = samlib.load(domain, device), []
    for first in range(0, count, size):
        some = min(size, count - first)
        images = experiments.inputs(loaded, kind, some, seed, first).images
        found += [Shard(domain, kind, seed, first, some, method, options) for method in methods
                  if experiments.missing(loaded, images, method, **options)]
    return found


def run(shard: Shard, device=None, batch=None) -> int:
    """Make what is missing of a shard; returns how many of its images failed, of which `kept.failures()` tells."""
    domain = samlib.load(shard.domain, device)
    images = experiments.inputs(domain, shard.kind, shard.count, shard.seed, shard.first).images
    try:
        experiments.inverted(domain, images, shard.method, batch=batch, **shard.options)
    except RuntimeError:
        pass  # a hole, noted with its reason
    return len(experiments.missing(domain, images, shard.method, **shard.options))


def submit(shards, folder, cluster="slurm", **settings) -> list:
    """One job for each shard, as an array on SLURM, or here with cluster="local"; returns submitit's jobs.

    folder    for the logs; settings: those of submitit's executor, such as slurm_partition, gpus_per_node, timeout_min.
    """
    try:
        import submitit
    except ImportError as error:
        raise ImportError("jobs on a cluster need submitit: pip install -e .[cluster]") from error
    executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
    executor.update_parameters(**settings)
    return executor.map_array(run, shards)
