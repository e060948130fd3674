"""Laws of the perceptual metric, and agreement with the package it wraps."""

import pytest
import torch

from samlib.perceptual import Metric


@pytest.fixture(scope="module", params=["st-lpips-alex", "st-lpips-vgg"])
def metric(request):
    return Metric(request.param)


@pytest.fixture
def images():
    torch.manual_seed(0)
    coarse = torch.rand(4, 3, 8, 8) * 2 - 1
    return torch.nn.functional.interpolate(coarse, 64, mode="bicubic").clamp(-1, 1)


def test_agrees_with_the_package(metric, images):
    from stlpips_pytorch import stlpips

    for spatial in (False, True):
        net = stlpips.LPIPS(net=metric.name.split("-")[-1], variant="shift_tolerant", verbose=False, spatial=spatial)
        want = net(images[:2], images[2:]).detach()
        torch.testing.assert_close(metric(images[:2], images[2:], spatial).flatten(), want.flatten(), rtol=1e-4, atol=1e-6)


def test_zero_for_equal_and_growing_with_noise(metric, images):
    assert metric(images, images).abs().max() < 1e-6
    noise = torch.randn_like(images)
    weak, strong = metric(images, images + 0.1 * noise), metric(images, images + 0.4 * noise)
    assert (0 < weak).all() and (weak < strong).all()


def test_map_shows_where(metric, images):
    other = images.clone()
    other[:, :, :16, :16] += torch.randn(4, 3, 16, 16).clamp(-1, 1)
    error = metric(images, other, spatial=True)
    assert error.shape == (4, 64, 64)
    assert (error[:, :16, :16].mean((1, 2)) > 5 * error[:, 40:, 40:].mean((1, 2))).all()


def test_the_mean_can_be_over_part_of_the_image(metric, images):
    fx, fy = metric.features(images), metric.features(images.flip(0))
    everything = torch.ones(4, 1, 64, 64)
    torch.testing.assert_close(metric.distance(fx, fy, valid=everything), metric.distance(fx, fy))
    left, right = everything.clone(), everything.clone()
    left[..., 32:], right[..., :32] = 0, 0
    halves = metric.distance(fx, fy, valid=left) + metric.distance(fx, fy, valid=right)
    torch.testing.assert_close(halves / 2, metric.distance(fx, fy), rtol=0.02, atol=0)  # some layers have odd sides
    changed = images.clone()
    changed[..., 32:] *= -1
    fz = metric.features(changed)
    assert (metric.distance(fx, fz, valid=left) < 0.5 * metric.distance(fx, fz, valid=right)).all()


def test_gradient_reaches_the_image_and_not_the_network(metric, images):
    x = images.clone().requires_grad_()
    metric(x, images.flip(0)).sum().backward()
    assert x.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in metric.parameters())


def test_unknown_name_is_refused():
    with pytest.raises(ValueError, match="st-lpips-vgg"):
        Metric("lpips-squeeze")
