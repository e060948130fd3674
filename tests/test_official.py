"""The official domains, from small files in the official layouts on a server on this machine."""

import os
import re
import sys

import numpy as np
import pytest
import torch
from local_server import serve
from tiny_biggan import package_state

import samlib
from samlib import download, official, paths, standin
from samlib.__main__ import main
from samlib.biggan import BigGAN
from samlib.invertibility import InvertibilityPredictor
from samlib.irse import Encoder
from samlib.segmenters import Unsupervised
from samlib.stylegan2 import Generator

DIRECTIONS = ("rims", "suv")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """name -> content of the files of a small lsun-cars: 64 px, spaces W+, F4, F6, images of 64 x 48 px."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("files")
    generator = Generator(64, z_dim=16, w_dim=16, channels={4: 16, 8: 16, 16: 8, 32: 8, 64: 8}, mapping_layers=2)
    predictor = InvertibilityPredictor(generator.spaces, width=8, decoder=8, low_reduced=8).eval()
    encoder = Encoder("e4e", codes=10, widths=(16, 16, 16, 16)).eval()
    encoder.latent_avg = generator.w_avg.normal_().repeat(10, 1)
    directions = {name: torch.randn(10, 16) for name in DIRECTIONS}
    standin.make(folder, "lsun-cars", generator, predictor, encoder, directions)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture()
def server(files, monkeypatch, tmp_path):
    """Serves them in the place of the official addresses, into a folder of this test's own."""
    with serve(**files) as one:
        for name, facts in official.OFFICIAL.items():
            local = {part: facts[part] and one.url(download.name_of(facts[part])) for part in official.PARTS}
            edits = {"edits": one.url("csc_{}.npy"), "directions": DIRECTIONS if name == "lsun-cars" else ()}
            small = {"size": 64, "metric": "st-lpips-alex", "segmenter": "unsupervised"}
            monkeypatch.setitem(official.OFFICIAL, name, {**facts, **local, **edits, **small})
        one.files["/stylegan2-horse-config-f.pkl"] = files["stylegan2-car-config-f.pkl"]
        monkeypatch.setenv("SAMLIB_WEIGHTS", str(tmp_path / "weights"))
        yield one


def pixels(height=48, width=64):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_the_facts_are_the_published_ones():
    sizes = {"lsun-cars": 512, "lsun-horses": 256, "lsun-cats": 256, "ffhq": 1024}
    biggan = {f"imagenet-{size}": size for size in (128, 256, 512)}
    assert {name: facts["size"] for name, facts in official.OFFICIAL.items()} == sizes | biggan
    assert all(official.OFFICIAL[name]["classifier"] == "imagenet" and f"-{size}-" in official.OFFICIAL[name]["generator"]
               for name, size in biggan.items())  # fmt: skip
    for facts in official.OFFICIAL.values():
        assert facts["tau"] == 0.225 and facts["metric"] == "lpips-vgg"
        addresses = [facts[part] for part in official.PARTS if facts[part]]
        assert facts["generator"] and all(re.match(r"https://\S+\.(pkl|pt|bin)$", url) for url in addresses)
        assert len({download.name_of(url) for url in addresses}) == len(addresses)
        lowest, highest, step = facts["sweep"]
        assert lowest <= facts["tau"] <= highest and step == 0.025
    assert official.OFFICIAL["lsun-cars"]["aspect"] == (512, 384)
    assert official.OFFICIAL["lsun-horses"]["predictor"] is official.OFFICIAL["lsun-horses"]["encoder"] is None


def test_a_domain_is_downloaded_once_and_has_all_its_parts(server, tmp_path):
    cars = samlib.load("lsun-cars", "cpu")
    asked = [path.strip("/") for path, _ in server.asked]
    assert asked == ["stylegan2-car-config-f.pkl", "invertibility_cars_sg2.pt", "e4e_cars_encode.pt", "csc_rims.npy", "csc_suv.npy"]
    assert (cars.name, cars.generator.resolution, cars.tau, cars.metric.name) == ("lsun-cars", 64, 0.225, "st-lpips-alex")
    assert cars.predictor.spaces == ("W+", "F4", "F6") and list(cars.directions) == ["rims", "suv"]
    assert cars.has_encoder("e4e") and not cars.has_encoder("restyle-psp")
    samlib.load("lsun-cars", "cpu")
    assert len(server.asked) == 5
    assert (tmp_path / "weights" / "lsun-cars" / "digests.json").is_file()


def test_it_is_the_paper_s_method_on_a_letterboxed_photograph(server):
    cars = samlib.load("lsun-cars", "cpu")
    inversion = cars.invert(pixels(), steps=2, tau=0.0, progress=False)
    inside = (slice(None), slice(8, 56))
    assert torch.equal(inversion.inputs[..., 8:56, :], pixels())
    assert inversion.valid[..., 8:56, :].all() and inversion.valid.sum() == 48 * 64
    assert inversion.layer_map[inside].min() > 0 and not inversion.layer_map[:, :8].any() and not inversion.layer_map[:, 56:].any()
    moved = cars.edit(inversion, {"rims": 3.0}) - inversion.images
    assert moved.abs().max() > 0.01 and isinstance(cars.segmenter.segmenter.segmenter, Unsupervised)


def test_it_begins_where_the_encoder_says_which_sees_192_of_256_rows(server):
    cars = samlib.load("lsun-cars", "cpu")
    seen = []
    encoder = cars.encoders["e4e"].encoder
    encoder.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    found = cars.invert(pixels(), "w+", steps=1, progress=False)
    assert seen[0][0].shape == (1, 3, 192, 256)
    still = cars.invert(pixels(), "e4e", progress=False)
    assert torch.equal(still.w_plus, seen[1][1]) and torch.equal(seen[0][1], seen[1][1])
    assert 0 < (found.w_plus - still.w_plus).abs().max() < 0.1  # one step of 0.05 from there


def test_what_is_above_and_below_a_car_does_not_matter(server):
    """A square photograph is seen in its middle alone, as a letterboxed one is."""
    cars = samlib.load("lsun-cars", "cpu")
    square = torch.cat([torch.ones(1, 3, 8, 64), pixels(), -torch.ones(1, 3, 8, 64)], 2)
    a, b = (cars.invert(x, steps=3, tau=0.01, progress=False) for x in (pixels(), square))
    for name in ("w_plus", "layer_map", "error_maps", "segments"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    assert all(torch.equal(a.losses[name], b.losses[name]) for name in a.losses)


def test_the_predictor_sees_cars_at_256_px_wide(server, monkeypatch):
    cars = samlib.load("lsun-cars", "cpu")
    assert cars.view == 64  # no larger than the generator
    cars.view, shapes = 48, []
    cars.predictor.register_forward_pre_hook(lambda module, inputs: shapes.append(inputs[0].shape))
    found = cars.invert(pixels(), steps=1, progress=False)
    assert shapes == [(1, 3, 36, 48)] and found.error_maps.shape == (1, 3, 64, 64)


def test_offline_it_says_which_file_is_wanted_from_where_and_where_to_put_it(server, tmp_path, capsys):
    server.server_close()
    with pytest.raises(download.FetchError) as caught:
        samlib.load("lsun-cars", "cpu")
    message = str(caught.value)
    assert "stylegan2-car-config-f.pkl is wanted from http://127.0.0.1" in message
    assert f"put it into {tmp_path / 'weights' / 'lsun-cars'}" in message
    assert "then http" in message and "invertibility_cars_sg2.pt and http" in message and "e4e_cars_encode.pt as well" in message
    assert main(["invert", "x.png", "--domain", "lsun-cars", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and not (tmp_path / "out").exists()


def test_files_put_there_by_hand_need_no_server(server, files, tmp_path):
    folder = tmp_path / "weights" / "lsun-cars"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    server.server_close()
    assert samlib.load("lsun-cars", "cpu").predictor is not None


def test_directions_that_cannot_be_had_are_left_out_with_a_word(server, files, tmp_path):
    del server.files["/csc_suv.npy"]
    with pytest.warns(UserWarning, match="edit directions are left out: csc_suv.npy is wanted from"):
        cars = samlib.load("lsun-cars", "cpu")
    assert list(cars.directions) == ["rims"]


def test_a_file_that_differs_later_is_refused(server, tmp_path):
    samlib.load("lsun-cars", "cpu")
    path = tmp_path / "weights" / "lsun-cars" / "invertibility_cars_sg2.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="invertibility_cars_sg2.pt: not the file that was first seen"):
        samlib.load("lsun-cars", "cpu")


def test_a_download_that_breaks_off_is_gone_on_with(server, files):
    server.most = half = len(files["stylegan2-car-config-f.pkl"]) // 2
    with pytest.raises(download.FetchError, match="broken off"):
        samlib.load("lsun-horses", "cpu")
    assert official.status("lsun-horses")["generator"][2] == "in part"
    server.most = None
    assert samlib.load("lsun-horses", "cpu").generator.resolution == 64
    assert server.asked[-1] == ("/stylegan2-horse-config-f.pkl", f"bytes={half}-")


def test_horses_say_what_was_never_published_and_how_to_train_it(server, tmp_path):
    horses = samlib.load("lsun-horses", "cpu")
    with pytest.raises(FileNotFoundError) as caught:
        horses.invert(pixels(64), progress=False)
    message = str(caught.value)
    assert "no predictor is published for lsun-horses" in message and "\n" not in message
    assert "python -m samlib train OUT --images FOLDER --generator" in message and "stylegan2-horse-config-f.pkl" in message
    with pytest.raises(FileNotFoundError, match="no encoder is published for lsun-horses"):
        horses.invert(pixels(64), "e4e")
    assert horses.invert(pixels(64), "w+", steps=1, progress=False).images.shape == (1, 3, 64, 64)
    own = InvertibilityPredictor(horses.spaces, width=8, decoder=8, low_reduced=8)
    own.save(tmp_path / "weights" / "lsun-horses" / "predictor.safetensors")
    assert samlib.load("lsun-horses", "cpu").invert(pixels(64), steps=1, progress=False).error_maps.shape == (1, 3, 64, 64)


def test_the_segmenter_names_its_extra_and_none_takes_its_place(server, monkeypatch):
    monkeypatch.setitem(official.OFFICIAL["lsun-cars"], "segmenter", "ade20k")
    monkeypatch.setitem(sys.modules, "transformers", None)  # as if it were not installed
    cars = samlib.load("lsun-cars", "cpu")
    with pytest.raises((ImportError, ValueError), match=r"sam-inversion\[photos\]"):
        cars.invert(pixels(), steps=1, progress=False)


def test_a_stand_in_made_anew_takes_the_place_of_the_one_before(tmp_path):
    options = dict(segmenter="unsupervised", metric="st-lpips-alex")
    for width in (16, 8):  # of w, so that nothing of the first fits the second
        torch.manual_seed(0)
        made = Generator(64, z_dim=16, w_dim=width, channels={4: 8, 8: 8, 16: 8, 32: 8, 64: 8}, mapping_layers=2)
        names = ("rims", "suv") if width == 16 else ("rims",)
        facts = standin.make(tmp_path, "lsun-cars", made, directions={name: torch.ones(10, width) for name in names}, **options)
        loaded = official.load("lsun-cars", "cpu", facts=facts, folder=tmp_path, progress=False)
        assert loaded.generator.w_dim == width and tuple(loaded.directions) == names


def test_a_generator_or_predictor_of_another_kind_is_refused(server, files, tmp_path):
    monster = dict(official.OFFICIAL["lsun-cars"], size=128)
    with pytest.raises(ValueError, match="makes images of 64 px; lsun-cars wants 128"):
        official.load("lsun-cars", "cpu", facts=monster, folder=tmp_path, progress=False)
    other = InvertibilityPredictor(("W+", "F4"), width=8, decoder=8, low_reduced=8)
    standin.write_predictor(other, tmp_path / "p.pt")
    server.files["/invertibility_cars_sg2.pt"] = (tmp_path / "p.pt").read_bytes()
    with pytest.raises(ValueError, match=r"errors of W\+, F4; this generator has W\+, F4, F6"):
        samlib.load("lsun-cars", "cpu")


@pytest.mark.parametrize("shape", [(10, 16), (1, 10, 16), (160,)])
def test_a_direction_has_a_row_for_each_layer(shape, tmp_path, files):
    numbers = np.arange(160, dtype=np.float64).reshape(shape)
    np.save(tmp_path / "a.npy", numbers)
    generator = Generator(64, z_dim=16, w_dim=16, channels={4: 8, 8: 8, 16: 8, 32: 8, 64: 8})
    found = official.read_direction(tmp_path / "a.npy", generator)
    assert found.dtype == torch.float32 and found.tolist() == numbers.reshape(10, 16).tolist()


def test_other_npy_files_are_refused_in_one_line_and_run_nothing(tmp_path):
    generator = Generator(64, z_dim=16, w_dim=16, channels={4: 8, 8: 8, 16: 8, 32: 8, 64: 8})
    marker = tmp_path / "ran"

    class Call:
        def __reduce__(self):
            return os.system, (f"touch '{marker}'",)

    np.save(tmp_path / "objects.npy", np.array([Call()], dtype=object), allow_pickle=True)
    np.save(tmp_path / "rows.npy", np.zeros((9, 16)))
    np.save(tmp_path / "whole.npy", np.zeros((10, 16), int))
    np.save(tmp_path / "large.npy", np.zeros((10, 1600)))
    good = (tmp_path / "rows.npy").read_bytes()
    (tmp_path / "claims.npy").write_bytes(good.replace(b"(9, 16)", b"(9999999999, 1)"))
    (tmp_path / "cut.npy").write_bytes(good[:-100])
    (tmp_path / "text.npy").write_text("not found")
    (tmp_path / "empty.npy").touch()
    np.savez(tmp_path / "zip.npz", np.zeros((10, 16)))
    (tmp_path / "zip.npz").rename(tmp_path / "zip.npy")
    for path in sorted(tmp_path.glob("*.npy")):
        with pytest.raises(ValueError, match=rf"{path.name}: no edit direction .*want a .npy file") as caught:
            official.read_direction(path, generator)
        assert "\n" not in str(caught.value)
    assert not marker.exists()


def test_the_command_lists_them_and_asks_no_server(server, capsys, monkeypatch, tiny_folder):
    monkeypatch.setattr(paths, "DATA", tiny_folder.parent)
    assert main(["domains"]) == 0
    out = capsys.readouterr().out
    assert "lsun-cars: official, 512 x 384 px, tau 0.225; files in" in out and server.asked == []
    assert "generator not here, predictor not here, encoder not here, 0 of 2 published directions here" in out
    assert "predictor not published, encoder not published" in out
    samlib.load("lsun-cars", "cpu")
    assert main(["domains"]) == 0
    assert "generator here, predictor here, encoder here, 2 of 2 published directions here" in capsys.readouterr().out


def test_the_command_keeps_the_whole_of_a_car_s_photograph(server, photo, tmp_path, capsys):
    arguments = ["--domain", "lsun-cars", "--out", str(tmp_path / "out"), "--steps", "1", "--device", "cpu"]
    assert main(["invert", str(photo), *arguments]) == 0  # 90 x 60
    inversion = samlib.Inversion.load(tmp_path / "out" / "inversion.safetensors")
    assert inversion.valid[0, 0].any(1).sum() == 43 and inversion.valid[0, 0].any(0).all()  # 64 x 43, of at most 64 x 48
    assert "PSNR" in capsys.readouterr().out and (tmp_path / "out" / "segments.png").is_file()


def test_the_user_s_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("SAMLIB_WEIGHTS", str(tmp_path / "a"))
    assert paths.weights() == tmp_path / "a"
    monkeypatch.delenv("SAMLIB_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert paths.weights() == tmp_path / "samlib" / "weights"


def test_biggan_comes_from_its_package_s_address_and_asks_a_classifier(server, tmp_path, monkeypatch):
    made = BigGAN(64, z_dim=6, class_dim=4, channels={4: 16, 8: 16, 16: 8, 32: 8, 64: 8}, attention=None, n_stats=3)
    made.requires_grad_(False)
    torch.save(package_state(made), tmp_path / "file")
    server.files["/biggan-deep-128-pytorch_model.bin"] = (tmp_path / "file").read_bytes()
    domain = samlib.load("imagenet-128", "cpu")
    assert server.asked[-1][0] == "/biggan-deep-128-pytorch_model.bin"
    code = made.mapping(torch.randn(2, 6), classes=[3, 292])
    torch.testing.assert_close(domain.generator.eval().synthesis(code), made.eval().synthesis(code))
    assert domain.generator.names[3] == "tiger shark" and domain.generator.names[292] == "tiger"

    def offline(**options):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models.resnet50", offline)
    images = pixels(64, 64).expand(2, -1, -1, -1)
    with pytest.raises(ValueError, match="resnet50"):
        domain.invert(images, "z+", steps=1, progress=False)
    found = domain.invert(images, "F2", classes=["tiger", "tiger shark"], steps=2, progress=False)
    assert torch.equal(found.w_plus[:, 0, 6:], made.embed([292, 3]))
    assert domain.edit(found, {"tiger": 1.0}).shape == images.shape
    with pytest.raises(FileNotFoundError, match="no predictor is published for imagenet-128"):
        domain.invert(images, steps=1, progress=False)
