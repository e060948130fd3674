"""BigGAN-deep: the pictures of the real package from its own files, and the laws of Eq. 3-4 and Sec. 3.4."""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tiny_biggan import NAMES, tiny_biggan

from samlib import load_generator, save_generator
from samlib.arrays import CheckpointError
from samlib.biggan import BigGAN, official_channels
from samlib.biggan_layers import Norm
from samlib.layer_map import masks as masks_of
from samlib.layer_map import uniform

WIDTH = 8
LAYERS = {  # of the package's config.json
    128: [(0, 16, 16), (1, 16, 16), (0, 16, 16), (1, 16, 8), (0, 8, 8), (1, 8, 4), (0, 4, 4), (1, 4, 2), (0, 2, 2), (1, 2, 1)],
    256: [(0, 16, 16), (1, 16, 16), (0, 16, 16), (1, 16, 8), (0, 8, 8), (1, 8, 8), (0, 8, 8), (1, 8, 4), (0, 4, 4), (1, 4, 2),
          (0, 2, 2), (1, 2, 1)],
    512: [(0, 16, 16), (1, 16, 16), (0, 16, 16), (1, 16, 8), (0, 8, 8), (1, 8, 8), (0, 8, 8), (1, 8, 4), (0, 4, 4), (1, 4, 2),
          (0, 2, 2), (1, 2, 1), (0, 1, 1), (1, 1, 1)],
}  # fmt: skip


def package_model(resolution, seed=0):
    """The real package's network, an eighth to a sixteenth as wide, with random weights and statistics; and its config."""
    package = pytest.importorskip("pytorch_pretrained_biggan")
    torch.manual_seed(seed)
    layers = [(bool(up), i, o) for up, i, o in LAYERS[resolution]]
    config = package.BigGANConfig(output_dim=resolution, z_dim=12, class_embed_dim=12, channel_width=WIDTH, num_classes=7,
                                  layers=layers, n_stats=11)
    model = package.BigGAN(config).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_vars"):
                tensor.uniform_(0.5, 2)
            elif name.endswith(("gamma", "bn.weight", "bn.bias")) or name.endswith("running_means"):
                tensor.normal_()
            elif "offset" in name or "scale" in name or name.startswith("embeddings"):
                tensor.normal_()
        for module in model.modules():
            if hasattr(module, "weight_orig"):  # two steps towards the spectral norm, which is not quite reached then
                matrix = module.weight_orig.flatten(1)
                for _ in range(2):
                    module.weight_v.copy_(F.normalize(matrix.t() @ module.weight_u, dim=0))
                    module.weight_u.copy_(F.normalize(matrix @ module.weight_v, dim=0))
    return model, config


def write(model, config, folder):
    folder.mkdir(exist_ok=True)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "config.json").write_text(config.to_json_string())
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write(*package_model(128), tmp_path_factory.mktemp("package") / "biggan-deep-128")


@pytest.fixture(scope="module")
def generator():
    return tiny_biggan()


@pytest.fixture(scope="module")
def code(generator):
    z = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    return generator.mapping(z, classes=[0, 1, 2])


@pytest.mark.parametrize("resolution", [128, 256, 512])
def test_the_pictures_are_those_of_the_package(resolution, tmp_path):
    model, config = package_model(resolution)
    generator = load_generator(write(model, config, tmp_path / "it"))
    assert generator.resolution == resolution and not generator.training
    assert generator.config["channels"] == official_channels(resolution, WIDTH) and generator.config["attention"] == 64
    z, label = torch.randn(2, 12), torch.eye(7)[[2, 5]]
    for truncation in (1.0, 0.4, 0.33) if resolution == 128 else (0.5,):
        generator.truncation = truncation
        with torch.no_grad():
            want = model(z * truncation, label, truncation)
            got = generator.synthesis(generator.mapping(z, truncation, classes=label))
        assert want.std() > 0.05
        assert (got - want).abs().max() <= 1e-4 * want.abs().max()


def test_the_file_can_be_given_itself_and_its_settings_have_the_package_s_names(files, tmp_path):
    named = tmp_path / "biggan-deep-128-pytorch_model.bin"
    named.write_bytes((files / "pytorch_model.bin").read_bytes())
    config = json.loads((files / "config.json").read_text())
    (tmp_path / "biggan-deep-128-config.json").write_text(json.dumps({**config, "eps": 0.01}))
    assert load_generator(named).config["eps"] == 0.01
    assert load_generator(files / "pytorch_model.bin").config["eps"] == 1e-4


def test_older_files_of_torch_are_read_too(files, tmp_path):
    state = torch.load(files / "pytorch_model.bin", weights_only=True)
    torch.save(state, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    one, two = load_generator(files), load_generator(tmp_path)
    assert all(torch.equal(tensor, two.state_dict()[name]) for name, tensor in one.state_dict().items())


def test_to_safetensors_and_back(files, tmp_path, generator):
    for original in (load_generator(files), generator):
        save_generator(original, tmp_path / "g.safetensors", half=False)
        again = load_generator(tmp_path / "g.safetensors")
        assert again.config == original.config and again.names == original.names
        assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in original.state_dict().items())


def test_every_tensor_is_wanted_and_wrong_ones_are_named(files, tmp_path):
    state = torch.load(files / "pytorch_model.bin", weights_only=True)
    conv, norm = "generator.layers.3.conv_1", "generator.layers.9.bn_2"
    for change, word in (
        ({f"{conv}.weight_u": None}, f"{conv}.weight_u"),
        ({f"{conv}.weight_orig": None}, f"{conv}.weight_orig"),
        ({f"{norm}.running_vars": None}, f"{norm}.running_vars"),
        ({f"{norm}.offset.weight_v": torch.ones(3)}, f"{norm}.offset"),
        ({f"{conv}.bias": torch.ones(3)}, f"{conv}.bias"),
        ({"generator.conv_to_alpha.bias": torch.ones(3)}, "conv_to_alpha"),
        ({"embeddings.weight": None}, "embeddings.weight"),
        ({"generator.layers.2.conv_3.weight_orig": state["generator.layers.2.conv_3.weight_orig"][:, :9]}, "layers.2.conv_3"),
        ({f"{conv}.weight_v": 0 * state[f"{conv}.weight_v"]}, "spectral norm"),
    ):
        broken = {name: tensor for name, tensor in {**state, **change}.items() if tensor is not None}
        torch.save(broken, tmp_path / "pytorch_model.bin")
        with pytest.raises(CheckpointError) as caught:
            load_generator(tmp_path)
        assert word in str(caught.value) and "\n" not in str(caught.value)


def test_settings_that_do_not_fit_are_refused(files, tmp_path, generator):
    (tmp_path / "pytorch_model.bin").write_bytes((files / "pytorch_model.bin").read_bytes())
    config = json.loads((files / "config.json").read_text())
    layers = [[not up, i, o] for up, i, o in config["layers"]]
    for text in ("{", json.dumps({**config, "eps": "small"}), json.dumps({**config, "layers": layers}), json.dumps({"layers": 3})):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(CheckpointError):
            load_generator(tmp_path)
    save_generator(generator, tmp_path / "g.safetensors")
    save_file(load_file(tmp_path / "g.safetensors"), tmp_path / "bad.safetensors", {"config": '{"names": [1, 2, 3]}'})
    with pytest.raises(CheckpointError):
        load_generator(tmp_path / "bad.safetensors")


def test_the_spaces(generator):
    assert [(s.name, s.resolution, s.channels, s.layer) for s in generator.spaces] == [
        ("Z+", None, 6, 0), ("F2", 8, 16, 4), ("F4", 16, 8, 6)]  # fmt: skip
    assert generator.num_layers == 7 and generator.w_dim == 10
    assert official_channels(128) == {4: 2048, 8: 2048, 16: 1024, 32: 512, 64: 256, 128: 128}


def test_a_row_acts_from_its_block_on(generator, code):
    """Features before the first row of a space do not see it; those after do."""
    seen = {}

    def features_of(code):
        seen.clear()
        generator.generator(code, 1.0, lambda r, x: seen.setdefault(r, x))
        return dict(seen)

    code = code.clone()
    plain = features_of(code)
    for space in generator.spaces[1:]:
        moved = code.clone()
        moved[:, space.layer :, :6] += 1
        after = features_of(moved)
        sizes = [4, 8, 16, 32]
        changed = [r for r in sizes if not torch.equal(plain[r], after[r])]
        assert changed == [r for r in sizes if r > space.resolution]
        moved = code.clone()
        moved[:, space.layer - 1, :6] += 1
        assert not torch.equal(plain[space.resolution], features_of(moved)[space.resolution])


def test_a_batch_is_its_images_one_by_one_each_with_its_class(generator, code):
    deltas = {"F2": torch.randn(3, 16, 8, 8), "F4": torch.randn(3, 8, 16, 16)}
    masks = {"F2": torch.rand(3, 1, 8, 8), "F4": torch.rand(3, 1, 32, 32)}
    direction = torch.randn(7, 10)
    batch, edited = generator.synthesis(code, deltas, masks), generator.edit(code, direction, deltas, masks)
    for i in range(3):
        part = [{name: x[i : i + 1] for name, x in group.items()} for group in (deltas, masks)]
        torch.testing.assert_close(generator.synthesis(code[i : i + 1], *part), batch[i : i + 1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(generator.edit(code[i : i + 1], direction, *part), edited[i : i + 1], rtol=1e-4, atol=1e-5)


def test_no_change_and_no_mask_change_nothing(generator, code):
    plain = generator.synthesis(code)
    delta = torch.randn(3, 16, 8, 8)
    zeros, ones = torch.zeros(3, 1, 8, 8), torch.ones(3, 1, 8, 8)
    torch.testing.assert_close(generator.synthesis(code, {"F2": 0 * delta}, {"F2": ones}), plain)
    torch.testing.assert_close(generator.synthesis(code, {"F2": delta}, {"F2": zeros}), plain)
    torch.testing.assert_close(generator.synthesis(code, {"F2": delta}, {"F2": ones}), generator.synthesis(code, {"F2": delta}))
    assert not torch.allclose(generator.synthesis(code, {"F2": delta}), plain, atol=1e-2)
    assert torch.equal(generator.synthesis(code, noise="none"), generator.synthesis(code, noise="random"))


def test_an_edit_of_zero_is_the_image_and_without_masks_a_new_code(generator, code):
    deltas, masks = {"F4": torch.randn(3, 8, 16, 16)}, masks_of(uniform(3, 32, 2), generator.spaces)
    plain = generator.synthesis(code, deltas, masks)
    torch.testing.assert_close(generator.edit(code, torch.zeros(7, 10), deltas, masks), plain, rtol=1e-4, atol=1e-5)
    direction = torch.randn(3, 7, 10)
    torch.testing.assert_close(generator.edit(code, direction), generator.synthesis(code + direction), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("which", ["z+", "class"])
def test_inside_a_segment_an_edit_acts_after_its_space_only(generator, code, which):
    """All of the image in F2: rows before it change nothing, whether they move z+ or the class."""
    deltas, masks = {"F2": torch.randn(3, 16, 8, 8)}, {"F2": torch.ones(3, 1, 8, 8)}
    direction = torch.zeros(3, 7, 10)
    if which == "class":
        direction += generator.class_direction(code, ["van", "truck", "sedan"])
    else:
        direction[..., :6] = 1
    early, late = direction.clone(), direction.clone()
    early[:, 4:], late[:, :4] = 0, 0
    plain = generator.synthesis(code, deltas, masks)
    torch.testing.assert_close(generator.edit(code, early, deltas, masks), plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(generator.edit(code, direction, deltas, masks), generator.edit(code, late, deltas, masks),
                               rtol=1e-4, atol=1e-5)
    assert (generator.edit(code, late, deltas, masks) - plain).abs().mean() > 1e-3


def test_classes_by_name_id_and_weight_are_the_same(generator):
    z = torch.randn(3, 6)
    want = generator.mapping(z, classes=[0, 1, 2])
    one_hot = torch.eye(3)
    for classes in (NAMES, torch.arange(3), one_hot, one_hot.long()):
        assert torch.equal(generator.mapping(z, classes=classes), want)
    assert torch.equal(generator.conditioned(NAMES).mapping(z), want)
    assert torch.equal(generator.conditioned("van").mapping(z)[0], generator.mapping(z[:1], classes=1)[0])
    mixed = generator.embed(torch.tensor([[0.5, 0.5, 0]]))
    torch.testing.assert_close(mixed[0], generator.embed([0, 1]).mean(0))
    assert torch.equal(generator.conditioned("truck").w_avg, generator.mapping(torch.zeros(1, 6), classes="truck")[0, 0])


def test_the_class_direction_leads_to_the_class(generator, code):
    direction = generator.class_direction(code, "truck")
    assert torch.equal(direction[..., :6], torch.zeros(3, 7, 6))
    torch.testing.assert_close((code + direction)[..., 6:], generator.embed("truck")[None].expand(3, 7, -1))
    z_direction = generator.z_direction(torch.ones(6), range(2, 4))
    assert z_direction[2:4, :6].eq(1).all() and z_direction.sum() == 12


def test_statistics_between_two_steps_by_hand():
    norm = Norm(1, None, n_stats=3, eps=0.0)
    norm.running_means.copy_(torch.tensor([[0.0], [1.0], [5.0]]))
    assert [norm.statistics(t)[0].item() for t in (0.0, 0.5, 1.0)] == [0, 1, 5]
    assert norm.statistics(0.625)[0].item() == 0.25 * 1 + 0.75 * 5  # the package's weights, the wrong way round


@pytest.mark.parametrize("n_stats", [50, 99])
def test_truncation_1_is_the_last_of_any_number_of_statistics(n_stats):
    """1 / (1 / 49) is a little more than 49."""
    norm = Norm(1, None, n_stats, eps=0.0)
    norm.running_means.copy_(torch.arange(float(n_stats))[:, None])
    norm.running_vars.copy_(2 + torch.arange(float(n_stats))[:, None])
    assert [float(x) for x in norm.statistics(1.0)] == pytest.approx([n_stats - 1, n_stats + 1])


def test_training_has_the_values_of_running_statistics_and_the_gradients_of_the_batch_s():
    norm = Norm(1, None, n_stats=3, eps=1e-8)
    x = torch.tensor([1.0, 2, 3, 6]).reshape(4, 1, 1, 1).requires_grad_()  # mean 3, variance 3.5
    out = norm(x, None, 1.0)
    mean, var = 0.02 * 3, 0.98 + 0.02 * 3.5
    assert norm.running_means[:, 0].tolist() == pytest.approx([0, 0, mean])
    assert norm.running_vars[:, 0].tolist() == pytest.approx([1, 1, var])
    torch.testing.assert_close(out, (x - mean) / var**0.5)
    (out * torch.tensor([1.0, 0, 2, 5]).reshape(4, 1, 1, 1)).sum().backward()
    assert abs(x.grad.sum()) < 1e-5 and abs((x.grad * x).sum()) < 1e-5  # a shift or a stretch of the batch changes nothing
    far = norm(x + 1000, None, 1.0)
    assert far.mean().item() == pytest.approx(5, abs=1e-4)  # at the limit


def test_standing_statistics_are_those_of_the_features():
    """With them, a large random batch leaves every norm before its gain with mean 0 and variance 1."""
    generator = tiny_biggan()
    z = torch.randn(400, 6, generator=torch.Generator().manual_seed(9))
    code = generator.mapping(z, classes=torch.randint(3, (400,), generator=torch.Generator().manual_seed(9)))
    found = {}
    norm = generator.generator.layers[1].bn_2
    hook = norm.register_forward_hook(lambda module, inputs, out: found.update(x=inputs[0]))
    generator.synthesis(code)
    hook.remove()
    x = (found["x"] - norm.running_means[-1][:, None, None]) / norm.running_vars[-1].sqrt()[:, None, None]
    assert x.mean((0, 2, 3)).abs().max() < 0.25
    assert (x.var((0, 2, 3)) - 1).abs().max() < 0.4
    assert norm.running_vars[0].mean() < norm.running_vars[-1].mean()  # z = 0: only the classes vary


def test_bad_input_says_what_was_got_and_wanted(generator, code):
    for call, words in (
        (lambda: generator.mapping(torch.zeros(2, 6)), "classes"),
        (lambda: generator.mapping(torch.zeros(2, 6), classes=[0, 1, 2]), "3 classes for 2 images"),
        (lambda: generator.mapping(torch.zeros(1, 6), classes="tank"), "sedan, van, truck"),
        (lambda: generator.mapping(torch.zeros(1, 6), classes=3), "no class 3"),
        (lambda: generator.embed(torch.ones(1, 5)), "(N, 3)"),
        (lambda: generator.embed(torch.tensor([0, 3])), "no class 3"),
        (lambda: generator.conditioned(torch.tensor([-1])), "no class -1"),
        (lambda: generator.synthesis(code, {"Z+": torch.zeros(3, 8, 16, 16)}), "no feature space 'Z+'"),
        (lambda: generator.edit(code, torch.zeros(3, 10)), "want (7, 10)"),
        (lambda: generator.synthesis(code[:, :3]), "(N, 7, 10)"),
        (lambda: generator.synthesis(code, {"F6": torch.zeros(3, 8, 16, 16)}), "F2, F4"),
        (lambda: generator.synthesis(code, {"F2": torch.zeros(3, 8, 16, 16)}), "(N, 16, 8, 8)"),
        (lambda: BigGAN(64), "128, 256, 512"),
        (lambda: BigGAN(16, channels={4: 16, 8: 12, 16: 12}), "16 -> 12"),
        (lambda: BigGAN(16, channels={4: 16, 16: 16}), "8"),
        (lambda: BigGAN(8, channels={4: 8, 8: 8}, names=["a"]), "names"),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        assert words in str(caught.value) and "\n" not in str(caught.value)
