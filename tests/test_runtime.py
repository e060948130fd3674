"""Curves of PSNR over time: their values, and who is ahead at the same time."""

import math
from types import SimpleNamespace

import pytest
import torch

from samlib.runtime import Curve, curve, lead, point, show_runtime, start_of, under_way


def test_a_curve_is_what_each_step_reached_over_the_time():
    measured = {"reached": [5.0, 15.0, 15.0, 25.0], "seconds": [5.0, 6.0]}  # of the times, the least
    found = curve(measured, 256)
    assert found.seconds.tolist() == [1.0, 2.0, 3.0, 5.0]  # the last is at full size
    assert found.psnr.tolist() == [5.0, 15.0, 15.0, 25.0]
    assert math.isnan(found.at(0.9)) and found.at(1.0) == 5.0 and found.at(4.9) == 15.0
    large = {**measured, "seconds": [4.0, 5.0]}
    assert curve(large, 512).seconds.tolist() == [1.0, 2.0, 3.0, 4.0]  # all its steps are at one size



def test_the_steps_of_a_pivot_take_what_those_of_w_take():
    w = {"psnr": [2.0], "seconds": [3.0, 2.0], "reached": [1.0, 2.0]}
    pti = {"psnr": [5.0], "seconds": [10.0], "reached": [1.0, 2.0, 4.0, 5.0]}
    assert curve(pti, 512, w).seconds.tolist() == [1.0, 2.0, 6.0, 10.0]
    assert curve(pti, 512).seconds.tolist() == [2.5, 5.0, 7.5, 10.0]


def test_what_a_method_begins_at_takes_its_time_before_the_first_step():
    points = {"e4e": Curve(torch.tensor([1.0]), torch.tensor([9.0])), "sam-encoder": Curve(torch.tensor([4.0]), torch.tensor([9.0]))}
    both, none = (SimpleNamespace(start=start) for start in (["sam-encoder", "e4e"], None))
    assert [start_of(both, method, points) for method in ("sam", "w+", "hybrid-e4e", "w", "pti")] == [5, 2, 1, 0, 0]
    assert start_of(none, "sam", points) == start_of(both, "sam", {}) == 0
    found = curve({"reached": [1.0, 2.0, 3.0, 4.0], "seconds": [9.0]}, 512, start=5.0)
    assert found.seconds.tolist() == [6.0, 7.0, 8.0, 9.0]
    assert under_way(found) == 9.0 and under_way(Curve(torch.arange(1.0, 81.0), torch.zeros(80))) == 10.0


def test_the_lead_is_over_the_best_of_the_others_while_all_run():
    slow = Curve(torch.tensor([2.0, 4.0]), torch.tensor([10.0, 20.0]))
    fast = Curve(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([8.0, 9.0, 11.0]))
    times, ahead = lead({"sam": slow, "w+": fast}, "sam", 3)
    assert times == [2.0, 2.5, 3.0] and ahead == [1.0, 1.0, -1.0]


def test_encoders_are_points():
    e4e = point({"psnr": [9.0, 11.0], "seconds": [0.2, 0.3]})
    curves = {"sam": Curve(torch.tensor([2.0, 4.0]), torch.tensor([10.0, 20.0])), "e4e": e4e}
    assert curves["e4e"].seconds.tolist() == pytest.approx([0.2]) and curves["e4e"].psnr.tolist() == [10.0]
    curves["sam-encoder"] = point({"psnr": [15.0], "seconds": [0.2]})
    axis, other = show_runtime({"cars": curves, "cats": {"sam": curves["sam"]}}).axes
    assert axis.get_title() == "cars" and len(other.lines) == 1
    line, own, e4e = axis.lines
    assert [one.get_marker() for one in (line, own, e4e)] == ["None", "o", "s"] and axis.get_xscale() == "log"
    assert own.get_label() == "SAM's encoder" and own.get_color() == line.get_color() != e4e.get_color()
