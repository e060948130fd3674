"""The code of a scene: the same for the same scene however it is asked for."""

import pytest
import torch

from samlib.known_codes import w_of
from samlib.stylegan2 import Generator


@pytest.fixture()
def generator():
    torch.manual_seed(0)
    return Generator(64, z_dim=256, w_dim=16, channels={4: 8, 8: 8, 16: 8, 32: 8, 64: 8}, mapping_layers=2)


def test_a_scene_has_one_code_alone_and_among_others(generator):
    many, one = w_of(generator, "cars", 100, range(4, 7)), w_of(generator, "cars", 100, [5])
    assert many.shape == (3, generator.num_layers, 16)
    torch.testing.assert_close(many[1:2], one)
    assert (many[0] - many[1]).abs().max() > 0


def test_another_seed_is_another_scene(generator):
    assert not torch.equal(w_of(generator, "cars", 100, [0]), w_of(generator, "cars", 101, [0]))
