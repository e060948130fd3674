"""Hostile files where a predictor, an encoder or a small network is wanted: one clear line, nothing run, little memory."""

import json
import os
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import hostile_files
import pytest
import torch
from safetensors.torch import save_file

from samlib import standin
from samlib.checkpoints import CheckpointError
from samlib.convert import parts
from samlib.invertibility import InvertibilityPredictor, load_predictor
from samlib.irse import Encoder, load_encoder
from samlib.segmenters import SceneSegmenter

LOADERS = {"predictor": load_predictor, "encoder": load_encoder}


def small_predictor():
    torch.manual_seed(0)
    return InvertibilityPredictor(("W+", "F4"), width=8, decoder=8, low_reduced=8).eval()


def small_encoder():
    torch.manual_seed(0)
    return Encoder("e4e", codes=4, widths=(16, 16, 16, 16)).eval()


def planted(marker) -> dict:
    """Files that are laid out as the networks' own, with a trap or a lie where an array should be."""
    touch = hostile_files.Call(os.system, f"touch '{marker}'")
    opts = {"encoder_type": "Encoder4Editing", "start_from_latent_avg": True}
    encoder = {f"encoder.{name}": tensor for name, tensor in small_encoder().state_dict().items()}
    predictor = {"sd_base": small_predictor().sd_base.state_dict(), "W+": small_predictor().heads["W+"].state_dict()}
    return {
        "trap among the heads.pt": {**predictor, "F4": touch},
        "trap in a head.pt": {**predictor, "F4": {"m.0.weight": touch}},
        "trap in the base.pt": {**predictor, "sd_base": {**predictor["sd_base"], "backbone.conv1.weight": touch}},
        "trap in opts.pt": {"state_dict": encoder, "opts": touch},
        "trap in the type.pt": {"state_dict": encoder, "opts": {"encoder_type": touch}},
        "trap in latent_avg.pt": {"state_dict": encoder, "opts": opts, "latent_avg": touch},
        "numbers for arrays.pt": {"state_dict": dict.fromkeys(encoder, 3), "opts": opts},
        "lists for opts.pt": {"state_dict": encoder, "opts": [1]},
        "a list for the type.pt": {"state_dict": encoder, "opts": {"encoder_type": [1]}},
        "strings for arrays.pt": {"sd_base": dict.fromkeys(predictor["sd_base"], "a"), "W+": {}},
        "one tensor for all.pt": {"sd_base": {f"a{i}": predictor["sd_base"]["aspp.conv1.weight"] for i in range(4000)}},
    }  # fmt: skip


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    marker = tmp_path_factory.mktemp("marker") / "planted-code-ran"
    hostile_files.write_all(folder, marker)
    for name, content in planted(marker).items():
        torch.save(content, folder / name)
    return folder, marker


@pytest.mark.parametrize("kind", LOADERS)
def test_each_is_refused_in_one_line_and_runs_nothing(kind, hostile):
    folder, marker = hostile
    for path in sorted(folder.iterdir()):
        with pytest.raises((CheckpointError, ValueError)) as caught:
            LOADERS[kind](path)
        message = str(caught.value)
        assert "\n" not in message and len(message) < len(str(path)) + 300 and path.name in message, message
        assert not marker.exists(), path.name


def test_naming_the_parts_of_a_file_runs_nothing(hostile):
    folder, marker = hostile
    for path in sorted(folder.iterdir()):
        try:
            parts(path)
        except CheckpointError as error:
            assert path.name in str(error) and "\n" not in str(error)
        assert not marker.exists(), path.name


@pytest.mark.parametrize("kind", LOADERS)
def test_a_file_cut_short_anywhere_is_refused(kind, tmp_path):
    whole = tmp_path / "whole.pt"
    standin.write_predictor(small_predictor(), whole) if kind == "predictor" else standin.write_encoder(small_encoder(), whole)
    content = whole.read_bytes()
    for length in [*range(0, 20), *range(20, len(content), len(content) // 40), len(content) - 1]:
        (tmp_path / "cut.pt").write_bytes(content[:length])
        with pytest.raises(CheckpointError):
            LOADERS[kind](tmp_path / "cut.pt")


def with_header(path, **changes):
    """The safetensors file `path` with other metadata."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:8 + length])
    header["__metadata__"] |= {key: json.dumps(value) for key, value in changes.items()}
    header = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + content[8 + length:])


@pytest.mark.parametrize(
    "config, words",
    [
        (dict(width=200_000), "has shape"),  # 20 GB and more, were it built
        (dict(decoder=1 << 20), "has shape"),
        (dict(spaces=["W+", "F4"] + [f"F{i}" for i in range(10_000)]), "settings of more than"),
        (dict(spaces=["W+", "F4", "F6"]), "heads.F6.*is missing"),
        (dict(spaces=["W+"]), "heads.F4.*is left over"),
        (dict(backbone="resnet9"), "resnet9"),
        (dict(width="a"), "does not fit"),
        ("text", "does not fit"),
        (None, "does not fit"),
    ],
)  # fmt: skip
def test_settings_that_lie_are_refused_before_anything_is_built(config, words, tmp_path):
    path = small_predictor().save(tmp_path / "a.safetensors")
    with_header(path, config={**small_predictor().config, **config} if type(config) is dict else config)
    with pytest.raises(ValueError, match=words) as caught:
        load_predictor(path)
    assert "\n" not in str(caught.value) and path.name in str(caught.value)


def test_a_segmenter_s_file_is_checked_alike(tmp_path):
    path = SceneSegmenter(["a", "b"], channels=(8, 8)).save(tmp_path / "a.safetensors")
    with_header(path, config=dict(classes=["a", "b"], channels=[8, 1 << 20]))
    with pytest.raises(ValueError, match="has shape"):
        SceneSegmenter.load(path)
    save_file({"a": torch.ones(1)}, tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="no named class"):
        SceneSegmenter.load(tmp_path / "b.safetensors")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux to measure memory")
def test_memory_stays_within_the_file(hostile, tmp_path):
    """Refusing takes less than 100 MB, loading at most 2.5 times the file."""
    standin.write_predictor(InvertibilityPredictor(("W+",), "resnet34", 64), tmp_path / "predictor")  # 90 MB
    standin.write_encoder(Encoder("e4e", codes=6, widths=(64, 128, 256, 256)), tmp_path / "encoder")
    path = small_predictor().save(tmp_path / "wide.safetensors")
    with_header(path, config={**small_predictor().config, "width": 20_000})  # 20 GB
    path.rename(hostile[0] / path.name)
    script = """
        import sys
        from pathlib import Path
        from samlib.invertibility import load_predictor
        from samlib.irse import load_encoder

        def status(field):
            return 1024 * int(Path("/proc/self/status").read_text().split(field + ":")[1].split()[0])

        def peak(load, path):
            Path("/proc/self/clear_refs").write_text("5")  # forget the highest mark so far
            before = status("VmRSS")
            try:
                load(path)
            except ValueError:
                pass
            return status("VmHWM") - before

        hostile, good = Path(sys.argv[1]), Path(sys.argv[2])
        for load in (load_predictor, load_encoder):
            name = load.__name__.removeprefix("load_")
            load(good / name)  # what the libraries take once
            for path in sorted(hostile.iterdir()):
                taken = peak(load, path)
                assert taken < 100 << 20, f"{name} {path.name}: {taken >> 20} MB"
            taken, size = peak(load, good / name), (good / name).stat().st_size
            assert taken < 2.5 * size, f"{name}: {taken / size:.2f} times the file"
    """
    command = [sys.executable, "-c", textwrap.dedent(script), hostile[0], tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr


def nested(calls: bytes) -> bytes:
    """A pickle that gives a call a tuple in a tuple ..., 60 deep and each twice: it has 2^60 leaves, and 300 bytes."""
    return b"\x80\x04" + calls.replace(b"?", b"K\0" + b"q\0h\0\x86" * 60) + b"."


def test_what_is_nested_for_ever_is_refused_at_once(tmp_path):
    named = b"}" + hostile_files.text("state") + b"}s" + hostile_files.text("class_name") + b"?s"
    code = b"cnumpy\ndtype\n(" + hostile_files.text("f4") + b"tR"
    (tmp_path / "class.pkl").write_bytes(nested(b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n(" + named + b"tR"))
    (tmp_path / "order.pkl").write_bytes(nested(b"cnumpy.core.numeric\n_frombuffer\n(C\4abcd" + code + b"K\1\x85?tR"))
    script = """
        import sys
        from samlib.torch_files import CheckpointError, read
        for path in sys.argv[1:]:
            try:
                read(path)
            except CheckpointError as error:
                print(str(error).split(": ")[1])
    """
    command = [sys.executable, "-c", textwrap.dedent(script), tmp_path / "class.pkl", tmp_path / "order.pkl"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], timeout=60)
    assert done.stdout.splitlines() == ["a network whose class is named by (a tuple); want text",
                                        "an array in the order (a tuple); want 'C' or 'F'"], done.stderr
