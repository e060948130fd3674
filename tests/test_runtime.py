"""Curves of PSNR over time: their values, and who is ahead at the same time."""

import math
from dataclasses import replace

import pytest
import torch

from samlib.inversion import Inversion
from samlib.runtime import Curve, curve, lead, point, show_runtime


def test_a_curve_is_the_history_over_the_time():
    l2 = torch.tensor([[4.0, 0.4], [0.4, 0.04], [0.4, 0.04], [0.04, 0.004]])
    inversion = Inversion(torch.zeros(2, 3, 4), torch.zeros(2, 3, 8, 8), losses={"l2": l2})
    found = curve(inversion, [5.0, 6.0])  # of the times, the least
    assert found.seconds.tolist() == [1.0, 2.0, 3.0, 5.0]  # the last is at full size
    assert found.psnr.tolist() == pytest.approx([5.0, 15.0, 15.0, 25.0])
    assert math.isnan(found.at(0.9)) and found.at(1.0) == pytest.approx(5.0) and found.at(4.9) == pytest.approx(15.0)
    large = replace(inversion, images=torch.zeros(2, 3, 512, 512))
    assert curve(large, [4.0, 5.0]).seconds.tolist() == [1.0, 2.0, 3.0, 4.0]  # all its steps are at one size


def test_the_lead_is_over_the_best_of_the_others_while_all_run():
    slow = Curve(torch.tensor([2.0, 4.0]), torch.tensor([10.0, 20.0]))
    fast = Curve(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([8.0, 9.0, 11.0]))
    times, ahead = lead({"sam": slow, "w+": fast}, "sam", 3)
    assert times == [2.0, 2.5, 3.0] and ahead == [1.0, 1.0, -1.0]


def test_encoders_are_points():
    curves = {"sam": Curve(torch.tensor([2.0, 4.0]), torch.tensor([10.0, 20.0])), "e4e": point(torch.tensor([9.0, 11.0]), [0.2, 0.3])}
    assert curves["e4e"].seconds.tolist() == pytest.approx([0.2]) and curves["e4e"].psnr.tolist() == [10.0]
    curves["sam-encoder"] = point(torch.tensor([15.0]), [0.2])
    axis, other = show_runtime({"cars": curves, "cats": {"sam": curves["sam"]}}).axes
    assert axis.get_title() == "cars" and len(other.lines) == 1
    line, own, e4e = axis.lines
    assert [one.get_marker() for one in (line, own, e4e)] == ["None", "o", "s"] and axis.get_xscale() == "log"
    assert own.get_label() == "sam-encoder" and own.get_color() == line.get_color() != e4e.get_color()
