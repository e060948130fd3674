import hashlib
import json
import re
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

import samlib
from samlib import domain_files, layer_map, methods, paths, scenes
from samlib.checkpoints import save_tensors
from samlib.devices import pick_device
from samlib.images import read_image
from samlib.optimize import schedule
from samlib.training import biggan_domain, category


@pytest.fixture()
def images():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_sam_fills_the_whole_record(tiny, images):
    inversion = tiny.invert(images, progress=False)
    assert inversion.w_plus.shape == (2, 10, 16) and inversion.images.shape == images.shape
    assert torch.equal(inversion.inputs, images)
    assert inversion.error_maps.shape == (2, 3, 64, 64) and inversion.segments.shape == (2, 64, 64)
    assert torch.equal(inversion.layer_map, layer_map.select(inversion.error_maps, inversion.segments, tiny.tau))
    assert (inversion.domain, inversion.method, inversion.spaces) == (tiny.name, "sam", ("W+", "F4", "F6"))
    assert inversion.tau.tolist() == pytest.approx([0.2, 0.2])
    assert all(history.shape == (4, 2) for history in inversion.losses.values())


@pytest.mark.parametrize("method, used", [("w", []), ("w+", []), ("gaussian", []), ("F4", ["F4"]), ("F6", ["F6"])])
def test_single_space_methods_use_that_space_everywhere(tiny, images, method, used):
    inversion = tiny.invert(images, method, progress=False)
    assert list(inversion.deltas) == used and inversion.method == method
    assert all(torch.allclose(mask, torch.ones(())) for mask in inversion.masks.values())
    assert (inversion.layer_map == (["F4", "F6"].index(used[0]) + 1 if used else 0)).all()


def test_w_keeps_one_row_and_w_plus_does_not(tiny, images):
    rows = {method: tiny.invert(images, method, progress=False).w_plus for method in ("w", "w+")}
    assert (rows["w"] == rows["w"][:, :1]).all() and (rows["w+"] != rows["w+"][:, :1]).any()


def test_the_gaussian_method_weighs_the_prior_more(tiny, images):
    def distance(inversion):
        return (inversion.w_plus - tiny.generator.w_avg).norm()

    tiny.steps = 10
    assert distance(tiny.invert(images, "gaussian", progress=False)) < distance(tiny.invert(images, "w+", progress=False))


def test_n_images_at_once_are_n_images_alone(tiny, images):
    together = tiny.invert(images, tau=torch.tensor([-1.0, 9.0]), progress=False)
    assert together.layer_map[0].min() == 2 and together.layer_map[1].max() == 0  # masks of their own
    for i, tau in enumerate((-1.0, 9.0)):
        alone = tiny.invert(images[i:i + 1], tau=tau, progress=False)
        assert torch.allclose(alone.images, together.images[i:i + 1], atol=1e-4)
        assert torch.allclose(alone.w_plus, together.w_plus[i:i + 1], atol=1e-4)


def test_a_layer_map_of_ones_own_replaces_the_prediction(tiny, images):
    own = torch.zeros(64, 64, dtype=torch.long)
    own[:32] = 1
    tiny.predictor = tiny.segmenter = None  # nothing is predicted, so nothing is needed
    inversion = tiny.invert(images, layer_map=own, progress=False)
    assert torch.equal(inversion.layer_map, own.expand(2, 64, 64)) and list(inversion.deltas) == ["F4"]


@pytest.mark.parametrize("method, space", [("w", "W+"), ("w+", "W+"), ("gaussian", "W+"), ("hybrid-e4e", "W+"), ("pti", "W+"),
                                           ("e4e", "W+"), ("F4", "F4"), ("F6", "F6")])
def test_a_layer_map_is_refused_by_what_has_one_space(tiny, images, method, space):
    message = f"^{re.escape(method)} inverts in {re.escape(space)} alone; leave layer_map out, or choose sam or sam-encoder$"
    with pytest.raises(ValueError, match=message):
        tiny.invert(images, method, layer_map=torch.ones(64, 64).long(), steps=1, progress=False)


@pytest.mark.parametrize("options, kind, message", [
    ({"steps": -1}, ValueError, "^steps is -1; want 0 or more$"),
    ({"steps": 2.0}, TypeError, "^steps is 2.0; want a whole number, 0 or more$"),
    ({"steps": "2"}, TypeError, "^steps is '2'; want a whole number"),
    ({"tau": float("nan")}, ValueError, "^tau is nan; want a number, or one for each image$"),
    ({"tau": torch.tensor([0.1, float("nan")])}, ValueError, "^tau is nan; want a number"),
    ({"tau": "0.2"}, TypeError, "^tau is '0.2'; want a number, or one for each image$"),
    ({"tau": [0.1, None]}, TypeError, r"^tau is \[0.1, None\]; want a number")])  # fmt: skip
def test_steps_and_tau_that_are_none_are_refused(tiny, images, options, kind, message):
    with pytest.raises(kind, match=message):
        tiny.invert(images, progress=False, **options)


def test_the_rate_of_each_space_reaches_the_optimizer(tiny, images):
    """Adam's first step is the rate in every number."""
    tiny.delta_learning_rate = rates = {"F4": 0.02, "F6": 0.001}
    own = torch.ones(64, 64, dtype=torch.long)
    own[:, 32:] = 2
    found = tiny.invert(images, layer_map=own, steps=1, progress=False)
    for name, rate in rates.items():
        inside = (found.masks[name] > 0).expand_as(found.deltas[name])
        assert found.deltas[name][inside].abs().median() == pytest.approx(rate * schedule(0.5), rel=1e-2)


def test_sam_has_a_rate_of_w_of_its_own(tiny, images):
    tiny.learning_rate, tiny.sam_learning_rate, tiny.start = 0.02, 0.005, None
    for method, rate in (("w+", 0.02), ("sam", 0.005), ("F4", 0.02)):
        found = tiny.invert(images, method, steps=1, progress=False)
        moved = (found.w_plus - tiny.generator.w_avg).abs()
        assert moved.median() == pytest.approx(rate * schedule(0.5), rel=1e-2)
    tiny.sam_learning_rate = None
    assert tiny.rate_of("sam") == 0.02


def test_what_is_edited_needs_no_layer_map_inputs_or_file_of_more(tiny, images, tmp_path):
    made = tiny.invert(images, layer_map=torch.ones(64, 64).long(), steps=1, progress=False)
    want = tiny.edit(made, {"size": 1.0})
    bare = samlib.Inversion(made.w_plus, made.images, made.deltas, made.masks)
    bare.save(tmp_path / "bare")
    for one in (bare, samlib.Inversion.load(tmp_path / "bare")):
        assert one.layer_map is one.inputs is None and torch.equal(tiny.edit(one, {"size": 1.0}), want)


def test_images_of_any_shape_are_padded_and_the_padding_is_w_plus(tiny):
    inversion = tiny.invert(torch.rand(1, 3, 40, 80), "F6", progress=False)
    assert inversion.inputs.shape == (1, 3, 64, 64)
    assert (inversion.layer_map[:, 16:48] == 2).all() and inversion.layer_map[:, :16].max() == 0


def test_what_is_no_image_is_refused(tiny, images):
    wrong = {"uint8": torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "nan": images.clone(), "inf": images.clone(), "127.5": images * 127.5}
    wrong["nan"][1, 2, 3, 4], wrong["inf"][1, 2, 3, 4] = float("nan"), float("inf")
    wrong["127.5"][0, 0, 0, 0] = 127.5
    for got, x in wrong.items():
        with pytest.raises(ValueError, match=rf"^images .*{got}.*; want (floats in )?\[-1, 1\]: .*$"):
            tiny.invert(x, "w+", steps=1, progress=False)
    with pytest.raises(ValueError, match="shape"):
        tiny.invert(images[:0], "w+")
    assert len(tiny.invert(images * 1.005, "w+", steps=1, progress=False)) == 2  # rounding, as of a resized photograph


def test_what_does_not_fit_the_images_is_refused(tiny, images):
    three = images[[0, 1, 0]]
    empty = torch.ones(3, 1, 64, 64)
    empty[1] = 0
    wrong = [({"layer_map": torch.zeros(2, 64, 64).long()}, r"the layer map has shape .2, 64, 64.; want .* .3, 64, 64.$"),
             ({"classes": [0]}, r"^classes for .*, whose generator has none; leave them out"),
             ({"valid": empty}, "^valid is 0 all over an image; want something valid in every image$"),
             ({"valid": torch.ones(2, 1, 64, 64)}, r"^valid has shape .2, 1, 64, 64.; want .3, 1, 64, 64."),
             ({"valid": empty, "method": "F4"}, "^valid is 0 all over an image")]
    for options, message in wrong:
        with pytest.raises(ValueError, match=message):
            tiny.invert(three, steps=1, progress=False, **options)
    with pytest.raises(ValueError, match="^valid is 0 all over an image"):
        tiny.predict(three, valid=empty)
    assert len(tiny.invert(three, layer_map=torch.zeros(1, 64, 64).long(), steps=1, progress=False)) == 3


def test_the_padding_is_looked_at_by_nobody(tiny):
    """Neither S, nor the segmenter, nor the loss: a photograph and the same with other things around it come out alike."""
    wide = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(3)) * 2 - 1
    valid = torch.zeros(1, 1, 64, 64)
    valid[..., 16:48, :] = 1
    other = torch.cat([torch.ones(1, 3, 16, 64), wide, -torch.ones(1, 3, 16, 64)], 2)
    a, b = tiny.invert(wide, progress=False), tiny.invert(other, valid=valid, progress=False)
    for name in ("w_plus", "images", "layer_map", "error_maps", "segments", "valid"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    assert torch.equal(a.valid, valid) and (a.segments[valid[:, 0] == 0] == -1).all()
    assert torch.equal(a.segments[:, 16:48], tiny.segmenter(wide)) and a.segments[:, 16:48].min() >= 0
    assert torch.equal(a.error_maps[..., 16:48, :], tiny.predictor(wide))


def test_the_padding_of_one_image_is_not_looked_at_for_another(tiny):
    x = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(3)) * 2 - 1
    valid = torch.zeros(3, 1, 64, 64)
    valid[0, :, 16:48], valid[1, ..., 10:50], valid[2] = 1, 1, 1
    tau = torch.tensor([0.1, 0.2, 0.3])
    together = tiny.predict(x, tau, valid)
    for i in range(3):
        alone = tiny.predict(x[i:i + 1], tau[i], valid[i:i + 1])
        for name in ("error_maps", "segments", "layer_map"):
            torch.testing.assert_close(together[name][i:i + 1], alone[name], atol=1e-5, rtol=1e-4)


def test_a_very_wide_photograph_is_seen_in_a_box_that_s_can_take(tiny):
    inversion = tiny.invert(torch.rand(1, 3, 10, 80), steps=1, progress=False)  # 8 of 64 rows, where S needs 32
    assert inversion.valid.sum() == 8 * 64 and not inversion.layer_map[inversion.valid[:, 0] == 0].any()


def test_a_square_image_has_no_padding(tiny, images):
    assert tiny.invert(images, "w+", steps=1, progress=False).valid is None


def test_edits_start_at_the_inversion_and_add_up(tiny, images):
    inversion = tiny.invert(images, "w+", progress=False)
    assert torch.allclose(tiny.edit(inversion, {}), inversion.images, atol=1e-5)
    assert torch.allclose(tiny.edit(inversion, {"size": 0.0}), inversion.images, atol=1e-5)
    both = tiny.edit(inversion, {"size": 1, "colour": -2})
    tiny.directions["sum"] = tiny.directions["size"] - 2 * tiny.directions["colour"]
    assert torch.allclose(both, tiny.edit(inversion, {"sum": 1.0}), atol=1e-5)


def test_the_weight_of_l2_in_pti_s_tuning_is_an_option_of_pti_alone(tiny, images):
    one, five = (tiny.invert(images, "pti", steps=9, tuning_l2=weight, progress=False) for weight in (None, 5.0))
    assert torch.equal(one.w_plus, five.w_plus)  # the pivot knows nothing of it
    assert five.losses["l2"][-1].mean() < one.losses["l2"][-1].mean()
    with pytest.raises(ValueError, match="tuning_l2 is a weight of pti, and w. tunes nothing"):
        tiny.invert(images, "w+", tuning_l2=5.0)


def test_ranges_of_directions_come_from_the_domain(tiny):
    assert tiny.range_of("size") == (-1, 2) and tiny.range_of("trees") == (-3, 3)
    fewer = replace(tiny, strengths={"size": [-1, 2], "trees": [-2, 2, -2]})
    assert fewer.range_of("trees") == (-2, 2) and fewer.meant("trees") == -2
    assert fewer.meant("size") == 2 and fewer.meant("colour") == 3
    assert fewer.caption("trees") == "trees -2" and fewer.caption("size") == "size"


def test_directions_come_in_the_order_of_the_description(tiny, tiny_folder, tmp_path):
    assert list(tiny.directions)[0] == "size"
    folder = shutil.copytree(tiny_folder, tmp_path / "tiny")
    (folder / "domain.json").write_text(json.dumps({"strengths": {"wheels": [-1, 1], "colour": [-1, 1]}}))
    assert list(samlib.load(folder, "cpu").directions) == ["wheels", "colour", "size", "trees"]


def test_an_edit_works_where_half_of_it_is_left_or_else_where_it_has_rows(tiny, tmp_path):
    assert tiny.works("size") == [True, False, False]  # its rows end before those that F4 leaves
    tiny.left = {"size": {"W+": 1.0, "F4": 0.5, "F6": 0.49}}
    assert tiny.works("size") == [True, True, False]
    save_file({"size": torch.ones(10, 16)}, tmp_path / "own.safetensors")
    tiny.add_directions(tmp_path / "own.safetensors")  # of which nothing was measured
    assert tiny.works("size") == [True, True, True]


def test_names_that_are_not_known_are_answered_with_those_that_are(tiny, images):
    with pytest.raises(ValueError, match="'pit'; there are sam, w, w.*F4, F6"):
        tiny.invert(images, "pit")
    with pytest.raises(ValueError, match="doors.*size"):
        tiny.edit(tiny.invert(images, "w+", steps=1, progress=False), {"doors": 1})
    with pytest.raises(ValueError, match="no domain 'boats'"):
        samlib.load("boats")
    with pytest.raises(ValueError, match="no device 'abacus'"):
        pick_device("abacus")


@pytest.mark.parametrize("bad", [torch.zeros(32, 32, dtype=torch.long), torch.full((64, 64), 3), torch.zeros(64, 64)])
def test_a_layer_map_that_does_not_fit_is_refused(tiny, images, bad):
    with pytest.raises(ValueError, match="the layer map"):
        tiny.invert(images, layer_map=bad)


def test_missing_files_say_which_where_and_how(tiny_folder, tmp_path, images):
    folder = shutil.copytree(tiny_folder, tmp_path / "tiny")
    for part in ("predictor", "segmenter"):
        (folder / f"{part}.safetensors").rename(tmp_path / part)
        with pytest.raises(FileNotFoundError, match=rf"tiny/{part}.safetensors is missing.*python -m samlib"):
            samlib.load(folder, "cpu").invert(images)
        assert samlib.load(folder, "cpu").invert(images, "w+", steps=1, progress=False).images.shape == images.shape
        (tmp_path / part).rename(folder / f"{part}.safetensors")
    (folder / "generator.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="tiny/generator.safetensors is missing"):
        samlib.load(folder)


@pytest.mark.parametrize(
    "text, words",
    [
        (b"", "no description of a domain .*want JSON"),
        (b"\xff\xfe", "no description of a domain"),
        (b"[" * 100_000, "no description of a domain"),
        (b"[1]", r"but \[1\]; want \{setting: value\}"),
        (b'{"tau": "high"}', "tau is 'high'; want a number"),
        (b'{"tau": NaN}', "tau is nan"),
        (b'{"encoder_tau": [0.1]}', "encoder_tau is .*want a number"),
        (b'{"steps": 0}', "steps is 0; want a whole number above 0"),
        (b'{"steps": 2.5}', "steps is 2.5"),
        (b'{"learning_rate": "0.1"}', "learning_rate is '0.1'"),
        (b'{"sam_learning_rate": 0}', "sam_learning_rate is 0; want a number above 0"),
        (b'{"delta_learning_rate": 0}', "delta_learning_rate is 0; want a number above 0, or"),
        (b'{"delta_learning_rate": {"F4": "x"}}', "delta_learning_rate is"),
        (b'{"start": 3}', "start is 3; want the name of an encoder"),
        (b'{"start": ["e4e", 3]}', "start is .*want the name of an encoder, or a list"),
        (b'{"start": []}', "start is"),
        (b'{"strengths": {"size": 2}}', r"strengths is .*want \{direction: \[low, high\]\}"),
        (b'{"strengths": [1]}', "strengths is"),
        (b'{"aspect": [4]}', r"aspect is \[4\]; want \[width, height\]"),
        (b'{"view": 0}', "view is 0; want a whole number above 0"),
        (b'{"left": {"size": 0.5}}', r"left is .*want \{direction: \{space: share\}\}"),
        (b'{"weights": {"lpip": 1}}', "weights is .*want numbers for some of l2, lpips, gaussian"),
        (b'{"weights": 3}', "weights is 3"),
        (b'{"metric": "lpips"}', "no perceptual metric 'lpips'"),
    ],
)  # fmt: skip
def test_a_description_that_does_not_fit_is_refused_in_one_line(text, words, tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder, tmp_path / "tiny")
    (folder / "domain.json").write_bytes(text)
    with pytest.raises(ValueError, match=words) as caught:
        samlib.load(folder, "cpu")
    message = str(caught.value)
    assert "\n" not in message and len(message) < len(str(tmp_path)) + 300
    assert "domain.json" in message or "metric" in message


def test_directions_of_another_generator_are_refused(tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder, tmp_path / "tiny")
    save_tensors({"size": torch.zeros(4, 16)}, folder / "directions.safetensors")
    with pytest.raises(ValueError, match=r"directions.safetensors: size has shape \(4, 16\); the directions of .* have \(10, 16\)"):
        samlib.load(folder, "cpu")


def test_the_command_that_makes_a_missing_file_is_that_of_its_domain(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    assert "category cars gan --out" in domain_files.missing(tmp_path / "cars", "generator")
    assert "category cars encoders --out" in domain_files.missing(tmp_path / "cars", "e4e")
    assert "biggan_domain gan --out" in domain_files.missing(tmp_path / "biggan-scenes", "generator")
    assert "biggan_domain predictor --out" in domain_files.missing(tmp_path / "biggan-scenes", "predictor")
    assert "samlib train " in domain_files.missing(tmp_path / "mine" / "cars", "generator")


def test_domains_lists_folders_that_have_a_description(tiny_folder, monkeypatch):
    monkeypatch.setattr(paths, "DATA", tiny_folder.parent)
    (tiny_folder.parent / "notes").mkdir(exist_ok=True)
    assert samlib.domains() == ["tiny"]
    assert samlib.load("tiny", "cpu").name == "tiny"


def test_a_photograph_goes_through(tiny, photo):
    inversion = tiny.invert(read_image(photo, 64), progress=False)
    assert inversion.images.isfinite().all() and inversion.images.abs().max() <= 1


def test_every_data_file_has_its_row_and_digest():
    table = (paths.DATA / "README.md").read_text()
    files = [file for file in sorted(paths.DATA.rglob("*")) if file.is_file() and file.name != "README.md"]
    digests = {file.relative_to(paths.DATA).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    missing = [f"`{name}` {digest}" for name, digest in digests.items() if f"`{name}`" not in table or digest not in table]
    assert not missing, "data/README.md has no row, or another SHA-256, for:\n" + "\n".join(missing)


def test_shipped_descriptions_are_whole():
    """Every domain in data/: its settings are known ones, and each direction has a range that contains 0."""
    for name in samlib.domains():
        settings = json.loads((paths.DATA / name / "domain.json").read_text())
        assert set(settings) <= {"tau", *domain_files.SETTINGS}
        domain = samlib.load(name, "cpu")
        assert domain.start == settings.get("start") and all(map(domain.encoder, methods.encoders_in(domain.start)))
        classes = getattr(domain.generator, "names", None) or ()  # of a BigGAN, to which an edit can lead, too
        assert domain.predictor and domain.segmenter and len(domain.directions) + len(classes) >= 4
        assert set(domain.strengths) <= set(domain.directions)
        assert all(low < 0 < high for low, high in map(domain.range_of, domain.directions))


def test_a_shipped_domain_inverts_as_its_training_did():
    for name in samlib.domains():
        domain, recipe = samlib.load(name, "cpu"), (category if name in scenes.FACTORS else biggan_domain).INVERSION
        assert {key: getattr(domain, key) for key in recipe} == recipe
        assert domain.sam_learning_rate == (category.SAM_RATE if name in scenes.FACTORS else None)
        assert {space.name for space in domain.spaces[1:]} == {*domain.delta_learning_rate}
