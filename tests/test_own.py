"""A domain of one's own, from a folder of a few photographs to an edit; and that it goes on after any interruption."""

import json
import shutil
from dataclasses import replace

import pytest
import skimage.data
import torch
from PIL import Image
from tiny import tiny_generator

import samlib
from samlib import save_generator, segmenters
from samlib.__main__ import main
from samlib.biggan import BigGAN
from samlib.training import gan, own
from samlib.training.folder import read_folder, split
from samlib.training.threshold import tau_that_wins

FILES = {"generator.safetensors", "predictor.safetensors", "directions.safetensors", "domain.json"}
PREDICTOR = {"steps": 2, "batch": 2, "width": 8, "decoder": 8, "low_reduced": 8}
SMALL = dict(steps=4, shard=2, predictor=PREDICTOR, device="cpu", progress=False)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Six photographs of several sizes, modes and formats; one of them in a folder of its own, and a copy of one."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    cat, face = (Image.fromarray(getattr(skimage.data, name)()) for name in ("chelsea", "astronaut"))
    cat.resize((90, 60)).save(folder / "cat.jpg")
    cat.resize((90, 60)).transpose(Image.Transpose.ROTATE_90).save(folder / "upright.webp", lossless=True)
    face.resize((40, 40)).save(folder / "small.png")
    face.convert("L").resize((70, 64)).save(folder / "grey.png")
    face.convert("P").resize((64, 64)).save(folder / "more" / "palette.gif")
    cat.convert("RGBA").resize((64, 80)).save(folder / "alpha.png")
    shutil.copy(folder / "grey.png", folder / "copy.png")
    return folder


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    path = tmp_path_factory.mktemp("generator") / "generator.safetensors"
    save_generator(tiny_generator(), path, half=False)
    return path


@pytest.fixture(scope="module")
def made(photos, generator, tmp_path_factory):
    return own.train(tmp_path_factory.mktemp("own") / "domain", photos, generator, "quick", **SMALL)


def times(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_read_once_each_whatever_the_files_are_called(photos, tmp_path):
    images = read_folder(photos, 32, progress=False)
    assert images.shape == (6, 3, 32, 32) and images.dtype == torch.uint8  # the copy is the seventh file
    renamed = tmp_path / "renamed"
    shutil.copytree(photos, renamed)
    (renamed / "cat.jpg").rename(renamed / "zebra.jpg")
    assert torch.equal(read_folder(renamed, 32, progress=False), images)


def test_no_held_out_image_is_trained_on():
    images = torch.arange(10).view(10, 1)
    train, held_out = split(images)
    assert held_out.flatten().tolist() == [0, 1] and torch.equal(torch.cat([held_out, train]), images)
    assert [len(part) for part in split(images[:2])] == [1, 1] and len(split(images.repeat(50, 1), most=7)[1]) == 7


def test_a_domain_is_made_that_loads_inverts_and_edits(made, photos, capsys):
    assert FILES <= {path.name for path in made.iterdir()}
    assert len(list(made.glob("inversions/train/*"))) == 3 and len(list(made.glob("inversions/held-out/*"))) == 1
    domain = samlib.load(made, "cpu")
    assert [space.name for space in domain.spaces] == ["W+", "F4", "F6"] and domain.predictor.spaces == ("W+", "F4", "F6")
    assert list(domain.directions) == ["pca1", "pca2", "pca3", "pca4"] and domain.steps == 4
    assert isinstance(domain.segmenter.segmenter.segmenter, segmenters.Unsupervised)
    x = samlib.read_image(photos / "cat.jpg", 64)
    inversion = domain.invert(x, steps=40, progress=False)
    assert domain.metric(inversion.images, x) < 0.8 * domain.metric(x.mean((2, 3), keepdim=True).expand_as(x).contiguous(), x)
    assert (domain.edit(inversion, {"pca1": 3.0}) - inversion.images).abs().max() > 0.01


def test_training_and_held_out_inversions_share_no_image(made):
    train, held_out = ({digest for file in made.glob(f"inversions/{side}/*") for digest in images_in(file)}
                       for side in ("train", "held-out"))
    assert len(train) == 5 and len(held_out) == 1 and not train & held_out


def images_in(file):
    from safetensors.torch import load_file

    return [image.numpy().tobytes() for image in load_file(file)["images"]]


@pytest.mark.parametrize("lost", ["generator.safetensors", "predictor.safetensors", "directions.safetensors", "domain.json",
                                  "inversions/train/shard-00001.safetensors"])
def test_what_is_lost_is_made_again_and_nothing_else(made, photos, generator, tmp_path, lost):
    folder = shutil.copytree(made, tmp_path / "domain")
    before = times(folder)
    (folder / lost).unlink()
    own.train(folder, photos, generator, "quick", **SMALL)
    after = times(folder)
    assert set(after) == set(before)
    assert [str(path) for path in after if after[path] != before[path]] == [lost]


def test_a_second_call_makes_nothing(made, photos, generator, capsys):
    before = times(made)
    own.train(made, photos, generator, "quick", **SMALL)
    assert times(made) == before and capsys.readouterr().out.count("was there") == len(own.STAGES)


def test_a_file_made_from_something_else_is_refused_by_name(made, photos, generator, tmp_path, monkeypatch):
    monkeypatch.setitem(segmenters.NAMES, "deeplab", segmenters.NAMES["unsupervised"])  # which would be fetched

    def refused(words, *files, folder=photos, **changes):
        with pytest.raises(ValueError, match=words) as error:
            own.train(made, folder, *files, profile="quick", **{**SMALL, **changes})
        assert "\n" not in str(error.value)

    before = times(made)
    refused('shard-00000.*made with steps "4", this run has "5".*delete', generator, steps=5)
    refused("predictor.safetensors: made with settings", generator, predictor={**PREDICTOR, "steps": 4})
    refused("directions.safetensors: made with count 4, this run has 3", generator, directions=3)
    refused("domain.json: made with segmenter unsupervised, this run has deeplab", generator, segmenter="deeplab")
    refused("generator.safetensors: made with source the file .*, this run has images")
    fewer = shutil.copytree(photos, tmp_path / "fewer")
    (fewer / "cat.jpg").unlink()
    refused("shard-0000.*images", generator, folder=fewer)
    assert times(made) == before


def test_a_file_that_is_not_whole_is_named(made, photos, generator, tmp_path):
    folder = shutil.copytree(made, tmp_path / "domain")
    (folder / "predictor.safetensors").write_bytes(b"\0" * 50)
    with pytest.raises(ValueError, match="predictor.safetensors: not whole"):
        own.train(folder, photos, generator, "quick", **SMALL)


def test_a_generator_is_trained_from_the_training_images_where_none_is_given(photos, tmp_path, monkeypatch):
    seen, settings = [], gan.Settings(resolution=64, channel_base=64, channel_max=8, w_dim=8, mapping_layers=2, images=12, batch=2,
                                      judges="stylegan2", noise="none")
    real = gan.train

    def stopped(images, folder, settings, **options):
        """Ctrl-C after half of the images: gan.train saves and stops."""
        seen.append(images)
        real(images, folder, replace(settings, images=6), **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(gan, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        own.train(tmp_path / "domain", photos, profile="quick", training=settings, **SMALL)
    assert not (tmp_path / "domain" / "generator.safetensors").exists()
    monkeypatch.setattr(gan, "train", real)
    own.train(tmp_path / "domain", photos, profile="quick", training=settings, **SMALL)
    assert torch.load(tmp_path / "domain" / "gan" / "checkpoint.pt", weights_only=True)["steps"] == 6  # 3 before, 3 after
    train, _ = split(read_folder(photos, 64, progress=False))
    assert torch.equal(seen[0], train)
    domain = samlib.load(tmp_path / "domain", "cpu")
    assert domain.generator.resolution == 64
    assert domain.invert(torch.zeros(1, 3, 64, 64), steps=1, progress=False).images.isfinite().all()


def test_tau_is_the_largest_that_wins_half():
    """Two segments of equal size. W+ errs by 1 in both; F4 by 0.2 in the first and 0.4 in the second: 0.7 to win."""
    measured = torch.tensor([[[[1.0, 1.0]], [[0.2, 0.4]]]])
    means = torch.tensor([[[[0.9, 0.5]], [[0.1, 0.1]]]])
    # With 0.9 and more all is W+. Below it the first segment is in F4, and the mean error 0.6: 0.4 of the 0.7 are won.
    assert tau_that_wins(means, measured) == pytest.approx(0.5)
    # To win all of it, both have to be in F4: below 0.5, and 0 is what is left.
    assert tau_that_wins(means, measured, share=1.0) == 0.0
    # Nothing to win by F4: W+ everywhere.
    assert tau_that_wins(means, measured.flip(1)) == pytest.approx(0.9)


def run(capsys, *arguments):
    """-> exit code, stdout, lines of stderr that are no progress bar"""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    return code, out, [line for line in err.splitlines() if line and "samlib" in line]


@pytest.fixture()
def quicker(monkeypatch):
    monkeypatch.setitem(own.PROFILES, "quick", replace(own.PROFILES["quick"], predictor=PREDICTOR))


def test_from_the_command_line(capsys, photos, generator, tmp_path, quicker):
    out = tmp_path / "mine"
    command = ("train", out, "--images", photos, "--generator", generator, "--profile", "quick", "--steps", 2, "--device", "cpu")
    code, text, errors = run(capsys, *command)
    assert code == 0 and errors == [] and "tau" in text and FILES <= {path.name for path in out.iterdir()}
    code, text, _ = run(capsys, *command)
    assert code == 0 and text.count("was there") == 5
    edit = "edit", photos / "cat.jpg", "--domain", out, "--direction", "pca1=2", "--out", tmp_path / "edited.png", "--device", "cpu"
    assert run(capsys, *edit)[0] == 0 and (tmp_path / "edited.png").is_file()


def test_unreadable_files_are_named_and_refused_or_skipped(capsys, photos, generator, tmp_path, quicker):
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "notes.txt").write_text("not a picture")
    (folder / "cut.jpg").write_bytes((folder / "cat.jpg").read_bytes()[:500])
    (folder / ".hidden").write_text("nobody asks for this")
    command = ("train", tmp_path / "out", "--images", folder, "--generator", generator, "--profile", "quick", "--steps", 1)
    code, out, errors = run(capsys, *command)
    assert (code, out) == (2, "") and len(errors) == 1 and not (tmp_path / "out").exists()
    assert "2 of 9 files" in errors[0] and "notes.txt" in errors[0] and "cut.jpg" in errors[0] and "hidden" not in errors[0]
    code, out, _ = run(capsys, *command, "--skip-unreadable")
    assert code == 0 and "skipped 2 of 9 files" in out and "notes.txt" in out


def biggan(folder):
    generator = BigGAN(8, z_dim=4, class_dim=2, classes=2, channels={4: 8, 8: 8}, attention=None)
    save_generator(generator, folder / "biggan.safetensors")
    return folder / "biggan.safetensors"


def bad_calls(photos, generator, folder):
    (folder / "empty").mkdir()
    (folder / "one").mkdir()
    shutil.copy(photos / "cat.jpg", folder / "one")
    (folder / "noise.pkl").write_bytes(b"\0" * 100)
    common = "--profile", "quick", "--device", "cpu"
    to = "train", folder / "out", *common
    yield "want", "train", "--images", photos, *common
    yield "either --images FOLDER or --category", *to
    yield "either --images FOLDER or --category", *to, "--images", photos, "--category", "cars"
    yield "no such folder", *to, "--images", folder / "nowhere"
    yield "not a folder", *to, "--images", generator
    yield "no files", *to, "--images", folder / "empty"
    yield "1 different image", *to, "--images", folder / "one"
    yield "lies in the folder", "train", photos / "out", *common, "--images", photos
    yield "noise.pkl", *to, "--images", photos, "--generator", folder / "noise.pkl"
    yield "missing.pkl", *to, "--images", photos, "--generator", folder / "missing.pkl"
    yield "no perceptual metric", *to, "--images", photos, "--metric", "eyes"
    yield "no segmenter", *to, "--images", photos, "--segmenter", "scissors"
    yield "power of two", *to, "--images", photos, "--size", "100"
    yield "want 64", *to, "--images", photos, "--size", "32"
    yield "--size and --shown", *to, "--images", photos, "--generator", generator, "--size", "64"
    yield "above 0", *to, "--images", photos, "--steps", "0"
    yield "no device", "train", folder / "out", "--images", photos, "--device", "abacus"
    yield "no device", "train", folder / "out", "--category", "cars", "--device", "abacus"
    yield "no category", *to, "--category", "boats"
    yield "is a file", "train", folder / "noise.pkl", *common, "--images", photos
    yield "two places", *to, "--images", photos, "--out", folder / "other"
    yield "--size goes with --images", *to, "--category", "cars", "--size", "64"
    yield "generator of classes", *to, "--images", photos, "--generator", biggan(folder)
    (folder / "loop").symlink_to(folder / "loop")
    yield "no such folder", *to, "--images", folder / "loop"
    yield "--stages are those of a --category", *to, "--images", photos, "--stages", "gan"


def test_bad_calls_get_one_line_and_exit_code_2_and_leave_nothing(capsys, photos, generator, tmp_path):
    calls = list(bad_calls(photos, generator, tmp_path))
    for words, *arguments in calls:
        code, out, errors = run(capsys, *arguments)
        assert (code, out) == (2, "") and len(errors) == 1 and words in errors[0], (arguments, errors)
    assert not (tmp_path / "out").exists() and not (photos / "out").exists()


def test_ctrl_c_keeps_what_is_done_and_says_so(capsys, photos, generator, tmp_path, monkeypatch, quicker):
    def stop(*args, **options):
        raise KeyboardInterrupt

    command = ("train", tmp_path / "out", "--images", photos, "--generator", generator, "--profile", "quick", "--steps", 1)
    train_predictor = own.train_predictor
    monkeypatch.setattr(own, "train_predictor", stop)
    code, _, errors = run(capsys, *command)
    assert code == 130 and len(errors) == 1 and "goes on from there" in errors[0]
    kept = times(tmp_path / "out")
    assert len(kept) == 3  # the generator, and a file of inversions on either side
    monkeypatch.setattr(own, "train_predictor", train_predictor)
    assert run(capsys, *command)[0] == 0 and kept.items() <= times(tmp_path / "out").items()


def test_a_built_in_category_is_forwarded(capsys, tmp_path, monkeypatch):
    from samlib.training import category

    calls = []
    monkeypatch.setattr(category, "train", lambda *arguments: calls.append(arguments))
    command = ("train", "--category", "cars", "--out", tmp_path, "--stages", "gan", "factors", "--profile", "quick")
    code, text, _ = run(capsys, *command)
    assert code == 0 and text == f"written to {tmp_path}\n"  # which no other command takes yet
    assert calls == [("cars", tmp_path, ["gan", "factors"], "quick", None)]
    (tmp_path / "domain.json").touch()
    assert f"samlib invert PHOTO --domain {tmp_path}" in run(capsys, *command)[1]


def test_a_domain_names_its_segmenter(made, tmp_path):
    folder = shutil.copytree(made, tmp_path / "domain")
    settings = json.loads((folder / "domain.json").read_text())
    (folder / "domain.json").write_text(json.dumps({**settings, "segmenter": "scissors"}))
    with pytest.raises(ValueError, match="no segmenter 'scissors'; there are unsupervised, deeplab, ade20k"):
        samlib.load(folder, "cpu")


def test_a_missing_part_names_the_command_that_makes_it(made, tmp_path):
    folder = shutil.copytree(made, tmp_path / "domain")
    (folder / "predictor.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"samlib train .*domain --images FOLDER"):
        samlib.load(folder, "cpu").invert(torch.zeros(1, 3, 64, 64))
