"""Eq. 5-8: the reference's numbers, hand-computed values, and the laws of the terms."""


import numpy as np
import pytest
import torch
from reference import file as reference_file
from tiny import NoDoubleOnMeta, TinyMetric, tiny_generator

from samlib import precision
from samlib.objective import Weights, WStatistics, convert, f_loss, reconstruction_loss, total, w_loss

NONE = dict(l2=0, lpips=0, gaussian=0, spread=0, feature=0)


def only(**weights):
    return Weights(**{**NONE, **weights})


@pytest.fixture(scope="module")
def reference():
    arrays = np.load(reference_file("stylegan2_tiny_r256.npz"))
    return {k: torch.from_numpy(arrays[k]) for k in ("w_plus", "mvg/mean_v", "mvg/inv_cov_v", "mvg/loss", "delta_loss")}


def test_the_gaussian_prior_is_the_reference_s(reference):
    statistics = WStatistics(reference["mvg/mean_v"], reference["mvg/inv_cov_v"])
    got = w_loss(reference["w_plus"], only(gaussian=1), statistics)["gaussian"]
    assert got.item() == pytest.approx(reference["mvg/loss"].item(), rel=1e-4)


def test_the_spread_of_w_plus_is_the_reference_s(reference):
    got = w_loss(reference["w_plus"], only(spread=1))["spread"]
    assert got.item() == pytest.approx(reference["delta_loss"].item(), rel=1e-4)


def test_reconstruction_by_hand():
    x, metric = torch.zeros(2, 3, 16, 16), TinyMetric()
    x_hat = torch.stack([torch.zeros(3, 16, 16), torch.full((3, 16, 16), 0.5)])
    terms = reconstruction_loss(x, x_hat, Weights(), metric)
    assert terms["l2"].tolist() == [0, 0.25]
    assert terms["lpips"][0] == 0 and terms["lpips"][1] > 0


def test_the_gaussian_prior_by_hand():
    w_plus = torch.tensor([[[1.0, -1.0], [2.0, 0.0]]])  # w_hat: (1, -5), (2, 0)
    statistics = WStatistics(torch.tensor([1.0, 0.0]).double(), torch.tensor([[2.0, 0.5], [0.5, 1.0]]).double())
    # w_hat - mu: (0, -5) -> 25; (1, 0) -> 2
    assert w_loss(w_plus, only(gaussian=1), statistics)["gaussian"].tolist() == [27]


def test_the_spread_by_hand_plain_and_squared():
    w_plus = torch.tensor([[[1.0, 1.0], [4.0, 5.0], [1.0, 3.0]]])
    assert w_loss(w_plus, only(spread=1))["spread"].tolist() == [7]
    assert w_loss(w_plus, only(spread=1, spread_power=2))["spread"].tolist() == [29]


def test_the_spread_has_a_finite_gradient_where_all_rows_are_equal():
    w_plus = torch.ones(2, 5, 3, requires_grad=True)
    w_loss(w_plus, only(spread=1))["spread"].sum().backward()
    assert w_plus.grad.isfinite().all()


def test_the_feature_term_by_hand_does_not_depend_on_size():
    deltas = {"F4": torch.full((1, 8, 16, 16), 2.0), "F6": torch.full((1, 4, 32, 32), 3.0)}
    assert f_loss(deltas, Weights())["feature"].tolist() == [13]
    assert f_loss({}, Weights()) == {}


def test_the_total_is_the_weighted_sum_of_the_terms():
    torch.manual_seed(0)
    weights = Weights(l2=0.7, lpips=2, gaussian=1e-3, spread=0.1, feature=3)
    x, x_hat, w_plus = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16), torch.randn(2, 8, 12)
    statistics = WStatistics.sample(tiny_generator(), 500)
    terms = reconstruction_loss(x, x_hat, weights, TinyMetric()) | w_loss(w_plus, weights, statistics)
    terms |= f_loss({"F4": torch.randn(2, 8, 16, 16)}, weights)
    l2, lpips, gaussian, spread, feature = terms.values()
    want = 0.7 * l2 + 2 * lpips + 1e-3 * gaussian + 0.1 * spread + 3 * feature
    torch.testing.assert_close(total(terms, weights), want)
    assert all(term.shape == (2,) and (term > 0).all() for term in terms.values())


def test_a_term_of_weight_zero_is_not_computed():
    x, w_plus, metric = torch.rand(1, 3, 16, 16), torch.randn(1, 8, 12), TinyMetric()
    assert list(reconstruction_loss(x, x, only(l2=1), metric)) == ["l2"] and metric.calls == 0
    assert list(w_loss(w_plus, only(spread=1), statistics=None)) == ["spread"]
    assert f_loss({"F4": torch.ones(1, 1, 2, 2)}, only(l2=1)) == {}
    with pytest.raises(ValueError, match="weight other than 0"):
        total({}, only())


def test_each_image_is_alone():
    torch.manual_seed(0)
    statistics, metric = WStatistics.sample(tiny_generator(), 500), TinyMetric()
    x, x_hat, w_plus = torch.rand(3, 3, 16, 16), torch.rand(3, 3, 16, 16), torch.randn(3, 8, 12)
    delta = torch.randn(3, 8, 16, 16)

    def loss(part):
        terms = reconstruction_loss(x[part], x_hat[part], Weights(), metric)
        terms |= w_loss(w_plus[part], Weights(gaussian=1e-3), statistics) | f_loss({"F4": delta[part]}, Weights())
        return total(terms, Weights(gaussian=1e-3))

    torch.testing.assert_close(loss(slice(None)), torch.cat([loss(slice(i, i + 1)) for i in range(3)]))


def test_statistics_are_those_of_w_hat():
    generator, n = tiny_generator(), 400
    statistics = WStatistics.sample(generator, n, seed=3, batch=64)
    z = torch.randn(n, 12, generator=torch.Generator().manual_seed(3))
    w_hat = convert(generator.mapping(z)[:, 0].detach()).numpy()
    np.testing.assert_allclose(statistics.mean, w_hat.mean(0), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(statistics.inverse_covariance.numpy() @ np.cov(w_hat.T), np.eye(12), atol=1e-4)
    assert statistics.mean.dtype == torch.float64
    # What a squared Mahalanobis distance has as its mean over the sample: the dimension.
    terms = w_loss(generator.mapping(z).detach()[:, :1], only(gaussian=1), statistics)
    assert terms["gaussian"].mean().item() == pytest.approx(12 * (n - 1) / n, rel=1e-3)


def test_the_published_mean_differs_from_the_paper_s():
    paper, published = (WStatistics.sample(tiny_generator(), 400, mean=m) for m in ("converted", "published"))
    assert not torch.allclose(paper.mean, published.mean, rtol=0.1)
    assert torch.equal(paper.inverse_covariance, published.inverse_covariance)
    with pytest.raises(ValueError, match="converted"):
        WStatistics.sample(tiny_generator(), 10, mean="other")


def test_statistics_go_to_a_device_without_float64(monkeypatch):
    assert precision.widest("mps") == torch.float32 and precision.widest("cuda") == precision.widest("cpu") == torch.float64
    monkeypatch.setattr(precision, "widest", lambda kind: torch.float32 if kind == "meta" else torch.float64)
    statistics = WStatistics(torch.zeros(2).double(), torch.eye(2).double())
    with NoDoubleOnMeta():
        moved = statistics.to("meta")
    assert {(x.device.type, x.dtype) for x in (moved.mean, moved.inverse_covariance)} == {("meta", torch.float32)}
    assert statistics.to("cpu").mean is not statistics.mean
