"""Shards: the plan is what is missing, a shard does it, and a cluster is only another place to do it."""

import pytest

import samlib
from samlib import experiments, kept, shards


@pytest.fixture()
def folder(tmp_path, monkeypatch):
    """Three pictures, and a cache of their own."""
    import torch

    monkeypatch.setenv("SAMLIB_CACHE", str(tmp_path / "cache"))
    for i in range(3):
        samlib.write_image(tmp_path / "pictures" / f"{i}.png", torch.full((1, 3, 64, 64), 0.3 * i))
    return str(tmp_path / "pictures")


def test_what_is_planned_is_done_once(tiny_folder, folder):
    def planned():
        return shards.plan(str(tiny_folder), ("w+", "F4"), folder, count=3, size=2, device="cpu", steps=1)

    first = planned()
    assert [(s.first, s.count, s.method) for s in first] == [(0, 2, "w+"), (0, 2, "F4"), (2, 1, "w+"), (2, 1, "F4")]
    assert shards.run(first[0], "cpu") == 0 and planned() == first[1:]
    assert [shards.run(shard, "cpu") for shard in first] == [0, 0, 0, 0] and planned() == []
    domain = samlib.load(tiny_folder, "cpu")
    images = experiments.inputs(domain, folder, 3).images
    assert len(experiments.inverted(domain, images, "F4", compute=False, steps=1)) == 3


def test_a_shard_that_fails_says_how_much(tiny_folder, folder):
    shard = shards.Shard(str(tiny_folder), folder, 0, 0, 3, "w+", {"steps": 1, "start": "nobody"})
    assert shards.run(shard, "cpu") == 3
    assert "no encoder 'nobody'" in kept.failures().read_text()


def test_a_cluster_runs_the_same(tiny_folder, folder, tmp_path):
    pytest.importorskip("submitit")
    work = shards.plan(str(tiny_folder), ("w+",), folder, count=3, size=2, device="cpu", steps=1)
    jobs = shards.submit(work, tmp_path / "logs", cluster="debug")
    assert [job.result() for job in jobs] == [0, 0]
