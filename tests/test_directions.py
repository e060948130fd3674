"""Directions on codes whose factors are known in closed form."""

import pytest
import torch
from tiny import NoDoubleOnMeta

from samlib import precision
from samlib.directions import allowed_in, choose_rows, effect, pca, progress, sample_w, supervised, to_rows
from samlib.stylegan2 import Generator


def tiny():
    torch.manual_seed(0)
    return Generator(32, 8, 8, {4: 8, 8: 8, 16: 8, 32: 8}, 2).requires_grad_(False)


def test_supervised_direction_moves_its_factor_and_no_other():
    """Factors are linear in w and correlated: each direction must raise its own by one deviation, others by none."""
    torch.manual_seed(0)
    mix = torch.randn(6, 6).double()
    w = (torch.randn(20_000, 6).double() @ mix).float()
    a = torch.randn(6, 3)
    factors = w @ a
    d = supervised(w, factors, ridge=0)
    moved = (d @ a) / factors.std(0)
    torch.testing.assert_close(moved, torch.eye(3), atol=2e-3, rtol=0)


def test_pca_finds_the_long_axis_and_is_repeatable():
    g = tiny()
    components, deviations = pca(g, 3, 2000, seed=1)
    w = sample_w(g, 2000, seed=1)
    assert (deviations[:-1] >= deviations[1:]).all()
    along = (w - w.mean(0)) @ (components[0] / components[0].norm())
    torch.testing.assert_close(along.std(), deviations[0], rtol=1e-3, atol=0)
    torch.testing.assert_close(components[0].norm(), deviations[0], rtol=1e-4, atol=0)
    again, _ = pca(g, 3, 2000, seed=1)
    assert torch.equal(components, again)


def test_a_device_without_float64_has_directions_too(monkeypatch):
    monkeypatch.setattr(precision, "widest", lambda kind: torch.float32)
    generator = tiny().to("meta")
    with NoDoubleOnMeta():
        assert pca(generator, 3, 100)[0].shape == (3, 8)
        assert supervised(torch.zeros(9, 8, device="meta"), torch.zeros(9, 2, device="meta")).shape == (2, 8)


def test_to_rows_touches_only_its_rows():
    d = to_rows(torch.ones(4), range(2, 5), 6)
    assert d.sum(1).tolist() == [0, 0, 4, 4, 4, 0]


def test_effect_and_rows_find_where_a_direction_acts():
    """The factor is the brightness of the last ToRGB's part of the image, which only the last row changes."""
    g = tiny()
    for r in (4, 8, 16):
        getattr(g.synthesis_network, f"b{r}").torgb.weight.zero_()
    for name, layer in g.synthesis_network.named_modules():
        if name.endswith(("conv0", "conv1")):
            layer.affine.weight.zero_()  # no feature changes with w either
    w = sample_w(g, 8)
    last = g.num_layers - 1
    g_rows = to_rows(torch.randn(8), [last], g.num_layers)

    def regressor(images):
        return torch.stack([images.mean((1, 2, 3)), images[:, 0, 0, 0] * 0], 1)

    assert effect(g, regressor, w, torch.zeros_like(g_rows)).abs().max() == 0
    direction = torch.randn(8)
    if effect(g, regressor, w, to_rows(direction, range(last + 1), last + 1))[0] < 0:
        direction = -direction
    asked = torch.tensor([1.0, 0.0])
    end = range(max(space.layer for space in g.spaces), last + 1)  # the shortest between cuts with the one row that acts
    assert len(end) < last + 1
    assert choose_rows(g, regressor, w, direction, asked) == end
    assert choose_rows(g, regressor, w, -direction, -asked) == end  # and where less is wanted, too
    allowed = allowed_in(g, regressor, w, g_rows, asked)
    assert all(share == pytest.approx(1, abs=1e-4) for share in allowed.values())  # it acts after every space
    early = to_rows(direction, range(1), last + 1)
    assert all(allowed_in(g, regressor, w, early, asked)[space.name] == 0 for space in g.spaces[1:])


def test_progress_is_the_share_of_what_was_asked():
    asked = torch.tensor([2.0, -1.0, 0.0])
    assert progress(torch.stack([asked, 0.5 * asked, torch.tensor([0.0, 0.0, 9.0])]), asked).tolist() == [1, 0.5, 0]
