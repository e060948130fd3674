"""Losses, averages and steps of the generators' training, by hand."""

import math

import pytest
import torch
from torch import nn

from samlib.training import biggan, losses
from samlib.training.projected import ProjectedDiscriminator
from samlib.training.steps import FlatAdam, average


class Plain(nn.Module):
    """The logit of an image is its mean."""

    def forward(self, images):
        return images.mean((1, 2, 3))


class Projected(ProjectedDiscriminator):
    """The same, by the type of the other judge."""

    def __init__(self):
        nn.Module.__init__(self)

    forward = Plain.forward


def images(*means):
    return torch.tensor(means)[:, None, None, None].expand(-1, 3, 2, 2).clone().requires_grad_()


def test_the_logistic_loss_by_hand():
    """log(1 + e^-x) of fakes for the generator; for the judge that of real images and of the opposite of fakes."""
    fake, real = images(math.log(3), 0.0), images(math.log(3), math.log(7))
    assert float(losses.generator_loss(Plain(), fake).detach()) == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)
    expected = (math.log(4) + math.log(2)) / 2 + (math.log(4 / 3) + math.log(8 / 7)) / 2
    assert float(losses.discriminator_loss(Plain(), fake, real).detach()) == pytest.approx(expected)


def test_the_hinge_loss_by_hand(monkeypatch):
    """Of fakes below -1 and real images above 1 the projected judge has nothing more to learn."""
    monkeypatch.setattr(losses, "augment", lambda x: x)
    fake, real = images(0.5, -2.0), images(0.25, 2.0)
    loss = losses.discriminator_loss(Projected(), fake, real)
    assert float(loss.detach()) == pytest.approx((1.5 + 0) / 2 + (0.75 + 0) / 2)
    up, down = torch.autograd.grad(loss, (fake, real))
    torch.testing.assert_close(up.sum((1, 2, 3)), torch.tensor([0.5, 0.0]))
    torch.testing.assert_close(down.sum((1, 2, 3)), torch.tensor([-0.5, 0.0]))
    assert float(losses.generator_loss(Projected(), fake).detach()) == pytest.approx(0.75)


def test_the_hinge_loss_of_biggan_by_hand(monkeypatch):
    data = biggan.Data(torch.zeros(4, 3, 16, 16, dtype=torch.uint8), torch.arange(4) % 2, ["a", "b"])
    small = biggan.Settings(resolution=16, width=4, z_dim=4, class_dim=4, attention=8, batch=2)
    training = biggan.Training(data, small)
    training.enter("judge")
    logits = [torch.tensor([0.5, -2.0], requires_grad=True), torch.tensor([0.25, 2.0], requires_grad=True)]
    monkeypatch.setattr(training, "judged", lambda *seen: logits[:len(seen)])
    assert float(training.d_step()) == pytest.approx(0.75 + 0.375)
    assert [x.grad.tolist() for x in logits] == [[0.5, 0.0], [-0.5, 0.0]]
    logits[0].grad = None
    assert training.g_step().tolist() == pytest.approx([0.75])
    assert logits[0].grad.tolist() == [-0.5, -0.5]


def test_r1_reaches_the_weights_of_a_linear_judge():
    """Its gradient on an image is its weight w, so the penalty |w|^2, whose own gradient is 2 w."""
    weight = torch.randn(3, 2, 2, requires_grad=True)
    penalty = losses.r1_penalty(lambda x: (x * weight).sum((1, 2, 3)), torch.randn(5, 3, 2, 2))
    torch.testing.assert_close(penalty, weight.square().sum())
    torch.testing.assert_close(torch.autograd.grad(penalty, weight)[0], 2 * weight)


class Linear:
    """A generator of `size` px, each channel of whose images is `scale` times the sum over the rows of one entry of w+ (N, L, 3)."""

    def __init__(self, scale, size):
        self.scale, self.size = scale, size

    def synthesis(self, w, noise):
        return (self.scale * w.sum(1))[:, :, None, None].expand(-1, -1, self.size, self.size)


def test_path_length_of_a_linear_generator(monkeypatch):
    """With y = 1 / 4 in 16 pixels each entry has the gradient 4 scale, so |J^T y| is 4 scale sqrt(3) in every row."""
    monkeypatch.setattr(torch, "randn_like", torch.ones_like)
    scale, mean = torch.tensor(2.0, requires_grad=True), torch.tensor(1.0)
    w = torch.randn(5, 6, 3, requires_grad=True)
    length = 8 * 3**0.5
    penalty = losses.path_length_penalty(Linear(scale, 4), w, mean)
    assert float(mean) == pytest.approx(1 + 0.01 * (length - 1))
    assert float(penalty.detach()) == pytest.approx((length - float(mean)) ** 2, rel=1e-5)
    (slope,) = torch.autograd.grad(penalty, scale)
    assert float(slope) == pytest.approx(2 * (length - float(mean)) * 4 * 3**0.5, rel=1e-5)


class Numbered:
    """A generator whose w+ says which z it is of."""

    z_dim, num_layers = 4, 6

    def mapping(self, z):
        return torch.arange(len(z))[:, None, None].expand(-1, self.num_layers, 1)


def test_where_styles_are_mixed_it_is_in_one_row_at_least_and_not_in_all():
    """Karras et al.: the crossover is 1 to L - 1, each as often."""
    torch.manual_seed(0)
    count = 2000
    second = losses.style_mixing(Numbered(), count, 1.0, "cpu")[..., 0] >= count
    rows = second.sum(1)
    assert torch.equal(rows.unique(), torch.arange(1, 6)) and rows.bincount()[1:].min() > count / 6
    assert (second.int().diff() >= 0).all()  # the last rows
    assert torch.equal(losses.style_mixing(Numbered(), 3, 0.0, "cpu")[..., 0], torch.arange(3)[:, None].expand(-1, 6))
    share = (losses.style_mixing(Numbered(), count, 0.3, "cpu")[:, -1, 0] >= count).double().mean()
    assert float(share) == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("batch, shown, times", [(40, 10_000, 1), (10, 10_000, 4), (5, 100, 1)])
def test_after_its_half_life_half_of_the_average_is_new(batch, shown, times):
    """It is 40 images, or a twentieth of all that were shown where that is less."""
    ema, network = nn.Linear(1, 1), nn.Linear(1, 1)
    for module, value in ((ema, 1.0), (network, 3.0)):
        for p in module.parameters():
            nn.init.constant_(p, value)
    for _ in range(times):
        average(ema, network, batch, shown, 40)
    assert [p.item() for p in ema.parameters()] == pytest.approx([2.0, 2.0])


@pytest.mark.parametrize("lazy, beta, factor", [(1.0, 0.0, 1.0), (0.8, 0.9, 5.0)])
def test_the_flat_adam_is_adam(lazy, beta, factor):
    torch.manual_seed(0)
    one, other, x = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2)), nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2)), torch.randn(3, 8, 4)
    other.load_state_dict(one.state_dict())
    flat = FlatAdam(one.parameters(), 0.01, lazy, beta, faster=[*one[1].parameters()], factor=factor)
    flat.rate(0.5)
    groups = [{"params": [*part.parameters()], "lr": 0.005 * lazy * times} for part, times in ((other[0], 1.0), (other[1], factor))]
    adam = torch.optim.Adam(groups, betas=(beta, 0.99**lazy), eps=1e-8)
    for batch in x:
        one(batch).square().mean().backward()
        flat.step()
        adam.zero_grad()
        other(batch).square().mean().backward()
        adam.step()
        torch.testing.assert_close(one.state_dict(), other.state_dict())
        assert not flat.flat.any()
