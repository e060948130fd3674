"""Encoders, untrained and of random weights: laws that no training changes."""

from dataclasses import replace

import pytest
import torch
from tiny import tiny_generator
from torch import nn

import samlib
from samlib import irse, layer_map, weights
from samlib.encode import E4e, Published, ReStyle, SamEncoder, encode, form
from samlib.encoder_networks import FeatureEncoder, LatentEncoder, Trunk
from samlib.objective import Weights, f_loss, reconstruction_loss, w_loss
from samlib.optimize import at_size, optimize

SMALL = dict(sam=dict(latent_width=4, width=4), e4e=dict(width=4), restyle=dict(width=4))


def settle(encoder, seed=0):
    """Random last layers, so that something comes out, and evaluation mode."""
    torch.manual_seed(seed)
    for module in encoder.modules():
        if isinstance(module, LatentEncoder | FeatureEncoder):
            for layer in [*module.last] if isinstance(module, LatentEncoder) else [module.last]:
                nn.init.normal_(layer.weight, std=0.1)
    return encoder.eval()


def all_encoders(generator):
    return {"sam-encoder": SamEncoder.of(generator, **SMALL["sam"]),
            "context": SamEncoder.of(generator, context=True, **SMALL["sam"]),
            "e4e": E4e.of(generator, **SMALL["e4e"]),
            "restyle-psp": ReStyle.of(generator, "psp", **SMALL["restyle"]),
            "restyle-e4e": ReStyle.of(generator, "e4e", **SMALL["restyle"])}


@pytest.fixture(scope="module")
def generator():
    return tiny_generator().requires_grad_(False)


@pytest.fixture(scope="module")
def images():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(scope="module")
def maps():
    """W+ everywhere; left half F4; thirds of all three."""
    maps = layer_map.uniform(3, 64, 0)
    maps[1, :, :32] = 1
    maps[2, :, 20:40] = 1
    maps[2, :, 40:] = 2
    return maps


@pytest.mark.parametrize("name", ["sam-encoder", "context", "e4e", "restyle-psp", "restyle-e4e"])
def test_untrained_encoders_stay_at_the_mean(generator, images, maps, name):
    found = encode(all_encoders(generator)[name].eval(), generator, images, maps)
    assert torch.equal(found.w_plus, generator.w_avg.expand(3, generator.num_layers, -1))
    assert all((delta == 0).all() for delta in found.deltas.values())
    mean = generator.synthesis(found.w_plus, noise="none").clamp(-1, 1)
    assert torch.equal(found.images, mean) and torch.equal(found.inputs, images) and found.losses == {}


@pytest.mark.parametrize("name", ["sam-encoder", "context", "e4e", "restyle-psp", "restyle-e4e"])
def test_n_images_at_once_are_n_images_alone(generator, images, maps, name):
    encoder = settle(all_encoders(generator)[name])
    batch = encode(encoder, generator, images, maps)
    assert not torch.allclose(batch.w_plus[0], batch.w_plus[1], atol=1e-4)
    for i in range(3):
        alone = encode(encoder, generator, images[i:i + 1], maps[i:i + 1])
        torch.testing.assert_close(alone.images, batch.images[i:i + 1], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(alone.w_plus, batch.w_plus[i:i + 1], atol=1e-5, rtol=1e-4)
        for space in batch.deltas:
            nothing = torch.zeros_like(batch.deltas[space][i:i + 1])
            torch.testing.assert_close(alone.deltas.get(space, nothing), batch.deltas[space][i:i + 1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("context", [False, True])
def test_the_record_forms_its_own_images(generator, images, maps, context):
    found = encode(settle(SamEncoder.of(generator, context=context, **SMALL["sam"])), generator, images, maps)
    assert [*found.deltas] == [*found.masks] == ["F4", "F6"]
    again = generator.synthesis(found.w_plus, found.deltas, found.masks, noise="none").clamp(-1, 1)
    torch.testing.assert_close(again, found.images, atol=1e-5, rtol=1e-4)


def test_a_mask_of_zeros_leaves_the_deltas_out(generator, images, maps):
    encoder = settle(SamEncoder.of(generator, **SMALL["sam"]))
    found = encode(encoder, generator, images, maps)
    for name, delta in found.deltas.items():
        outside = (found.masks[name] == 0).expand_as(delta)
        assert (delta[outside] == 0).all() and (delta[~outside] != 0).any()
    plain = encode(encoder, generator, images)
    assert plain.deltas == {} and torch.equal(plain.layer_map, torch.zeros_like(maps))
    torch.testing.assert_close(plain.images, generator.synthesis(plain.w_plus, noise="none").clamp(-1, 1))
    encoder.train()  # all spaces are there, and still nothing is changed
    w_plus, deltas, masks, formed = encoder(generator, images, torch.zeros_like(maps))
    assert {*deltas} == {"F4", "F6"} and all((delta == 0).all() for delta in deltas.values())
    torch.testing.assert_close(formed, generator.synthesis(w_plus, noise="none"))


def test_each_network_sees_its_own_mask(generator, images, maps):
    seen = {}

    def keep(name):
        def hook(module, inputs):
            seen[name] = inputs[0]
        return hook

    encoder = settle(SamEncoder.of(generator, **SMALL["sam"]))
    encoder.latent.register_forward_pre_hook(keep("W+"))
    for name, network in encoder.features.items():
        network.register_forward_pre_hook(keep(name))
    encode(encoder, generator, images, maps)
    for index, name in enumerate(("W+", "F4", "F6")):
        assert torch.equal(seen[name], torch.cat([images, (maps == index)[:, None].float()], 1))


def test_the_context_is_the_feature_and_the_image_so_far(generator, images):
    seen = {}

    def delta(space, feature, image):
        seen[space.name] = feature, image
        return torch.ones(3, space.channels, space.resolution, space.resolution)

    w_plus = generator.w_avg.expand(3, generator.num_layers, -1)
    masks = {"F4": torch.ones(3, 1, 16, 16), "F6": torch.zeros(3, 1, 32, 32)}
    _, deltas = form(generator, w_plus, masks, delta)
    assert (deltas["F4"] == 1).all() and (deltas["F6"] == 0).all()
    assert seen["F4"][0].shape == (3, 8, 16, 16) and seen["F6"][0].shape == (3, 8 - 2, 32, 32)
    torch.testing.assert_close(seen["F4"][1], generator.synthesis(w_plus, noise="none", size=16))
    torch.testing.assert_close(seen["F6"][1], generator.synthesis(w_plus, {"F4": deltas["F4"]}, noise="none", size=32))


def test_restyle_is_a_step_five_times(generator, images):
    encoder = settle(ReStyle.of(generator, "psp", **SMALL["restyle"]))
    w_plus = generator.w_avg.expand(3, generator.num_layers, -1)
    for _ in range(5):
        w_plus = encoder.step(generator, images, w_plus)
    assert encoder.iterations == 5 and torch.equal(encoder.w_plus(generator, images), w_plus)
    assert torch.equal(encoder.refine(generator, images, 0), generator.w_avg.expand_as(w_plus))


def test_offsets_of_e4e_are_added_to_row_0_and_come_row_by_row():
    network = settle(LatentEncoder(3, rows=10, w_dim=4, width=4, hidden=8))
    x = torch.rand(2, 3, 64, 64)
    raw = settle(LatentEncoder(3, rows=10, w_dim=4, width=4, hidden=8, offsets=False))
    raw.load_state_dict(network.state_dict())
    own, codes = network(x), raw(x)
    torch.testing.assert_close(own[:, 0], codes[:, 0])
    torch.testing.assert_close(own[:, 1:], codes[:, :1] + codes[:, 1:])
    network.active = 4
    some = network(x)
    assert torch.equal(some[:, :4], own[:, :4]) and torch.equal(some[:, 4:], own[:, :1].expand(2, 6, 4))
    network.active = 1
    assert torch.equal(network(x), own[:, :1].expand(2, 10, 4))


def test_the_trunk_is_torchvisions_resnet18_up_to_a_resolution():
    from torchvision.models import resnet18

    torch.manual_seed(0)
    whole, x = resnet18(weights=None).eval(), torch.rand(1, 3, 64, 64)
    ours = Trunk(3).eval()
    ours.load_state_dict({name: value for name, value in whole.state_dict().items() if not name.startswith("fc.")})
    first = whole.relu(whole.bn1(whole.conv1(x)))
    second = whole.layer1(whole.maxpool(first))
    third = whole.layer2(second)
    for found, want in zip(ours(x), (first, second, third, whole.layer3(third), whole.layer4(whole.layer3(third)))):
        torch.testing.assert_close(found, want)
    assert [m.shape[-1] for m in Trunk(4, 8, 2)(torch.rand(1, 4, 64, 64))] == [32, 16]
    with pytest.raises(ValueError, match="1 to 5 times, not 6"):
        FeatureEncoder(8, 6)


def test_files_give_the_same_encoder(generator, images, maps, tmp_path):
    for name, encoder in all_encoders(generator).items():
        path = weights.save(settle(encoder), tmp_path / f"{name}.safetensors")
        again = weights.load(type(encoder), path)
        assert again.config == encoder.config
        a, b = (encode(e, generator, images, maps) for e in (encoder, again))
        torch.testing.assert_close(a.images, b.images, atol=0.02, rtol=0)  # matrices are kept in 16 bits


def test_a_published_encoder_fits_the_same_call(images):
    torch.manual_seed(0)
    generator = samlib.stylegan2.Generator(64, 16, 16, {4: 8, 8: 8, 16: 8, 32: 8, 64: 4}, 2)
    encoder = irse.Encoder("e4e", codes=10, widths=(16, 16, 16, 16)).eval()
    found = encode(Published(encoder), generator, images[:1])
    want = encoder(nn.functional.interpolate(images[:1], (256, 256), mode="area"))
    torch.testing.assert_close(found.w_plus, want)
    with pytest.raises(ValueError, match=r"w\+ of \(9, 16\).*wants \(10, 16\)"):
        encode(Published(irse.Encoder("psp", codes=9, widths=(16, 16, 16, 16)).eval()), generator, images[:1])


@pytest.fixture()
def with_encoders(tiny):
    for name, encoder in all_encoders(tiny.generator).items():
        tiny.encoders[name] = settle(encoder).requires_grad_(False)
    return tiny


@pytest.mark.parametrize("method", ["e4e", "restyle-psp", "restyle-e4e"])
def test_encoders_are_methods_of_a_domain(with_encoders, images, method):
    found = with_encoders.invert(images, method)
    assert (found.domain, found.method, found.deltas, found.losses) == (with_encoders.name, method, {}, {})
    assert (found.layer_map == 0).all()
    edited = with_encoders.edit(found, {"size": 1.0})
    assert edited.shape == images.shape and not torch.allclose(edited, found.images, atol=1e-4)
    with pytest.raises(ValueError, match="inverts in W\\+ alone"):
        with_encoders.invert(images, method, layer_map=torch.zeros(64, 64, dtype=torch.long))


def test_the_sam_encoder_uses_the_predicted_maps(with_encoders, images):
    tau = torch.tensor([-1.0, 9.0, 0.2])
    found = with_encoders.invert(images, "sam-encoder", tau=tau)
    predicted = with_encoders.predict(images, tau)
    assert torch.equal(found.layer_map, predicted["layer_map"]) and torch.equal(found.segments, predicted["segments"])
    assert found.layer_map[0].min() == 2 and found.layer_map[1].max() == 0
    own = encode(with_encoders.encoder("sam-encoder"), with_encoders.generator, images, predicted["layer_map"])
    assert torch.equal(found.images, own.images)
    torch.testing.assert_close(with_encoders.edit(found, {"size": 0.0}), found.images, atol=1e-5, rtol=1e-4)


def test_sams_encoder_has_a_threshold_of_its_own(with_encoders, images):
    assert with_encoders.tau_of("sam-encoder") == with_encoders.tau
    domain = replace(with_encoders, encoder_tau=-1.0)  # no segment is that sure: all go to the last space
    last = len(domain.spaces) - 1
    assert (domain.invert(images, "sam-encoder").layer_map == last).all()
    assert (domain.invert(images, "sam-encoder", tau=9.0).layer_map == 0).all()
    assert domain.tau_of("sam") == with_encoders.tau


def test_the_optimizer_starts_where_the_encoder_ended(with_encoders, images):
    domain = with_encoders
    domain.weights = Weights(gaussian=0, spread=1e-3)
    encoded = domain.invert(images, "sam-encoder", tau=torch.tensor([-1.0, 9.0, 0.2]))
    size = domain.generator.resolution // 2
    want = reconstruction_loss(at_size(images, size), at_size(encoded.images, size), domain.weights, domain.metric)
    want["l2"] = (images - encoded.images).square().mean((1, 2, 3))  # at full size from the first step on
    want |= w_loss(encoded.w_plus, domain.weights) | f_loss(encoded.deltas, domain.weights)
    by_name, by_record = (
        domain.invert(images, tau=torch.tensor([-1.0, 9.0, 0.2]), start=start, steps=2, progress=False)
        for start in ("sam-encoder", encoded))
    assert {*by_name.losses} == {*want}
    for name, value in want.items():
        torch.testing.assert_close(by_name.losses[name][0], value.cpu(), atol=1e-5, rtol=1e-4)
    assert torch.equal(by_name.images, by_record.images)
    assert not torch.equal(by_name.w_plus, encoded.w_plus)


def test_each_image_begins_at_the_encoder_that_comes_closest(with_encoders, images):
    """With rates of 0 an inversion is its start."""
    domain = replace(with_encoders, learning_rate=0.0, delta_learning_rate=0.0)
    both, tau = ("sam-encoder", "e4e"), torch.tensor([-1.0, 9.0, 0.2])
    starts = [domain.invert(images, tau=tau, start=name, steps=1, progress=False) for name in both]
    maps = domain.predict(images, tau)["layer_map"]
    for name, begun in zip(both, starts):
        own = encode(domain.encoder(name), domain.generator, images, maps)
        torch.testing.assert_close(begun.w_plus, own.w_plus)
        torch.testing.assert_close(begun.images, own.images, atol=1e-5, rtol=0)
    errors = torch.stack([(one.images - images).square().mean((1, 2, 3)) for one in starts])
    assert 0 < errors.argmin(0).sum() < 3  # each is the closest to some image
    found = domain.invert(images, tau=tau, start=both, steps=1, progress=False)
    for i, best in enumerate(errors.argmin(0).tolist()):
        torch.testing.assert_close(found[i].images, starts[best][i].images, atol=1e-5, rtol=0)
        torch.testing.assert_close(found[i].w_plus, starts[best][i].w_plus)
    alone = domain.invert(images[1:2], tau=tau[1:2], start=both, steps=1, progress=False)
    torch.testing.assert_close(found[1].images, alone.images, atol=1e-5, rtol=0)


def test_the_padding_does_not_say_which_encoder_comes_closest(with_encoders, images, monkeypatch):
    """Two that stand in: one is right in the picture, the other around it."""
    valid = torch.zeros(1, 1, 64, 64)
    valid[:, :, 24:40] = 1
    w_plus = {name: torch.full((1, 10, 16), float(i)) for i, name in enumerate(("sam-encoder", "e4e"))}

    def stand_in(encoder, generator, x, layer_map):
        name = next(name for name, one in with_encoders.encoders.items() if one is encoder)
        wrong = valid if name == "e4e" else 1 - valid
        return samlib.Inversion(w_plus[name], x - 0.5 * wrong, inputs=x)

    monkeypatch.setattr("samlib.encode.encode", stand_in)
    domain = replace(with_encoders, start=("sam-encoder", "e4e"), learning_rate=0.0)
    found = domain.invert(images[:1], "w+", valid=valid, steps=1, progress=False)
    assert torch.equal(found.w_plus, w_plus["sam-encoder"])
    assert torch.equal(domain.invert(images[:1], "w+", steps=1, progress=False).w_plus, w_plus["e4e"])  # of which more is right


def test_a_start_of_one_inversion_serves_all_images(with_encoders, images):
    one = with_encoders.invert(images[:1], "sam-encoder", tau=-1.0)
    still = replace(with_encoders, learning_rate=0.0, delta_learning_rate=0.0)
    found = still.invert(images, tau=-1.0, start=one, steps=1, progress=False)
    assert one.deltas and all(torch.equal(found.deltas[name], delta.expand_as(found.deltas[name])) for name, delta in one.deltas.items())


@pytest.mark.parametrize("start, named", [(torch.zeros(3, 10, 16), r"a tensor of shape \(3, 10, 16\)"), ((), r"\(\)"), (3, "3")])
def test_a_start_that_is_none_is_refused(tiny, images, start, named):
    with pytest.raises(TypeError, match=rf"^start is {named}; want the name of an encoder, a tuple of such names, or an Inversion$"):
        tiny.invert(images, "w+", start=start, steps=1, progress=False)


def test_hybrid_is_w_plus_from_e4e(with_encoders, images):
    found = with_encoders.invert(images, "hybrid-e4e", steps=3, progress=False)
    start = with_encoders.invert(images, "e4e").w_plus
    want = optimize(with_encoders.generator, images, {}, with_encoders.metric, steps=3, start=start, progress=False,
                    weights=with_encoders.weights, learning_rate=with_encoders.learning_rate)
    assert torch.equal(found.w_plus, want.w_plus) and found.method == "hybrid-e4e"
    assert torch.equal(found.w_plus, with_encoders.invert(images, "w+", steps=3, start="e4e", progress=False).w_plus)


def test_encoders_are_read_from_the_domains_folder(tiny, images, tmp_path):
    tiny.folder = tmp_path
    with pytest.raises(FileNotFoundError, match=r"e4e.safetensors is missing"):
        tiny.invert(images, "e4e")
    assert not tiny.has_encoder("e4e")
    weights.save(settle(E4e.of(tiny.generator, width=4)), tmp_path / "e4e.safetensors")
    assert tiny.has_encoder("e4e") and not tiny.encoders
    assert tiny.invert(images, "e4e").images.shape == images.shape
    (tmp_path / "e4e.safetensors").unlink()
    assert tiny.has_encoder("e4e")  # as that of an official domain, which lies in no file of this name
    assert tiny.encoder("e4e") is tiny.encoder("e4e")
    weights.save(E4e.of(tiny.generator, width=4), tmp_path / "restyle-psp.safetensors")
    with pytest.raises(ValueError, match="holds .?E4e.?, wanted ReStyle"):
        tiny.encoder("restyle-psp")
    weights.save(ReStyle.of(tiny.generator, "e4e", width=4), tmp_path / "restyle-psp.safetensors")
    with pytest.raises(ValueError, match="restyle-psp.safetensors: holds the ReStyle of kind 'e4e', wanted restyle-psp"):
        tiny.encoder("restyle-psp")
    (tmp_path / "restyle-psp.safetensors").rename(tmp_path / "restyle-e4e.safetensors")
    assert tiny.encoder("restyle-e4e").config["kind"] == "e4e"
    with pytest.raises(ValueError, match="no encoder 'e5e'; there are sam-encoder, e4e"):
        tiny.invert(images, "w+", start="e5e")


def test_wrong_shapes_are_answered_in_one_line(generator, images):
    with pytest.raises(ValueError, match=r"want \(N, 3, 64, 64\)"):
        encode(E4e.of(generator), generator, images[..., :32])
    with pytest.raises(ValueError, match=r"the layer map has shape \(2, 64, 64\); want \(3, 64, 64\), one for each image"):
        encode(SamEncoder.of(generator, width=8, latent_width=4), generator, images, torch.zeros(2, 64, 64).long())
    with pytest.raises(ValueError, match="'psp' or 'e4e'"):
        ReStyle.of(generator, "e5e")
