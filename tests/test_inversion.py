"""The Inversion record: slices, a round trip through a file, and one line for files that are no inversions."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import save_file

from samlib.inversion import BATCHED, BY_NAME, TEXTS, Inversion, closest, joined


@pytest.fixture
def inversion():
    torch.manual_seed(0)
    return Inversion(
        w_plus=torch.randn(3, 10, 12),
        images=torch.rand(3, 3, 16, 16),
        inputs=torch.rand(3, 3, 16, 16),
        valid=torch.randint(2, (3, 1, 16, 16)).float(),
        deltas={"F4": torch.randn(3, 8, 4, 4), "F6": torch.randn(3, 4, 8, 8)},
        masks={"F4": torch.rand(3, 1, 4, 4), "F6": torch.rand(3, 1, 8, 8)},
        layer_map=torch.randint(3, (3, 16, 16)),
        segments=torch.randint(5, (3, 16, 16)),
        error_maps=torch.rand(3, 3, 16, 16),
        tau=torch.tensor([0.1, 0.2, 0.3]),
        losses={"l2": torch.rand(7, 3)},
        tuned={"b4.conv1.weight": torch.randn(3, 8, 8, 3, 3).half(), "b4.conv1.noise_strength": torch.randn(3).half()},
        spaces=("W+", "F4", "F6"),
        domain="cars, été",
        method="sam",
        noise="const",
    )


def same(a, b):
    for name in (f.name for f in dataclasses.fields(Inversion)):
        x, y = getattr(a, name), getattr(b, name)
        if isinstance(x, dict):
            assert {*x} == {*y} and all(torch.equal(x[k], y[k]) and x[k].dtype == y[k].dtype for k in x)
        elif isinstance(x, torch.Tensor):
            assert torch.equal(x, y) and x.dtype == y.dtype
        else:
            assert x == y


def test_save_and_load_give_the_same_record(inversion, tmp_path):
    inversion.save(tmp_path / "one.safetensors")
    same(Inversion.load(tmp_path / "one.safetensors"), inversion)
    assert [p.name for p in tmp_path.iterdir()] == ["one.safetensors"]  # no temporary file stays


def test_what_a_method_does_not_have_stays_away(tmp_path):
    bare = Inversion(torch.randn(1, 4, 6), torch.rand(1, 3, 8, 8))
    bare.save(tmp_path / "bare")
    same(Inversion.load(tmp_path / "bare"), bare)


def test_saving_again_replaces_and_a_failure_leaves_the_old_file(inversion, tmp_path):
    path = tmp_path / "one"
    inversion.save(path)
    inversion[0].save(path)
    assert len(Inversion.load(path)) == 1
    broken = inversion[:2]
    broken.deltas["F4"] = "not a tensor"
    with pytest.raises(AttributeError):
        broken.save(path)
    assert len(Inversion.load(path)) == 1 and len([*tmp_path.iterdir()]) == 1


def test_every_field_is_sliced_and_saved():
    assert {f.name for f in dataclasses.fields(Inversion)} == {*BATCHED, *BY_NAME, *TEXTS, "losses", "spaces"}


def test_slices(inversion):
    assert len(inversion) == 3
    second = inversion[1]
    assert len(second) == 1 and torch.equal(second.w_plus[0], inversion.w_plus[1])
    assert torch.equal(second.losses["l2"][:, 0], inversion.losses["l2"][:, 1])
    assert second.tau.tolist() == [inversion.tau[1]]
    same(inversion[-1], inversion[2])
    same(inversion[:], inversion)
    parts = [*inversion]
    assert len(parts) == 3
    same(parts[0], inversion[0:1])
    with pytest.raises(IndexError):
        inversion[3]


def test_repeats_stand_batch_after_batch(inversion):
    twice = inversion.repeat(2)
    same(twice[:3], inversion)
    same(twice[3:], inversion)


def test_one_tau_is_for_every_image(inversion):
    assert dataclasses.replace(inversion, tau=0.25).tau.tolist() == [0.25] * 3


def test_parts_that_do_not_belong_together_are_refused(inversion):
    for change in (
        {"images": torch.rand(2, 3, 16, 16)},
        {"w_plus": torch.randn(3, 12)},
        {"deltas": {"F4": torch.randn(1, 8, 4, 4)}},
        {"layer_map": torch.zeros(3, 1, 16, 16, dtype=torch.long)},
        {"losses": {"l2": torch.rand(3, 7)}},
        {"masks": {"F4": torch.rand(3, 1, 4, 4)}},  # and none for the deltas of F6
        {"layer_map": torch.zeros(3, 16, 16)},
    ):
        with pytest.raises(ValueError, match="want"):
            dataclasses.replace(inversion, **change)


def test_what_diverged_is_in_the_record_but_no_file_of_it_is_read(inversion, tmp_path):
    inversion.w_plus[1, 2, 3] = float("nan")
    dataclasses.replace(inversion).save(tmp_path / "diverged")
    with pytest.raises(ValueError, match=r"diverged: not an inversion \(w_plus is not finite\)"):
        Inversion.load(tmp_path / "diverged")
    inversion[2].save(tmp_path / "well")
    assert len(Inversion.load(tmp_path / "well")) == 1


@pytest.mark.parametrize("space", [3, -1])
def test_a_file_whose_map_names_no_space_is_refused(inversion, tmp_path, space):
    dataclasses.replace(inversion, layer_map=torch.full((3, 16, 16), space)).save(tmp_path / "x")
    with pytest.raises(ValueError, match=f"layer_map names spaces {space} to {space}; want 0 to 2"):
        Inversion.load(tmp_path / "x")


def test_a_file_without_texts_is_one_of_no_noise(tmp_path):
    save_file({"w_plus": torch.zeros(1, 4, 6), "images": torch.zeros(1, 3, 8, 8)}, tmp_path / "x", {"kind": "samlib inversion 1"})
    found = Inversion.load(tmp_path / "x")
    assert (found.noise, found.domain, found.spaces, found.layer_map) == ("none", "", (), None)


def test_batches_of_any_sizes_and_spaces_make_one(inversion):
    two, one = inversion[:2], dataclasses.replace(inversion[2], deltas={}, masks={}, tuned={}, losses={"lpips": torch.rand(5, 1)})
    found = joined([two, one])
    same(found[:2], dataclasses.replace(two, losses={**two.losses, "lpips": torch.zeros(5, 2)}))
    assert len(found) == 3 and torch.equal(found.losses["lpips"][:, 2:], one.losses["lpips"])
    assert found.deltas["F4"].shape == (3, 8, 4, 4) and not found.deltas["F4"][2].any() and not found.masks["F6"][2].any()
    assert found.losses["l2"].shape == (7, 3) and not found.losses["l2"][:, 2].any()
    assert torch.equal(joined([one, two]).deltas["F4"][1:], two.deltas["F4"])


def test_the_closest_is_so_where_the_images_are():
    inputs, valid = torch.zeros(2, 3, 4, 4), torch.ones(2, 1, 4, 4)
    valid[0, :, 2:] = 0
    there, around = (inputs.clone() for _ in range(2))
    there[:, :, :2], around[:, :, 2:] = 0.1, 0.5  # the one is off in the upper half a little, the other in the lower half a lot
    both = [Inversion(torch.full((2, 4, 6), float(i)), images, inputs=inputs) for i, images in enumerate((there, around))]
    assert closest(both).w_plus[:, 0, 0].tolist() == [0, 0]
    assert closest(both, valid).w_plus[:, 0, 0].tolist() == [1, 0]


def write_bad_files(folder, inversion):
    inversion.save(folder / "whole")
    whole = (folder / "whole").read_bytes()
    (folder / "empty").write_bytes(b"")
    (folder / "text").write_text("a photograph, honestly")
    (folder / "truncated").write_bytes(whole[: len(whole) // 2])
    (folder / "huge header").write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    header = json.dumps({"__metadata__": {"kind": "samlib inversion 1"}}).encode()
    (folder / "no tensors").write_bytes(len(header).to_bytes(8, "little") + header)
    save_file({"w_plus": torch.zeros(1, 4, 6)}, folder / "another kind", {"kind": "generator"})
    save_file({"w_plus": torch.zeros(1, 4, 6)}, folder / "unmarked")
    kind = {"kind": "samlib inversion 1"}
    batch = {"w_plus": torch.zeros(2, 4, 6), "images": torch.zeros(2, 3, 8, 8)}
    save_file({**batch, "images": torch.zeros(1, 3, 8, 8)}, folder / "two batches", kind)
    save_file({**batch, "surprise": torch.zeros(1)}, folder / "unknown field", kind)
    save_file({**batch, "domain/x": torch.zeros(1)}, folder / "text as group", kind)
    save_file({**batch, "images/x": torch.zeros(1)}, folder / "tensor as group", kind)
    save_file({**batch, "tau": torch.zeros(5)}, folder / "five taus", kind)
    (folder / "whole").unlink()


def test_other_files_get_one_clear_line(inversion, tmp_path):
    write_bad_files(tmp_path, inversion)
    files = [*tmp_path.iterdir()]
    assert len(files) == 12
    for path in files:
        with pytest.raises(ValueError) as caught:
            Inversion.load(path)
        message = str(caught.value)
        assert path.name in message and "Inversion.save" in message and "\n" not in message, message
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FileNotFoundError, match="no such file"):
            Inversion.load(path)
