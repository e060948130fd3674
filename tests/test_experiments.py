"""Inversions that are kept are those that are made; a hole is refused; a record can be read again."""

import ast
import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from tiny_biggan import NAMES, tiny_biggan

import samlib
from samlib import experiments, figures, kept, metrics, segmenters
from samlib.baselines import Locality
from samlib.classifier import SceneClassifier
from samlib.encode import E4e, SamEncoder
from samlib.optimize import Reconstruction


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMLIB_CACHE", str(tmp_path / "cache"))


@pytest.fixture()
def images():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def forbid(monkeypatch, domain):
    monkeypatch.setattr(type(domain), "invert", lambda *a, **k: pytest.fail("made again"))


def test_scenes_come_with_what_is_known_and_no_training_saw_them(tiny, monkeypatch):
    asked = []
    monkeypatch.setattr(experiments.scenes, "render", lambda *a, **k: asked.append(k["seed"]) or samlib.scenes.draw.Scenes(
        torch.zeros(2, 3, 64, 64), torch.zeros(2, 64, 64).long(), {"size": torch.zeros(2)}))
    tiny.name = "cars"
    found = experiments.inputs(tiny, "ordinary", 2, seed=1, first=4)
    assert found.names == ("ordinary-1-4", "ordinary-1-5") and len(found) == 2 and asked == [101]
    assert found.segments.shape == (2, 64, 64) and "size" in found.factors


def test_a_folder_gives_its_images_in_order(tiny, tmp_path, images):
    for name, image in zip("ba", images):
        samlib.write_image(tmp_path / f"{name}.png", image[None])
    found = experiments.inputs(tiny, str(tmp_path / "."), 1)
    assert found.names == ("a.png",) and found.images.shape == (1, 3, 64, 64) and found.segments is None
    with pytest.raises(ValueError, match="has 2 images; 3 are wanted"):
        experiments.inputs(tiny, tmp_path, 3)
    with pytest.raises(ValueError, match="scenes are there for cars"):
        experiments.inputs(tiny, "challenging")


def test_what_is_kept_is_what_was_made(tiny, images, monkeypatch):
    made = tiny.invert(images, "sam", steps=2, tau=0.3, progress=False)
    first = experiments.inverted(tiny, images, "sam", steps=2, tau=0.3, batch=2)
    forbid(monkeypatch, tiny)
    again = experiments.inverted(tiny, images, "sam", steps=2, tau=0.3)
    for found in (first, again):
        assert torch.allclose(found.images, made.images, atol=1e-3) and torch.equal(found.layer_map, made.layer_map)
        assert torch.equal(found.inputs, made.inputs)
        assert found.losses["l2"].shape == (2, 3) and found.method == "sam"
        assert torch.allclose(tiny.edit(found, {"size": 1.0}), tiny.edit(made, {"size": 1.0}), atol=2e-3)
    assert experiments.missing(tiny, images, "sam", steps=2, tau=0.3) == []
    assert len(experiments.seconds(tiny, images, "sam", steps=2, tau=0.3)) == 3


def test_what_is_kept_has_16_bits_and_its_types_again(tiny, images, tmp_path):
    wide = images[:1, :, :40]  # padded to the generator's square, so that the inputs are not what was given
    layer_map = torch.arange(64)[None, None].expand(1, 64, 64) // 22
    for name, x, made in (("sam", wide, tiny.invert(wide, "sam", steps=2, tau=0.01, progress=False)),
                          ("given", images[:1], tiny.invert(images[:1], layer_map=layer_map, steps=2, progress=False))):
        kept.write(name, made, {})
        found = kept.read(name, x)
        for part, value in vars(made).items():
            if isinstance(value, torch.Tensor):
                assert getattr(found, part).dtype == value.dtype
                torch.testing.assert_close(getattr(found, part), value, rtol=1e-3, atol=1e-3)
        assert torch.equal(found.inputs, made.inputs) and torch.equal(found.w_plus, made.w_plus)
        for space, delta in made.deltas.items():
            torch.testing.assert_close(found.deltas[space], delta, rtol=1e-3, atol=1e-4)
            assert torch.equal(found.masks[space], made.masks[space])
        made.save(tmp_path / name)
        assert 2 * kept.file_of(name).stat().st_size < (tmp_path / name).stat().st_size
        assert torch.equal(samlib.Inversion.load(tmp_path / name).images, made.images)  # what a user saves is exact


def test_what_16_bits_cannot_hold_is_kept_as_it_is(tiny, images):
    made = tiny.invert(images[:1], "F4", steps=1, progress=False)
    made.deltas["F4"][0, 0, 0, 0], made.segments = 1e6, torch.full((1, 64, 64), 40_000)
    kept.write("large", made, {})
    found = kept.read("large", images[:1])
    assert torch.equal(found.deltas["F4"], made.deltas["F4"]) and torch.equal(found.segments, made.segments)


def test_what_pti_tuned_is_kept_in_16_bits(tiny, images):
    made = tiny.invert(images[:1], "pti", steps=2, progress=False)
    kept.write("pti", made, {})
    found = kept.read("pti", images[:1])
    assert found.tuned and all(x.dtype == torch.float16 and torch.equal(x, made.tuned[name]) for name, x in found.tuned.items())


def test_the_key_changes_with_all_that_decides_the_result(tiny, images):
    def key(domain=tiny, method="w+", x=images, **options):
        return kept.keys(domain, x, method, options)[0]

    layer_map = torch.ones(3, 64, 64).long()
    others = [key(method="w"), key(x=images[1:]), key(steps=9), key(seed=1), key(layer_map=layer_map)]
    for name, other in (("learning_rate", 0.1), ("delta_learning_rate", {"F4": 0.1})):
        before = getattr(tiny, name)
        setattr(tiny, name, other)
        others.append(key())
        setattr(tiny, name, before)
    before = key(), key(method="sam")
    tiny.sam_learning_rate = 0.01
    assert key() == before[0] and key(method="sam") != before[1]
    tiny.sam_learning_rate = None
    assert key() == key(steps=tiny.steps, tau=None, progress=True)  # the domain's own, and what changes nothing
    before = key()
    next(tiny.generator.parameters()).data.mul_(1.01)
    others.append(key())
    assert len({before, *others}) == len(others) + 1


@pytest.mark.parametrize("method", ["sam", "sam-encoder", "w+", "F4"])
def test_tau_is_in_the_key_of_what_chooses_by_it(tiny, images, method):
    tiny.encoders["sam-encoder"] = SamEncoder.of(tiny.generator, latent_width=4, width=4)
    layer_map = torch.ones(3, 64, 64).long()

    def key(**options):
        return kept.keys(tiny, images, method, options)[0]

    def under_another_tau():
        tiny.tau += 0.1
        found = key(), key(layer_map=layer_map)
        tiny.tau -= 0.1
        return found

    chooses = method in ("sam", "sam-encoder")
    assert (key() != under_another_tau()[0]) is chooses and (key() != key(tau=0.7)) is chooses
    assert key(layer_map=layer_map) == under_another_tau()[1] == key(layer_map=layer_map, tau=0.7)  # it is given


def test_the_key_has_what_a_part_is_set_to_beside_its_weights(tiny, images):
    def key(method="w+"):
        return kept.keys(tiny, images, method, {})[0]

    found = [key()]
    tiny.generator.compute_dtype = torch.bfloat16
    found.append(key())
    for scale in (1.0, 2.0):
        torch.manual_seed(0)
        tiny.encoders["e4e"] = E4e(10, 16, scale, size=64, width=4)
        found.append(key("e4e"))
    assert len(set(found)) == 4


def test_the_key_has_what_a_biggan_goes_by(tiny, images):
    def key(**options):
        return kept.keys(tiny, images, "z+", options)[0]

    tiny.generator = tiny_biggan(resolution=64)
    found = [key(), key(classes=["van"] * 3), key(classes=["sedan"] * 3)]
    for seed in range(2):
        torch.manual_seed(seed)
        tiny.generator.classify = SceneClassifier(NAMES, width=4).eval().forward  # as `samlib.load` sets it
        found.append(key())
    assert key(classes=["van"] * 3) == found[1]  # then nobody asks the classifier
    tiny.generator.truncation = 0.5
    found.append(key())
    tiny.generator = tiny.generator.conditioned("van")
    found.append(key())
    assert len(set(found)) == len(found)


def test_the_key_has_all_code_that_an_inversion_runs():
    """Whatever the modules in CODE import from the package, but what only reads and writes files."""
    files = {"arrays", "checkpoints", "domain_files", "download", "edit", "layouts", "paths", "unpickle", "weights"}
    imported = set()
    for file in kept._code():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.level or node.module.partition(".")[0] == "samlib"):
                inner = (node.module or "").removeprefix("samlib").strip(".")
                imported |= {inner} if inner else {alias.name for alias in node.names}
    assert imported - files <= {*kept.CODE}


def test_one_image_has_one_key_in_any_company(tiny, images):
    layer_map = torch.arange(3)[:, None, None].expand(3, 64, 64)
    together = kept.keys(tiny, images, "sam", {"layer_map": layer_map, "tau": torch.tensor([0.1, 0.2, 0.3])})
    alone = kept.keys(tiny, images[1:2], "sam", {"layer_map": layer_map[1:2], "tau": torch.tensor([0.2])})
    assert together[1:2] == alone and len(set(together)) == 3


def test_what_was_measured_outlives_the_inversions(tiny, images, monkeypatch):
    row = experiments.measured(tiny, images, "w+", steps=2)
    found = experiments.inverted(tiny, images, "w+", steps=2, compute=False)
    close = metrics.closeness(found, tiny.metric)
    assert all(row[name] == pytest.approx(close[name].tolist(), rel=1e-5) for name in ("psnr", "lpips"))
    assert row["reached"] == pytest.approx((10 * torch.log10(4 / found.losses["l2"])).mean(1).tolist(), rel=1e-5)
    assert row["seconds"] == pytest.approx(experiments.seconds(tiny, images, "w+", steps=2), rel=1e-5)
    shutil.rmtree(kept.folder())
    forbid(monkeypatch, tiny)
    assert experiments.measured(tiny, images, "w+", steps=2) == row


def test_how_they_are_made_or_read_is_in_no_key(tiny, images, monkeypatch):
    asked, real = [], type(tiny).invert
    monkeypatch.setattr(type(tiny), "invert", lambda self, x, *a, **k: asked.append(len(x)) or real(self, x, *a, **k))
    row = experiments.measured(tiny, images, "w+", steps=1, batch=2, progress=False)
    assert asked == [2, 1]
    how = {"batch": 1, "compute": False, "holes": True, "progress": True}
    assert experiments.measured(tiny, images, "w+", steps=1, **how) == row == experiments.measured(tiny, images, "w+", steps=1)
    assert experiments.seconds(tiny, images, "w+", steps=1, **how) == pytest.approx(row["seconds"], rel=1e-5)
    assert experiments.missing(tiny, images, "w+", steps=1, **how) == []


def test_what_is_measured_with_holes_is_not_kept_as_the_whole(tiny, images):
    experiments.inverted(tiny, images[1:], "w+", steps=1)
    part = experiments.measured(tiny, images, "w+", steps=1, compute=False, holes=True)
    assert {len(part[name]) for name in ("psnr", "lpips", "seconds")} == {2}
    assert len(experiments.measured(tiny, images, "w+", steps=1)["psnr"]) == 3


@pytest.mark.parametrize("options, named", [({"precision": torch.bfloat16}, "precision"), ({"compiled": True}, "compiled")])
def test_what_the_device_decides_is_no_option(tiny, images, options, named):
    for function in (experiments.inverted, experiments.measured, experiments.seconds, experiments.missing):
        with pytest.raises(ValueError, match=f"^{named} of what is kept on disk: the device decides; leave it out"):
            function(tiny, images, "w+", steps=1, **options)


def test_other_images_or_options_are_measured_for_themselves(tiny, images):
    first = experiments.measured(tiny, images[:2], "w+", steps=1)
    assert len(experiments.measured(tiny, images, "w+", steps=1)["psnr"]) == 3
    assert len(experiments.measured(tiny, images[:2], "w+", steps=2)["reached"]) == 2 > len(first["reached"])


def test_what_other_code_measured_is_not_taken(monkeypatch):
    before, real = kept.measures(["a", "b"]), kept.code_digest
    assert kept.measures(["a", "b"]) == before != kept.measures(["a", "c"])
    monkeypatch.setattr(kept, "code_digest", lambda file: "changed" if file.name == "metrics.py" else real(file))
    assert kept.measures(["a", "b"]) != before


def test_an_inversion_is_read_in_brief(tiny, images):
    whole = experiments.inverted(tiny, images[:1], "pti", steps=3)
    brief = experiments.inverted(tiny, images[:1], "pti", steps=3, brief=True)
    assert whole.tuned and not brief.tuned and torch.equal(whole.images, brief.images)


def test_what_was_stopped_goes_on_where_it_was(tiny, images, monkeypatch):
    experiments.inverted(tiny, images[:2], "w+", steps=1)
    assert experiments.missing(tiny, images, "w+", steps=1) == [2]
    real, asked = type(tiny).invert, []
    monkeypatch.setattr(type(tiny), "invert", lambda self, x, *a, **k: asked.append(len(x)) or real(self, x, *a, **k))
    assert len(experiments.inverted(tiny, images, "w+", steps=1)) == 3 and asked == [1]


@pytest.mark.parametrize("method, during", [("w+", "first step"), ("w+", "search"), ("pti", "search"), ("pti", "tuning")])
def test_what_was_stopped_early_is_not_kept(tiny, images, monkeypatch, method, during):
    def stop(*arguments):
        raise KeyboardInterrupt

    if during != "search":
        monkeypatch.setattr(*{"first step": (Reconstruction, "__call__"), "tuning": (Locality, "loss")}[during], stop)
    with pytest.raises(KeyboardInterrupt, match="was stopped after"):
        experiments.inverted(tiny, images[:1], method, steps=4, callback=stop if during == "search" else None)
    assert experiments.missing(tiny, images[:1], method, steps=4) == [0]


def test_inversions_with_histories_of_any_length_make_one_batch(tiny, images):
    parts = [tiny.invert(images[i:i + 1], "w+", steps=steps, progress=False) for i, steps in enumerate((3, 2, 0))]
    assert kept.joined(parts[:2]).losses["l2"].shape == (2, 2)
    torch.testing.assert_close(kept.joined(parts[:2]).losses["l2"][:, 0], parts[0].losses["l2"][:2, 0])
    assert len(kept.joined(parts)) == 3


def test_a_hole_is_refused_unless_it_is_asked_for(tiny, images, monkeypatch):
    experiments.inverted(tiny, images[:1], "w+", steps=1)
    with pytest.raises(RuntimeError, match="2 of 3 inversions by w. are missing"):
        experiments.inverted(tiny, images, "w+", steps=1, compute=False)
    assert len(experiments.inverted(tiny, images, "w+", steps=1, compute=False, holes=True)) == 1
    monkeypatch.setattr(type(tiny), "invert", lambda *a, **k: 1 / 0)
    with pytest.raises(RuntimeError, match="the last failure: ZeroDivisionError"):
        experiments.inverted(tiny, images, "w+", steps=1, batch=1)
    rows = [json.loads(line) for line in kept.failures().read_text().splitlines()]
    assert len(rows) == 2 and "1 / 0" in rows[0]["traceback"]


def test_a_batch_that_the_gpu_cannot_hold_is_made_in_halves(tiny, images, monkeypatch):
    """Other processes on it may take what was free when the batch was chosen."""
    tried, invert = [], type(tiny).invert

    def tight(self, x, *arguments, **options):
        tried.append(len(x))
        if len(x) > room:
            raise torch.cuda.OutOfMemoryError("no room")
        return invert(self, x, *arguments, **options)

    monkeypatch.setattr(type(tiny), "invert", tight)
    room = 1
    found = experiments.inverted(tiny, images, "w+", batch=3, steps=2)
    assert tried == [3, 2, 1, 1, 1] and len(found) == 3 and not kept.failures().is_file()
    room = 0
    with pytest.raises(RuntimeError, match="3 of 3 inversions by w are missing.*no room"):
        experiments.inverted(tiny, images, "w", batch=3, steps=2)
    assert len(kept.failures().read_text().splitlines()) == 3


def test_inversions_that_use_other_spaces_make_one_batch(tiny, images):
    layer_map = torch.stack([torch.full((64, 64), i) for i in range(3)])
    found = experiments.inverted(tiny, images, layer_map=layer_map, steps=1, batch=1)
    assert set(found.deltas) == {"F4", "F6"} and not found.masks["F4"][0].any()
    alone = tiny.invert(images[1:2], layer_map=layer_map[1:2], steps=1, progress=False)
    assert torch.allclose(found.images[1:2], alone.images, atol=1e-3)


def test_one_image_without_padding_leaves_that_of_the_others(tiny, images):
    valid = torch.ones(2, 1, 64, 64)
    valid[1, ..., :20] = 0
    found = experiments.inverted(tiny, images[:2], "w+", steps=1, batch=1, valid=valid)
    assert torch.equal(found.valid, valid)


def test_a_gpu_has_done_its_work_when_the_clock_is_read(monkeypatch):
    done = []
    monkeypatch.setattr(torch.cuda, "synchronize", done.append)
    clock = experiments._clock(SimpleNamespace(device=torch.device("cuda", 1)))
    assert clock() <= clock() and done == [torch.device("cuda", 1)] * 2


def test_a_record_holds_numbers_parameters_digests_and_the_figure(tiny, tmp_path):
    figure = figures.grid(torch.zeros(1, 3, 8, 8))
    numbers = {"psnr": torch.tensor([1.0, float("nan")]), "rows": [{"n": 3}], "works": True}
    path = experiments.record("fig00", numbers, {"domain": "cars", "seed": 1}, figure, tiny, tmp_path)
    assert path == tmp_path / "fig00-cars.json" and {file.suffix for file in tmp_path.glob("fig00-cars.*")} == {".png", ".pdf", ".json"}
    read = json.loads(path.read_text())
    assert read["numbers"] == {"psnr": [1.0, None], "rows": [{"n": 3}], "works": True}
    assert read["parameters"]["seed"] == 1 and len(read["digests"][tiny.name]["generator"]) == 64
    assert {"seconds", "cpu_seconds", "device", "torch"} <= set(read)
    assert experiments.record("fig05", {}, {"domain": ""}, None, [tiny], tmp_path).name == "fig05.json"  # all domains


def test_a_segmenter_that_is_made_later_has_one_digest_of_its_own(images):
    names = "unsupervised", "deeplab", "ade20k"
    before = [kept.of_module(segmenters.named(name)) for name in names]
    assert len(set(before)) == 3
    called = segmenters.named("unsupervised")
    called(images[:1])
    assert kept.of_module(called) == before[0]


def test_comments_and_docstrings_do_not_change_what_code_does(tmp_path):
    texts = "x = 1\n", '"""Says."""\nx = 1  # one\n', "x = 2\n"
    files = [tmp_path / f"{i}.py" for i in range(3)]
    for file, text in zip(files, texts):
        file.write_text(text)
    first, second, third = map(kept.code_digest, files)
    assert first == second != third


def test_a_key_has_the_encoders_that_the_call_reads_and_no_other(tiny):
    tiny.start, tiny.encoders = "sam-encoder", {name: torch.nn.Linear(1, 1) for name in ("e4e", "sam-encoder")}
    read = {method: {*kept.parts_of(tiny, method, {})} & {*tiny.encoders} for method in ("sam", "w+", "w", "pti", "hybrid-e4e", "e4e")}
    assert read == {"sam": {"sam-encoder"}, "w+": {"sam-encoder"}, "w": set(), "pti": set(), "hybrid-e4e": {"e4e"}, "e4e": {"e4e"}}
    assert "e4e" in kept.parts_of(tiny, "w", {"start": "e4e"})
    assert "e4e" in kept.parts_of(tiny, "w+", {"start": ("e4e",)}) and "e4e" not in kept.parts_of(tiny, "w+", {})
    both = ("e4e", "sam-encoder")  # two names, and for all of the two images
    assert kept.rows({"start": both, "classes": ["van", "cat"]}, [1], 2) == {"start": both, "classes": ["cat"]}


def test_photographs_are_cut_to_the_aspect_of_a_domain(tiny, tmp_path):
    """A picture of 2:1 in a frame of 4:3: what is in the frame is the picture, none of it repeated border."""
    picture = torch.full((1, 3, 50, 100), -1.0)
    picture[..., 16:83] = 1.0  # of 50 rows the frame has 67 columns
    samlib.write_image(tmp_path / "a.png", picture)
    tiny.aspect = 4, 3
    found = experiments.inputs(tiny, str(tmp_path), 1).images
    assert found.shape[-1] == 64 and (found > 0.9).all()
    tiny.aspect = None
    assert experiments.inputs(tiny, str(tmp_path), 1).images.shape[-1] == 64
