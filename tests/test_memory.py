from types import SimpleNamespace

import pytest
import torch

from samlib import memory


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of 80 units, of which this process holds 10 and has 6 more in reserve, and others hold 40."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (24, 80))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 16)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 10)


@pytest.mark.parametrize("most, each, held", [(100, 1.0, 30), (100, 4.0, 7), (5, 1.0, 5), (100, 31.0, 1)])
def test_as_many_fit_as_are_free_or_in_reserve_and_at_least_one(gpu, most, each, held):
    generator = SimpleNamespace(w_avg=torch.zeros(1), resolution=256)
    assert memory.fits(generator, most, each) == held


def test_of_other_sizes_as_many_pixels_fit(gpu):
    larger, smaller = (SimpleNamespace(w_avg=torch.zeros(1), resolution=side) for side in (512, 128))
    assert (memory.fits(larger, 20, 1.0), memory.fits(smaller, 20, 1.0), memory.fits(larger, 100, 31.0)) == (5, 80, 1)
