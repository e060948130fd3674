"""The levels that tau is looked for among."""

import torch

from samlib.training.threshold import evenly


def test_the_levels_are_spread_evenly_from_the_first_to_the_last():
    assert evenly(5, 3).tolist() == [0, 2, 4] and evenly(7, 4).tolist() == [0, 2, 4, 6] and evenly(2, 4).tolist() == [0, 0, 0, 1]
    assert evenly(1, 3).tolist() == [0, 0, 0]


def test_few_levels_are_those_that_linspace_gave():
    for length in (1, 10, 63, 1025):
        assert torch.equal(evenly(length, 32), torch.linspace(0, length - 1, 32, dtype=torch.float64).add(1e-9).long())


def test_no_level_lies_beyond_the_last_of_as_many_as_float32_cannot_count():
    """Five images of 1024 px in four spaces: float32 makes 20,971,520 of the last index."""
    for length in (2**24 + 2, 5 * 4 * 1024**2, 2**33 + 1):
        found = evenly(length, 32)
        assert found[0] == 0 and found[-1] == length - 1 and (found.diff() > 0).all()
