import math

import pytest
import torch

from samlib import metrics


def test_psnr_by_hand():
    x = torch.zeros(2, 3, 4, 4)
    y = torch.stack([torch.full((3, 4, 4), 0.2), torch.full((3, 4, 4), 2.0)])
    assert metrics.psnr(x, y).tolist() == pytest.approx([20.0, 0.0], abs=1e-4)  # 10 log10(4 / 0.04), 10 log10(4 / 4)
    assert metrics.psnr(x, x).tolist() == [math.inf, math.inf]
    half = torch.zeros(2, 1, *x.shape[2:])
    half[..., :x.shape[3] // 2] = 1
    worse = torch.where(half > 0, y, y + 1)  # outside of what is valid nothing counts
    assert metrics.psnr(x, worse, half).tolist() == pytest.approx([20.0, 0.0], abs=1e-4)
    with pytest.raises(ValueError, match="equal shapes"):
        metrics.psnr(x, y[:1])


def test_iou_by_hand():
    true = torch.tensor([[[0, 0, 1, 1]]])
    predicted = torch.tensor([[[0, 1, 1, 1]]])
    iou = metrics.class_iou(predicted, true, 4)
    assert iou[:2].tolist() == pytest.approx([1 / 2, 2 / 3]) and iou[2:].isnan().all()
    assert metrics.mean_iou(predicted, true, 4) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_iou_counts_a_class_that_only_the_prediction_has():
    true, predicted = torch.zeros(1, 2, 2).long(), torch.tensor([[[0, 0], [0, 2]]])
    assert metrics.class_iou(predicted, true, 3)[2] == 0
    assert metrics.mean_iou(true, true, 3) == 1


def test_pearson_laws():
    x = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(metrics.pearson(x, 3 * x - 2), torch.ones(4).double())
    torch.testing.assert_close(metrics.pearson(x, -x), -torch.ones(4).double())
    assert metrics.pearson(torch.tensor([1.0, 2, 3]), torch.tensor([1.0, 3, 2])) == pytest.approx(0.5)


def test_r_squared_by_hand():
    true = torch.tensor([[0.0, 1], [2, 1], [4, 7]])
    assert metrics.r_squared(true, true).tolist() == [1, 1]
    assert metrics.r_squared(true.mean(0).expand(3, 2), true).tolist() == [0, 0]
    assert metrics.r_squared(true + torch.tensor([1.0, 0]), true)[0] == pytest.approx(1 - 3 / 8)


def test_slope_by_hand():
    true = torch.tensor([[0.0, 1], [2, 1], [4, 7]])
    torch.testing.assert_close(metrics.slope(0.5 * true + torch.tensor([3.0, -1]), true), torch.tensor([0.5, 0.5]))
    assert metrics.slope(torch.tensor([[0.0], [3], [1]]), true[:, :1])[0] == pytest.approx(0.25)  # (-2 * 0 + 0 * 3 + 2 * 1) / 8


def test_polynomial_mmd_by_hand():
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])
    # k(a, b) = (ab + 1)^3: within x k(0,1) = 1; within y k(1,2) = 27; between (1 + 1 + 8 + 27) / 4
    assert float(metrics.polynomial_mmd(x, y)) == pytest.approx(1 + 27 - 2 * 37 / 4)


def test_kid_is_near_zero_for_one_distribution_and_grows_with_the_distance():
    random = torch.Generator().manual_seed(0)
    x, y = (torch.randn(400, 8, generator=random) for _ in range(2))
    same, _ = metrics.kid(x, x, size=100)
    other_draw, _ = metrics.kid(x, y, size=100)
    near, far = (metrics.kid(x, y + shift, size=100)[0] for shift in (0.5, 1.0))
    assert 0.5 < near < far
    assert abs(same) < 0.1 * near and abs(other_draw) < 0.1 * near
    assert metrics.kid(x, y, size=100, seed=1) == metrics.kid(x, y, size=100, seed=1)


def test_kid_of_all_there_is_has_no_spread():
    random = torch.Generator().manual_seed(0)
    x, y = torch.randn(10, 3, generator=random), torch.randn(10, 3, generator=random)
    mean, std = metrics.kid(x, y, subsets=3)
    assert mean == pytest.approx(float(metrics.polynomial_mmd(x, y))) and std == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match=r"\(10, 2\)"):
        metrics.kid(x, y[:, :2])


def test_factor_spread_is_a_ratio_of_deviations():
    x = torch.randn(100)
    spread = metrics.factor_spread({"size": 0.5 * x + 3}, {"size": x})
    assert spread["size"] == pytest.approx(0.5, rel=1e-4)
    with pytest.raises(ValueError, match="pose"):
        metrics.factor_spread({"size": x}, {"pose": x})


def test_image_features_tell_photographs_apart():
    pytest.importorskip("efficientnet_lite_pytorch")
    from skimage import data

    features = metrics.ImageFeatures()
    cat = torch.from_numpy(data.chelsea()[:256, :256].copy()).permute(2, 0, 1)[None]
    coffee = torch.from_numpy(data.coffee()[:256, :256].copy()).permute(2, 0, 1)[None]
    found = features.of(torch.cat([cat, cat.flip(3), coffee]), batch=2)
    assert found.shape == (3, 1280)
    mirrored, other = (found[1] - found[0]).norm(), (found[2] - found[0]).norm()
    assert 2 * mirrored < other
    torch.testing.assert_close(features.of(cat.float() / 127.5 - 1)[0], found[0], rtol=1e-3, atol=1e-3)
    logits = features.network._fc(found[:1])
    assert logits.argmax() in range(281, 286)  # ImageNet's cats: the preprocessing is the one it was trained with


def test_closeness_leaves_the_padding_out(tiny):
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    valid = torch.zeros(2, 1, 64, 64)
    valid[0, :, 16:48], valid[1, :, :, :40] = 1, 1
    wide = tiny.invert(x, "w+", steps=1, valid=valid, progress=False)
    found = metrics.closeness(wide, tiny.metric)
    crops = [(slice(0, 1), ..., slice(16, 48), slice(0, 64)), (slice(1, 2), ..., slice(0, 64), slice(0, 40))]
    for i, crop in enumerate(crops):
        a, b = wide.images[crop], wide.inputs[crop]
        assert found["psnr"][i].item() == pytest.approx(metrics.psnr(a, b).item(), abs=1e-3)
        assert found["lpips"][i].item() == pytest.approx(tiny.metric(a, b).item(), abs=1e-5)
    whole = tiny.invert(x, "w+", steps=1, progress=False)
    torch.testing.assert_close(metrics.closeness(whole, tiny.metric, 1)["lpips"], tiny.metric(whole.images, x).detach())
