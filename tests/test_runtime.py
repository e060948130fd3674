"""Curves of PSNR over time: their values, and who is ahead at the same time."""

import math

import pytest
import torch

from samlib.inversion import Inversion
from samlib.runtime import Curve, curve, lead, point, show_runtime


def test_a_curve_is_the_history_over_the_time():
    inversion = Inversion(torch.zeros(2, 3, 4), torch.zeros(2, 3, 8, 8), losses={"l2": torch.tensor([[4.0, 0.4], [0.4, 0.04]])})
    found = curve(inversion, [3.0, 5.0])
    assert found.seconds.tolist() == [2.0, 4.0] and found.psnr.tolist() == pytest.approx([5.0, 15.0])
    assert math.isnan(found.at(1.9)) and found.at(2.0) == pytest.approx(5.0) and found.at(3.9) == pytest.approx(5.0)


def test_the_lead_is_over_the_best_of_the_others_while_all_run():
    slow = Curve(torch.tensor([2.0, 4.0]), torch.tensor([10.0, 20.0]))
    fast = Curve(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([8.0, 9.0, 11.0]))
    times, ahead = lead({"sam": slow, "w+": fast}, "sam", 3)
    assert times == [2.0, 2.5, 3.0] and ahead == [1.0, 1.0, -1.0]


def test_encoders_are_points():
    curves = {"sam": Curve(torch.tensor([2.0, 4.0]), torch.tensor([10.0, 20.0])), "e4e": point(torch.tensor([9.0, 11.0]), [0.1, 0.3])}
    assert curves["e4e"].seconds.tolist() == pytest.approx([0.2]) and curves["e4e"].psnr.tolist() == [10.0]
    axis, other = show_runtime({"cars": curves, "cats": {"sam": curves["sam"]}}).axes
    assert axis.get_title() == "cars" and len(other.lines) == 1
    assert [line.get_marker() for line in axis.lines] == ["None", "s"] and axis.get_xscale() == "log"
