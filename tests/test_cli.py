import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from PIL import Image
from tiny_biggan import tiny_biggan

import samlib
from samlib import baselines, notebooks, paths, save_generator
from samlib.__main__ import main
from samlib.images import read_image
from samlib.inversion import Inversion

PICTURES = {"input.png", "inversion.png", "layer_map.png", "segments.png", "error_maps.png"}


def run(capsys, *arguments):
    """-> exit code, stdout, lines of stderr that are no progress bar"""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    return code, out, [line for line in err.splitlines() if line and "inverting" not in line]


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_invert_writes_every_picture_and_the_inversion(capsys, tiny_folder, photo, tmp_path):
    out = tmp_path / "new" / "out"
    code, text, errors = run(capsys, "invert", photo, "--domain", tiny_folder, "--out", out, "--steps", 3)
    assert code == 0 and errors == [] and "PSNR" in text and str(out) in text
    assert names(out) == PICTURES | {"inversion.safetensors"} and names(out.parent) == {"out"}
    inversion = Inversion.load(out / "inversion.safetensors")
    assert all(history.shape == (3, 1) for history in inversion.losses.values())
    assert torch.allclose(read_image(out / "inversion.png"), inversion.images, atol=0.01)


def test_invert_replaces_the_results_of_before_and_keeps_what_else_is_there(capsys, tiny_folder, photo, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    for method in ("w+", "F4"):
        assert run(capsys, "invert", photo, "--domain", tiny_folder, "--out", out, "--method", method, "--steps", 1)[0] == 0
    assert Inversion.load(out / "inversion.safetensors").method == "F4" and (out / "notes.txt").read_text() == "mine"


def test_an_inversion_and_its_photo_edit_alike(capsys, tiny_folder, photo, tmp_path):
    common = "--domain", tiny_folder, "--steps", 2
    run(capsys, "invert", photo, *common, "--out", tmp_path / "out")
    edits = "--direction", "size=2", "colour=-1.5", "--direction", "trees=0"
    code, text, _ = run(capsys, "edit", tmp_path / "out" / "inversion.safetensors", *edits, "--out", tmp_path / "a.png")
    assert code == 0 and "size reaches" in text
    assert run(capsys, "edit", photo, *edits, *common, "--out", tmp_path / "b")[0] == 0
    assert names(tmp_path / "b") == PICTURES | {"inversion.safetensors", "edited.png"}
    assert torch.equal(read_image(tmp_path / "a.png"), read_image(tmp_path / "b" / "edited.png"))
    assert not torch.equal(read_image(tmp_path / "a.png"), read_image(tmp_path / "b" / "inversion.png"))


@pytest.fixture()
def classes_folder(tmp_path):
    """A domain whose generator is a BigGAN, with the classes of tiny_biggan and no directions."""
    folder = tmp_path / "data" / "classes"
    folder.mkdir(parents=True)
    save_generator(tiny_biggan(), folder / "generator.safetensors")
    (folder / "domain.json").write_text('{"metric": "st-lpips-alex"}')
    return folder


def test_a_class_is_a_direction_of_the_command_line(capsys, classes_folder, tmp_path):
    domain = samlib.load(classes_folder, "cpu")
    code = domain.generator.mapping(torch.randn(1, 6), classes=["van"])
    images = domain.generator.synthesis(code)
    inversion = Inversion(code, images, layer_map=torch.zeros(1, 32, 32, dtype=torch.long), inputs=images)
    inversion.save(tmp_path / "van.safetensors")
    common = "edit", tmp_path / "van.safetensors", "--domain", classes_folder, "--out", tmp_path / "a.png", "--device", "cpu"
    code, text, errors = run(capsys, *common, "--direction", "truck=1")
    assert (code, errors) == (0, []) and "reaches" not in text
    assert torch.allclose(read_image(tmp_path / "a.png"), domain.edit(inversion, {"truck": 1}).clamp(-1, 1), atol=0.01)
    code, _, errors = run(capsys, *common, "--direction", "tank=1")
    assert code == 2 and "no direction tank in" in errors[0] and "it has sedan, van, truck" in errors[0]


def test_domains_lists_classes(capsys, classes_folder, monkeypatch):
    monkeypatch.setattr("samlib.paths.DATA", classes_folder.parent)
    assert "classes, directions too (0 to 1): sedan, van, truck" in run(capsys, "domains")[1]


def test_pti_that_is_stopped_while_it_tunes_is_called_early(capsys, tiny_folder, photo, tmp_path, monkeypatch):
    """9 steps of the pivot and 7 of the tuning."""
    common = "invert", photo, "--domain", tiny_folder, "--method", "pti", "--steps", 9, "--out", tmp_path / "out", "--device", "cpu"
    assert "early result" not in run(capsys, *common)[1]
    calls, real = [], baselines.Locality.loss

    def loss(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(baselines.Locality, "loss", loss)
    assert "stopped after 12 of 16 steps; this is the early result" in run(capsys, *common)[1]


def test_the_whole_of_a_wide_photo_is_kept_on_request(capsys, tiny_folder, photo, tmp_path):
    run(capsys, "invert", photo, "--domain", tiny_folder, "--out", tmp_path / "out", "--fit", "whole", "--steps", 1)
    whole = read_image(photo, 64, "whole")
    top, height = (64 - whole.shape[-2]) // 2, whole.shape[-2]
    assert torch.allclose(read_image(tmp_path / "out" / "input.png")[..., top:top + height, :], whole, atol=0.01)


def test_a_photo_that_needs_late_spaces_is_called_very_hard(capsys, tiny_folder, photo, tmp_path):
    common = "invert", photo, "--domain", tiny_folder, "--out", tmp_path / "out", "--steps", 1
    assert "a very hard image: 100% of it needs F6, where only limited things" in run(capsys, *common, "--tau", -1)[1]
    assert "hard" not in run(capsys, *common, "--tau", 9)[1]


def bad_calls(folder, tiny, photo):
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("not a picture")
    (folder / "cut.jpg").write_bytes(photo.read_bytes()[:1500])
    (folder / "noise.safetensors").write_bytes(b"\0" * 100)
    (folder / "taken").write_text("a file")
    (folder / "astray").symlink_to(folder / "gone")
    Image.new("1", (11_000, 11_000)).save(folder / "enormous.png")
    to = "--domain", tiny, "--out", folder / "out"
    yield "no such file", "invert", folder / "missing.png", *to
    yield "empty", "invert", folder / "empty.png", *to
    yield "not an image", "invert", folder / "text.png", *to
    yield "cut short", "invert", folder / "cut.jpg", *to
    yield "a folder", "invert", folder, *to
    yield "megapixels", "invert", folder / "enormous.png", *to
    yield "no domain", "invert", photo, "--domain", folder / "nowhere", "--out", folder / "out"
    yield "no method", "invert", photo, *to, "--method", "magic"
    yield "no device", "invert", photo, *to, "--device", "abacus"
    yield "is a file", "invert", photo, "--domain", tiny, "--out", folder / "taken"
    yield "is a file", "invert", photo, "--domain", tiny, "--out", folder / "astray"
    yield "above 0", "invert", photo, *to, "--steps", "0"
    yield "required", "invert", photo, "--domain", tiny
    yield "no direction doors", "edit", photo, *to, "--direction", "doors=1"
    yield "NAME=STRENGTH", "edit", photo, *to, "--direction", "size"
    yield "NAME=STRENGTH", "edit", photo, *to, "--direction", "size=nan"
    yield "no such file", "edit", folder / "missing.safetensors", *to, "--direction", "size=1"
    yield "not an inversion", "edit", folder / "noise.safetensors", *to, "--direction", "size=1"
    yield "picture ends in", "edit", photo, "--domain", tiny, "--out", folder / "a.xyz", "--direction", "size=1"
    yield "size: given more than once", "edit", photo, *to, "--direction", "size=1", "trees=1", "--direction", "size=2"
    yield "is too large; want at most 1,000,000,000", "invert", photo, *to, "--steps", "9" * 5000
    yield "is no seed", "invert", photo, *to, "--seed", "-1"
    yield "is no seed", "invert", photo, *to, "--seed", 1 << 63
    yield "computes nothing", "invert", photo, *to, "--device", "meta"


def test_bad_input_gets_one_line_and_exit_code_2_and_leaves_nothing(capsys, tiny_folder, photo, tmp_path):
    folder = tmp_path / "bad"
    folder.mkdir()
    calls = list(bad_calls(folder, tiny_folder, photo))
    before = names(folder)
    for words, *arguments in calls:
        code, out, errors = run(capsys, *arguments)
        assert (code, out) == (2, ""), arguments
        assert len(errors) == 1 and words in errors[0] and "Traceback" not in errors[0], errors
        assert names(folder) == before, arguments


def test_ctrl_c_before_anything_is_reached_leaves_nothing(capsys, tiny_folder, photo, tmp_path, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("samlib.photo_command.read_image", stop)
    code, _, errors = run(capsys, "invert", photo, "--domain", tiny_folder, "--out", tmp_path / "a" / "out")
    assert code == 130 and len(errors) == 1 and not (tmp_path / "a").exists()


def test_ctrl_c_while_optimizing_writes_the_early_result(tiny_folder, photo, tmp_path):
    command = [sys.executable, "-m", "samlib", "invert", photo, "--domain", tiny_folder, "--out", tmp_path / "out",
               "--steps", "1000000", "--device", "cpu"]
    # SIG_DFL: a shell starts what runs in its background with SIGINT ignored, and that would be inherited
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                          env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        seen = ""
        while not re.search("[1-9]/1000000", seen) and process.poll() is None:  # until the bar has moved
            seen += process.stderr.read(1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, seen + err
    assert "of 1000000 steps; this is the early result" in out
    assert 0 < len(Inversion.load(tmp_path / "out" / "inversion.safetensors").losses["l2"]) < 1000000
    assert names(tmp_path) == {"out", photo.name}


def test_domains_lists_what_there_is(capsys, tiny_folder, monkeypatch):
    monkeypatch.setattr("samlib.paths.DATA", tiny_folder.parent)
    code, out, _ = run(capsys, "domains")
    assert code == 0
    assert "tiny: 64 px, spaces W+ F4 F6, tau 0.2" in out and "size (-1 to 2)" in out and "gaussian" in out


def test_help_shows_every_command(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0 and all(command in out for command in ("invert", "edit", "domains", "demo"))


@pytest.mark.parametrize("arguments", [[], ["fly"], ["invert", "photo.png", "--out", ""], ["convert", "", "out.safetensors"]])
def test_a_call_that_says_nothing_gets_one_line(capsys, arguments):
    code, _, errors = run(capsys, *arguments)
    assert code == 2 and len(errors) == 1


@pytest.fixture()
def inverted(tiny, tiny_folder, tmp_path):
    """The file of an inversion of the tiny domain."""
    file = tmp_path / "made" / "inversion.safetensors"
    tiny.invert(torch.zeros(1, 3, 64, 64), "w", steps=1, progress=False).save(file)
    return file


def test_an_inversion_takes_no_options_of_one(capsys, inverted, tiny_folder, tmp_path):
    common = "edit", inverted, "--direction", "size=1", "--out", tmp_path / "a.png"
    for option, value in (("--tau", 1), ("--steps", 3), ("--method", "sam"), ("--fit", "crop"), ("--seed", 0)):
        code, _, errors = run(capsys, *common, option, value)
        assert code == 2 and f"{option}: {inverted} has been inverted already" in errors[0] and len(errors) == 1
    assert not (tmp_path / "a.png").exists()
    assert run(capsys, *common, "--domain", tiny_folder, "--device", "cpu")[0] == 0


def test_an_inversion_is_edited_in_its_own_domain(capsys, inverted, tiny_folder, tmp_path):
    other = shutil.copytree(tiny_folder, tmp_path / "other" / tiny_folder.name)
    common = "edit", inverted, "--direction", "size=1", "--out", tmp_path / "a.png", "--domain"
    code, _, errors = run(capsys, *common, other)
    assert code == 2 and len(errors) == 1 and f"is of {tiny_folder}" in errors[0] and not (tmp_path / "a.png").exists()
    (tmp_path / "link").symlink_to(tiny_folder)
    assert run(capsys, *common, tmp_path / "link")[0] == 0  # the same by another path
    moved = replace(Inversion.load(inverted), domain="gone/tiny")
    moved.save(inverted)
    assert run(capsys, *common, other)[0] == 0  # its folder is elsewhere by now


def test_a_picture_that_cannot_be_written_is_named_before_the_work(capsys, tiny_folder, photo, tmp_path, monkeypatch):
    monkeypatch.setattr("samlib.photo_command.read_image", lambda *arguments: pytest.fail("the work had begun"))
    (tmp_path / "file").touch()
    (tmp_path / "a.png").mkdir()
    common = "edit", photo, "--domain", tiny_folder, "--direction", "size=1", "--out"
    for out, words in ((tmp_path / "file" / "b" / "a.png", "file is a file; want a folder"), (tmp_path / "a.png", "is a folder; want")):
        code, _, errors = run(capsys, *common, out)
        assert code == 2 and len(errors) == 1 and errors[0].startswith(f"samlib: --out {out}: ") and words in errors[0]
    monkeypatch.setattr(os, "access", lambda *arguments: False)
    code, _, errors = run(capsys, *common, tmp_path / "b.png")
    assert code == 2 and "no permission to write" in errors[0]


def test_a_picture_that_could_not_be_written_after_all_is_named_as_out(capsys, inverted, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("samlib.photo_command.write_image", full)
    code, _, errors = run(capsys, "edit", inverted, "--direction", "size=1", "--out", tmp_path / "a.png")
    assert code == 2 and len(errors) == 1 and errors[0].startswith(f"samlib: --out {tmp_path / 'a.png'}: No space left on device; want")


def test_what_a_command_left_before_and_does_not_make_now_is_gone(capsys, tiny_folder, photo, tmp_path):
    out, common = tmp_path / "out", ("--domain", tiny_folder, "--steps", 1)
    out.mkdir()
    (out / "notes.png").write_text("mine")
    assert run(capsys, "edit", photo, *common, "--direction", "size=1", "--out", out)[0] == 0
    assert names(out) == PICTURES | {"inversion.safetensors", "edited.png", "notes.png"}
    source = out / "edited.png"  # the file that is read stays, whatever it is called
    assert run(capsys, "invert", source, *common, "--method", "w", "--out", out)[0] == 0
    alone = {"input.png", "inversion.png", "layer_map.png", "inversion.safetensors", "notes.png"}
    assert names(out) == alone | {"edited.png"}
    assert run(capsys, "invert", photo, *common, "--method", "w", "--out", out)[0] == 0 and names(out) == alone


def test_a_folder_that_is_there_gets_its_temporary_one_inside(tmp_path):
    """So it may be the mount point of another disk, and one that is not ours to write to is found out at once."""
    out = tmp_path / "out"
    out.mkdir()
    with paths.atomic_folder(out) as folder:
        assert folder.parent == out and folder.name.startswith(".") and names(tmp_path) == {"out"}
        (folder / "a").touch()
    assert names(out) == {"a"}
    with pytest.raises(KeyboardInterrupt), paths.atomic_folder(out) as folder:
        raise KeyboardInterrupt
    assert names(out) == {"a"}
    with paths.atomic_folder(tmp_path / "new") as folder:
        assert folder.parent == tmp_path


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    def denied(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", denied)
    with pytest.raises(PermissionError, match="out: cannot be written to .Permission denied.; want a folder"):
        with paths.atomic_folder(tmp_path / "new" / "out"):
            pass
    assert names(tmp_path) == set()


def test_two_writers_with_one_process_number_have_names_of_their_own(tmp_path):
    with paths.atomic_file(tmp_path / "a.png") as one, paths.atomic_file(tmp_path / "a.png") as other:
        assert one != other and one.suffix == other.suffix == ".png"
        one.touch(), other.touch()


def test_too_little_memory_is_one_line(capsys, tiny_folder, photo, tmp_path, monkeypatch):
    for error in (MemoryError(), torch.cuda.OutOfMemoryError("CUDA out of memory.\nTried to allocate 20 GiB")):
        def raise_it(*arguments, error=error):
            raise error

        monkeypatch.setattr("samlib.photo_command.read_image", raise_it)
        code, _, errors = run(capsys, "invert", photo, "--domain", tiny_folder, "--out", tmp_path / "out")
        assert code == 2 and len(errors) == 1 and "not enough memory" in errors[0] and "smaller" in errors[0]


def test_a_reader_that_has_gone_ends_it_without_a_word(capsys, tiny_folder, monkeypatch):
    """As `python -m samlib domains | head -1`."""
    monkeypatch.setattr("samlib.paths.DATA", tiny_folder.parent)
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(["domains"]) == 141
    monkeypatch.undo()
    assert capsys.readouterr().err == ""


def test_every_command_that_is_named_can_be_typed(capsys):
    """There is no program of the name samlib."""
    for command in ("invert", "edit", "direction"):
        code, out, _ = run(capsys, command, "--help")
        assert code == 0 and "samlib" in out and not re.search(r"(?<!python -m )samlib (?:domains|direction|invert|edit)", out)


def test_the_paths_of_demo_are_those_of_the_caller(capsys, photo, tiny_folder, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(notebooks, "run", lambda notebook, folder, parameters: seen.update(parameters, folder=folder) or folder / "x")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_folder, tmp_path / "own")
    assert run(capsys, "demo", "-p", f"photo={photo.name}", "out=here", "domain=own", "steps=2")[0] == 0
    assert seen == {"photo": str(photo), "out": str(tmp_path / "here"), "domain": str(tmp_path / "own"), "steps": 2,
                    "folder": tmp_path / "here"}
    assert run(capsys, "demo", "-p", "domain=cars")[0] == 0 and seen["domain"] == "cars"
    for parameter, words in (("photo=none.png", "none.png: no such file"), ("domain=dogs", "no domain 'dogs'")):
        code, _, errors = run(capsys, "demo", "-p", parameter)
        assert code == 2 and len(errors) == 1 and words in errors[0]


@pytest.mark.parametrize("pair", [[2, -1], [1, 1], [0, 1e40], [-2, 2, 3], [-2, 2, 1, 1]])
def test_strengths_that_are_no_range_are_refused(pair, capsys, tiny_folder, photo, tmp_path):
    """A slider between them could not be made, and the least strength would be the greatest."""
    folder = shutil.copytree(tiny_folder, tmp_path / "own")
    (folder / "domain.json").write_text(json.dumps({"metric": "st-lpips-alex", "strengths": {"size": pair}}))
    code, _, errors = run(capsys, "invert", photo, "--domain", folder, "--out", tmp_path / "out")
    assert code == 2 and len(errors) == 1 and "want {direction: [low, high]}, low below high" in errors[0]


def test_ctrl_c_while_the_demonstration_runs_says_where_it_got_to(capsys, tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(notebooks, "run", stop)
    code, _, errors = run(capsys, "demo", "-p", f"out={tmp_path}")
    assert code == 130 and errors == [f"samlib: stopped; what was made so far is in {tmp_path}"]
