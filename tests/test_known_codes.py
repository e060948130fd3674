"""The code of a scene: the same for the same scene however it is asked for, and only for built-in categories."""

import pytest
import torch

from samlib.known_codes import start_of
from samlib.stylegan2 import Generator


@pytest.fixture()
def cars(tiny):
    torch.manual_seed(0)
    tiny.generator = Generator(64, z_dim=256, w_dim=16, channels={4: 8, 8: 8, 16: 8, 32: 8, 64: 8}, mapping_layers=2)
    tiny.name = "cars"
    return tiny


def test_a_scene_has_one_code_alone_and_among_others(cars):
    many, one = start_of(cars, 0, 3, first=4), start_of(cars, 0, 1, first=5)
    torch.testing.assert_close(many.w_plus[1:2], one.w_plus)
    assert (many.w_plus[0] - many.w_plus[1]).abs().max() > 0
    assert many.images.shape == (3, 3, 64, 64) and many.images.abs().max() <= 1


def test_another_seed_is_another_scene(cars):
    assert not torch.equal(start_of(cars, 0, 1).w_plus, start_of(cars, 1, 1).w_plus)


def test_of_other_images_nothing_is_known(tiny):
    with pytest.raises(ValueError, match="begin at the mean w"):
        start_of(tiny, 0, 1)
