"""Conversion: each network of each official layout comes out exactly, or in 16 bits, and says what it was made from."""

import hashlib

import official_files
import pytest
import torch

from samlib import encode, paths, standin, weights
from samlib.__main__ import main
from samlib.checkpoints import CheckpointError, load_generator, load_tensors
from samlib.convert import convert, parts
from samlib.invertibility import InvertibilityPredictor, load_predictor
from samlib.irse import Encoder, load_encoder
from samlib.stylegan2 import Generator


def generator(**options):
    torch.manual_seed(0)
    made = Generator(16, 20, 20, {4: 16, 8: 12, 16: 8}, mapping_layers=2, **options)
    made.w_avg.normal_()
    return made.requires_grad_(False)


def predictor():
    torch.manual_seed(0)
    made = InvertibilityPredictor(("W+", "F4", "F6"), width=8, decoder=16, low_reduced=8).eval()
    for name, buffer in made.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
    return made.requires_grad_(False)


def encoder():
    torch.manual_seed(0)
    made = Encoder("e4e", codes=6, widths=(16, 16, 16, 20)).eval().requires_grad_(False)
    made.latent_avg.normal_()
    return made


def equal(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture()
def files(tmp_path):
    """One file of each layout, and what it holds."""
    standin.write_generator(generator(), tmp_path / "tf.pkl")
    official_files.write_nvidia(generator(conv_clamp=256), tmp_path / "ada.pkl")
    official_files.write_rosinality(generator(), tmp_path / "g.pt")
    standin.write_predictor(predictor(), tmp_path / "invertibility.pt")
    standin.write_encoder(encoder(), tmp_path / "e4e.pt")
    state = {f"decoder.{name}": tensor for name, tensor in official_files.rosinality_state(generator()).items()}
    state |= {f"encoder.{name}": tensor for name, tensor in encoder().state_dict().items()}
    opts = {"encoder_type": "GradualStyleEncoder", "start_from_latent_avg": True}
    torch.save({"state_dict": state, "latent_avg": encoder().latent_avg, "opts": opts}, tmp_path / "both.pt")
    return tmp_path


LOADERS = {"generator": load_generator, "encoder": load_encoder, "predictor": load_predictor}
HELD = {"tf.pkl": ["generator"], "ada.pkl": ["generator"], "g.pt": ["generator"], "invertibility.pt": ["predictor"],
        "e4e.pt": ["encoder"], "both.pt": ["encoder", "generator"]}  # fmt: skip


@pytest.mark.parametrize("name", HELD)
def test_every_network_comes_out_exactly_and_says_where_it_came_from(name, files):
    assert [*parts(files / name)] == HELD[name]
    for part in HELD[name]:
        out = files / "new" / f"{part}.safetensors"
        assert convert(files / name, out, part) == part
        assert [*parts(out)] == [part]
        assert equal(LOADERS[part](out), LOADERS[part](files / name))
        metadata = load_tensors(out)[1]
        assert metadata["source"].strip('"') == name
        assert metadata["source_sha256"].strip('"') == hashlib.sha256((files / name).read_bytes()).hexdigest()
        convert(out, files / "again.safetensors")  # what was converted converts
        assert equal(LOADERS[part](files / "again.safetensors"), LOADERS[part](out))


def test_what_was_converted_computes_the_same(files):
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for name, network in (("invertibility.pt", predictor()), ("e4e.pt", encoder())):
        convert(files / name, files / "out.safetensors")
        torch.testing.assert_close(LOADERS[HELD[name][0]](files / "out.safetensors")(images), network(images))
    convert(files / "ada.pkl", files / "out.safetensors")
    assert load_generator(files / "out.safetensors").config["conv_clamp"] == 256  # the limit of activations is kept
    convert(files / "both.pt", files / "out.safetensors")
    assert load_encoder(files / "out.safetensors").kind == "psp"


@pytest.mark.parametrize("name, part", [("tf.pkl", "generator"), ("e4e.pt", "encoder"), ("invertibility.pt", "predictor")])
def test_sixteen_bits_make_the_file_smaller(name, part, files):
    convert(files / name, files / "whole.safetensors")
    convert(files / name, files / "half.safetensors", half=True)
    assert (files / "half.safetensors").stat().st_size < 0.75 * (files / "whole.safetensors").stat().st_size
    whole, half = (LOADERS[part](files / f"{size}.safetensors").state_dict() for size in ("whole", "half"))
    for key, tensor in whole.items():
        torch.testing.assert_close(half[key], tensor, rtol=1e-3, atol=1e-6)


def test_an_e4e_file_gives_its_generator_on_request(files, capsys):
    assert main(["convert", str(files / "both.pt"), str(files / "g.safetensors"), "--part", "generator"]) == 0
    assert "generator written to" in capsys.readouterr().out
    assert equal(load_generator(files / "g.safetensors"), load_generator(files / "both.pt"))


def test_bad_calls_get_one_line_and_leave_nothing(files, capsys):
    (files / "text.pt").write_text("not found\n")
    (files / "cut.pt").write_bytes((files / "e4e.pt").read_bytes()[:5000])
    torch.save([1, 2], files / "list.pt")
    before = {path.name: paths.digest(path) for path in files.iterdir()}
    for words, *arguments in (
        ("cannot be read", "missing.pt", "out.safetensors"),
        ("no checkpoint", "text.pt", "out.safetensors"),
        ("cut short", "cut.pt", "out.safetensors"),
        ("no StyleGAN2 generator", "list.pt", "out.safetensors"),
        ("ends in .safetensors", "tf.pkl", "out.pkl"),
        ("holds no encoder but generator", "tf.pkl", "out.safetensors", "--part", "encoder"),
    ):
        assert main(["convert", *(str(files / a) if "." in a else a for a in arguments)]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and words in err, err
    assert {path.name: paths.digest(path) for path in files.iterdir()} == before


def test_a_conversion_that_fails_keeps_the_file_that_was_there(files, monkeypatch):
    convert(files / "tf.pkl", files / "out.safetensors")
    before = paths.digest(files / "out.safetensors")

    def full(*arguments, **options):
        raise OSError("No space left on device")

    monkeypatch.setattr("samlib.checkpoints.save_file", full)
    with pytest.raises(OSError, match="No space"):
        convert(files / "g.pt", files / "out.safetensors")
    assert paths.digest(files / "out.safetensors") == before and not [*files.glob("*.part")]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c: c["sd_base"].pop("backbone.layer2.1.bn1.weight"), "sd_base.backbone.layer2.1.bn1.weight is missing"),
        (lambda c: c["F4"].pop("m.3.bias"), r"heads.F4.m.3.bias is missing; want \(1,\)"),
        (lambda c: c["W+"].update({"m.9.bias": torch.ones(1)}), "heads.W.*m.9.bias' is left over"),
        (lambda c: c["W+"].update({"m.0.weight": torch.ones(2, 2)}), r"m.0.weight has shape \(2, 2\); want \(8, 4, 3, 3\)"),
        (lambda c: c.update({"F99": c["F4"]}), "'F99', which is no space"),
        (lambda c: c.update({"epoch": 3}), "'epoch' is left over"),
        (lambda c: c["sd_base"].update({"backbone.conv1.weight": torch.ones(1 << 14, 1, 1, 1)}), "misshaped"),
        (lambda c: c["sd_base"].pop("aspp.conv1.weight"), "aspp.conv1.weight is missing"),
        (lambda c: c["sd_base"].update({"backbone.layer3.9.conv1.weight": torch.ones(1)}), "with 10 units in layer3"),
        (lambda c: c["W+"].update({"m.0.bias": torch.ones(4).long()}), "int64"),
    ],
)  # fmt: skip
def test_a_wrong_tensor_of_a_predictor_is_named(change, message, tmp_path):
    made = predictor()
    content = {"sd_base": made.sd_base.state_dict(), **{name: head.state_dict() for name, head in made.heads.items()}}
    change(content)
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=message):
        load_predictor(tmp_path / "a.pt")


def test_a_predictor_comes_with_the_spaces_its_file_has_in_their_order(tmp_path):
    made = predictor()
    heads = {name: made.heads[name].state_dict() for name in ("F6", "W+", "F4")}
    torch.save({**heads, "sd_base": made.sd_base.state_dict()}, tmp_path / "a.pt")
    loaded = load_predictor(tmp_path / "a.pt")
    assert loaded.spaces == ("W+", "F4", "F6") and equal(loaded, made)
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())


@pytest.mark.parametrize("make", [
    lambda: encode.E4e(10, 16, size=64, width=16), lambda: encode.ReStyle("psp", 10, 16, size=64, width=16),
    lambda: encode.SamEncoder(10, 16, [["F4", 8, 8]], size=64, latent_width=16, width=16)])  # fmt: skip
@pytest.mark.parametrize("half", [False, True])
def test_an_encoder_that_was_trained_here_converts_too(make, half, tmp_path):
    torch.manual_seed(0)
    made = make()
    weights.save(made, tmp_path / "a.safetensors", half=False, run="cats")
    assert convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", "encoder", half) == "encoder"
    found = weights.load(type(made), tmp_path / "b.safetensors")
    assert equal(found, made) or half
    assert found.metadata["run"] == "cats" and found.metadata["source"] == "a.safetensors"
    assert half == ((tmp_path / "b.safetensors").stat().st_size < 0.75 * (tmp_path / "a.safetensors").stat().st_size)
    with pytest.raises(CheckpointError, match="holds no generator but encoder"):
        convert(tmp_path / "a.safetensors", tmp_path / "c.safetensors", "generator")
