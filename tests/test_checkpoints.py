"""Checkpoints: every layout gives the same generator, and hostile files give one clear line and nothing else."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import hostile_files
import numpy as np
import official_files
import pytest
import torch
from reference import file as reference_file

from samlib import standin, torch_files
from samlib.checkpoints import CheckpointError, load_generator, load_tensors, save_generator, save_tensors
from samlib.stylegan2 import Generator

WRITERS = {
    "tensorflow": standin.write_generator,
    "nvidia": official_files.write_nvidia,
    "rosinality": official_files.write_rosinality,
    "rosinality-legacy": lambda g, p: official_files.write_rosinality(g, p, _use_new_zipfile_serialization=False),
    "safetensors": lambda g, p: save_generator(g, p, half=False),
}


def small_generator(**options):
    torch.manual_seed(0)
    generator = Generator(32, 24, 20, {4: 16, 8: 16, 16: 12, 32: 8}, mapping_layers=3, **options)
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith(("bias", "strength")):
                parameter.add_(torch.randn_like(parameter) * 0.3)
        generator.w_avg.normal_()
    return generator.requires_grad_(False)


def images(generator, seed=1):
    z = torch.randn(2, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    return generator.synthesis(generator.mapping(z, truncation=0.7), noise="const")


@pytest.mark.parametrize("name", ["tiny_r64_legacy_tf.pkl", "tiny_r64_ada.pkl"])
def test_official_pickles_give_the_reference_image(name):
    wanted = np.load(reference_file("tiny_r64_expected.npz"))
    generator = load_generator(reference_file(name))
    image = generator.synthesis(generator.mapping(torch.from_numpy(wanted["z"])), noise="const")[..., ::4, ::4]
    wanted = torch.from_numpy(wanted["image_noise_const[::4]"])
    assert (image - wanted).abs().max() <= 1e-4 * wanted.abs().max()


@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_gives_the_generator_that_was_written(layout, tmp_path):
    generator = small_generator()
    if layout == "rosinality":  # that code has one width for z and w
        generator = Generator(16, 20, 20, {4: 16, 8: 12, 16: 8}, mapping_layers=2).requires_grad_(False)
    WRITERS[layout](generator, tmp_path / "file")
    loaded = load_generator(tmp_path / "file")
    assert loaded.config == generator.config
    for name, tensor in generator.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=0, atol=1e-6)
    torch.testing.assert_close(images(loaded), images(generator), rtol=0, atol=1e-5)
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("writer", [standin.write_generator, official_files.write_nvidia])
def test_every_pickle_protocol_since_3_is_read(writer, protocol, tmp_path):
    generator = small_generator()
    writer(generator, tmp_path / "file.pkl", protocol=protocol)
    torch.testing.assert_close(images(load_generator(tmp_path / "file.pkl")), images(generator), rtol=0, atol=1e-5)


def test_sixteen_bits_halve_the_matrices_and_keep_vectors(tmp_path):
    generator = small_generator()
    save_generator(generator, tmp_path / "whole", half=False)
    save_generator(generator, tmp_path / "half")
    assert (tmp_path / "half").stat().st_size < 0.6 * (tmp_path / "whole").stat().st_size
    loaded = load_generator(tmp_path / "half")
    assert torch.equal(loaded.w_avg, generator.w_avg)
    assert all(tensor.dtype == torch.float32 for tensor in loaded.state_dict().values())
    assert (images(loaded) - images(generator)).abs().max() < 5e-3 * images(generator).abs().max()


def test_a_failed_save_leaves_the_old_file(tmp_path):
    save_tensors({"a": torch.ones(2, 2)}, tmp_path / "file")
    with pytest.raises(ValueError, match="65504"):
        save_tensors({"a": torch.full((2, 2), 1e6)}, tmp_path / "file")
    with pytest.raises(TypeError):
        save_tensors({"a": torch.ones(2)}, tmp_path / "file", {"what": object()})
    assert load_tensors(tmp_path / "file")[0]["a"].eq(1).all() and len(list(tmp_path.iterdir())) == 1


def test_a_disk_that_is_full_is_one_line_and_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource")  # there is none on Windows
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match="a.safetensors: cannot be written") as caught:
            save_tensors({"a": torch.ones(100_000)}, tmp_path / "a.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value) and not [*tmp_path.iterdir()]


def test_a_missing_mean_is_estimated(tmp_path):
    generator = Generator(8, 20, 20, {4: 8, 8: 8}, mapping_layers=2)
    official_files.write_rosinality(generator, tmp_path / "a.pt", mean=False)
    w = generator.mapping(torch.randn(20_000, 20))[:, 0]
    error = (load_generator(tmp_path / "a.pt").w_avg - w.mean(0)).abs() / w.std(0)
    assert error.max() < 5 * (1 / 4096 + 1 / 20_000) ** 0.5  # five standard errors of the two means


def test_the_generator_inside_an_encoder_checkpoint(tmp_path):
    generator = Generator(16, 20, 20, {4: 16, 8: 12, 16: 8}, mapping_layers=2).requires_grad_(False)
    state = {f"decoder.{name}": tensor for name, tensor in official_files.rosinality_state(generator).items()}
    state["encoder.weight"] = torch.ones(3)
    mean = generator.w_avg.normal_()
    torch.save({"state_dict": state, "latent_avg": mean.repeat(6, 1), "opts": {}}, tmp_path / "e4e.pt")
    torch.testing.assert_close(images(load_generator(tmp_path / "e4e.pt")), images(generator))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s.pop("convs.1.conv.weight"), "synthesis.b8.conv1.weight"),
        (lambda s: s.pop("noises.noise_2"), "synthesis.b8.conv1.noise_const is missing"),
        (lambda s: s.update({"to_rgbs.0.bias": torch.ones(1, 4, 1, 1)}), "synthesis.b8.torgb.bias has shape"),
        (lambda s: s.update({"to_rgbs.7.bias": torch.ones(1, 3, 1, 1)}), "b1024.torgb.bias' is left over"),
        (lambda s: s.update({"extra": torch.ones(1)}), "'extra'"),
        (lambda s: s.update({"convs.0.conv.blur.kernel": torch.ones(4, 4)}), "low-pass"),
        (lambda s: s.update({"style.1.weight": torch.ones(20, 20).long()}), "int64"),
    ],
)  # fmt: skip
def test_a_wrong_tensor_is_named(change, message, tmp_path):
    state = official_files.rosinality_state(Generator(16, 20, 20, {4: 16, 8: 12, 16: 8}, mapping_layers=2))
    change(state)
    torch.save({"g_ema": state}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=message):
        load_generator(tmp_path / "a.pt")


def test_the_published_rosinality_arithmetic_gives_the_same_image(tmp_path):
    """Their convolution per image with scaled weights, written out here, against the loaded generator."""
    generator = small_generator()
    official_files.write_rosinality(generator, tmp_path / "a.pt")
    state = official_files.rosinality_state(generator)
    w = generator.mapping(torch.randn(1, 24))[:, 0]
    torch.testing.assert_close(
        _rosinality_image(state, w), load_generator(tmp_path / "a.pt").synthesis(w[:, None].expand(1, 8, 20)),
        rtol=0, atol=1e-4,
    )  # fmt: skip


def _rosinality_image(s, w):
    from torch.nn import functional as F

    def modulated(x, name, up=False, demodulate=True):
        style = w @ s[f"{name}.conv.modulation.weight"].T / w.shape[1] ** 0.5 + s[f"{name}.conv.modulation.bias"]
        weight = s[f"{name}.conv.weight"][0]
        weight = weight / weight[0].numel() ** 0.5 * style.reshape(1, -1, 1, 1)
        if demodulate:
            weight = weight * (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).rsqrt()
        if not up:
            return F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        return filtered(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), (1, 1, 1, 1))

    def filtered(x, pad):  # pad, then the kernel [1, 3, 3, 1] with a gain of 4
        k = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
        return F.conv2d(F.pad(x, pad).transpose(0, 1), (k[:, None] * k)[None, None]).transpose(0, 1)

    def styled(x, name, noise, up=False):
        x = modulated(x, name, up) + s[f"{name}.noise.weight"] * s[f"noises.noise_{noise}"]
        return F.leaky_relu(x + s[f"{name}.activate.bias"].reshape(1, -1, 1, 1), 0.2) * 2**0.5

    def to_rgb(x, name):
        return modulated(x, name, demodulate=False) + s[f"{name}.bias"]

    x = styled(s["input.input"], "conv1", 0)
    image = to_rgb(x, "to_rgb1")
    for i in range(3):
        x = styled(styled(x, f"convs.{2 * i}", 2 * i + 1, up=True), f"convs.{2 * i + 1}", 2 * i + 2)
        between = torch.zeros(1, 3, 2 * image.shape[2], 2 * image.shape[3])
        between[..., ::2, ::2] = image
        image = filtered(between, (2, 1, 2, 1)) + to_rgb(x, f"to_rgbs.{i}")
    return image


def test_networks_that_samlib_does_not_build_are_refused(tmp_path):
    official_files.write_nvidia(small_generator(), tmp_path / "a.pkl", c_dim=10)
    with pytest.raises(CheckpointError, match="class-conditional"):
        load_generator(tmp_path / "a.pkl")
    generator = small_generator()
    generator.synthesis_network.b8.conv0.resample_filter.fill_(1 / 16)
    official_files.write_nvidia(generator, tmp_path / "a.pkl")
    with pytest.raises(CheckpointError, match="low-pass"):
        load_generator(tmp_path / "a.pkl")


def test_hostile_files_get_one_line_and_run_nothing(tmp_path):
    marker = tmp_path / "planted-code-ran"
    for path in hostile_files.write_all(tmp_path, marker):
        with pytest.raises(CheckpointError) as caught:
            load_generator(path)
        message = str(caught.value)
        assert "\n" not in message and len(message) < len(str(path)) + 250 and path.name in message
        assert not marker.exists(), path.name


def test_the_planted_code_would_run_elsewhere(tmp_path):
    """The trap of the test above is live: the usual interpreter of pickles springs it."""
    marker = tmp_path / "planted-code-ran"
    (tmp_path / "a.pkl").write_bytes(hostile_files.calls(marker)["os.system, protocol 4.pkl"])
    subprocess.run([sys.executable, "-m", "pickle", tmp_path / "a.pkl"], capture_output=True, check=True)
    assert marker.exists()


@pytest.mark.parametrize("writer", [standin.write_generator, official_files.write_nvidia])
def test_source_text_inside_a_checkpoint_stays_text(writer, tmp_path):
    marker = tmp_path / "planted-code-ran"
    source = f"open({str(marker)!r}, 'w').close()\n"
    writer(small_generator(), tmp_path / "a.pkl", source=source)
    assert str(marker).encode() in (tmp_path / "a.pkl").read_bytes()
    load_generator(tmp_path / "a.pkl")
    assert not marker.exists()


@pytest.mark.parametrize("layout", WRITERS)
def test_a_file_cut_short_anywhere_is_refused(layout, tmp_path):
    WRITERS[layout](Generator(8, 8, 8, {4: 4, 8: 4}, mapping_layers=1), tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    for length in [*range(0, 20), *range(20, len(whole), len(whole) // 60), len(whole) - 1]:
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            load_generator(tmp_path / "cut")


@pytest.mark.parametrize("layout", WRITERS)
def test_damaged_bytes_never_give_another_error(layout, tmp_path):
    """Bytes of the structure overwritten at random: the file loads, or is refused in the one way."""
    WRITERS[layout](Generator(8, 8, 8, {4: 4, 8: 4}, mapping_layers=1), tmp_path / "whole")
    whole, draw = (tmp_path / "whole").read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for position in draw.integers(0, len(whole), 20):
            damaged[position] = draw.integers(0, 256)
        (tmp_path / "damaged").write_bytes(damaged)
        try:
            load_generator(tmp_path / "damaged")
        except CheckpointError:
            refused += 1
    assert refused > 0


def test_what_is_no_file_is_refused(tmp_path):
    if hasattr(os, "mkfifo"):  # a pipe would be waited for
        os.mkfifo(tmp_path / "pipe.pkl")
    for path in (tmp_path, tmp_path / "missing.pkl", tmp_path / "missing.safetensors", tmp_path / "pipe.pkl"):
        with pytest.raises(CheckpointError, match="cannot be read"):
            load_generator(path)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux to measure memory")
def test_memory_stays_within_the_file(tmp_path):
    """Refusing the hostile files takes less than 100 MB, loading good ones at most 2.5 times the file."""
    torch.manual_seed(0)
    (tmp_path / "hostile").mkdir()
    hostile_files.write_all(tmp_path / "hostile", tmp_path / "marker")
    generator = Generator(64, channels={4: 256, 8: 256, 16: 256, 32: 256, 64: 128}, mapping_layers=4)
    for name in ("tensorflow", "nvidia", "rosinality"):
        WRITERS[name](generator, tmp_path / name)
    script = """
        import sys
        from pathlib import Path
        from samlib.checkpoints import CheckpointError, load_generator

        def status(field):
            return 1024 * int(Path("/proc/self/status").read_text().split(field + ":")[1].split()[0])

        def peak(path):
            Path("/proc/self/clear_refs").write_text("5")  # forget the highest mark so far
            before = status("VmRSS")
            try:
                load_generator(path)
            except CheckpointError:
                pass
            return status("VmHWM") - before

        folder = Path(sys.argv[1])
        load_generator(folder / "tensorflow")  # what the libraries take once
        for path in sorted((folder / "hostile").iterdir()):
            assert peak(path) < 100 << 20, f"{path.name}: {peak(path) >> 20} MB"
        for name in ("tensorflow", "nvidia", "rosinality"):
            size = (folder / name).stat().st_size
            assert peak(folder / name) < 2.5 * size, f"{name}: {peak(folder / name) / size:.2f} times the file"
    """
    command = [sys.executable, "-c", textwrap.dedent(script), tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr


def damaged_archive(kind):
    """A small archive with one thing wrong in its table of contents."""
    whole = bytearray(hostile_files.archive(b"N"))
    entry, end = whole.index(b"PK\1\2"), whole.index(b"PK\5\6")
    if kind == "later version":
        whole[entry + 6] = 99
    elif kind == "name that is no text":
        whole[entry + 9] |= 8  # says that names are UTF-8
        whole[entry + 46] = 0xFF
    else:  # a table longer than the file
        whole[end + 12 : end + 16] = (1 << 31).to_bytes(4, "little")
    return bytes(whole)


@pytest.mark.parametrize("kind", ["later version", "name that is no text", "table before the file"])
def test_an_archive_with_a_damaged_table_is_refused_in_one_line(kind, tmp_path):
    file = tmp_path / "network.pt"
    file.write_bytes(damaged_archive(kind))
    with pytest.raises(CheckpointError, match="damaged, or cut short"):
        torch_files.read_zip(file, memoryview(file.read_bytes()))


@pytest.mark.parametrize("offset", [-1, -(1 << 70)])
def test_nothing_before_an_archive_is_looked_for(offset, tmp_path):
    """Versions of zipfile that do not look first ask for it where the table is said to be longer than the file."""
    (tmp_path / "network.pt").write_bytes(hostile_files.archive(b"N"))
    with torch_files._Index(tmp_path / "network.pt") as file, pytest.raises(CheckpointError, match="damaged"):
        file.seek(offset)
