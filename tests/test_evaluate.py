import json
import math

import pytest
import torch

from samlib import weights
from samlib.encode import SamEncoder
from samlib.metrics import psnr
from samlib.scenes import SEGMENTS
from samlib.training import evaluate as evaluation
from samlib.training import measures
from samlib.training.factors import FactorRegressor


@pytest.fixture(scope="module")
def folder(tiny_folder, tmp_path_factory):
    """The tiny domain with a regressor of untrained weights, and without a domain.json."""
    folder = tmp_path_factory.mktemp("evaluated")
    for file in tiny_folder.glob("*.safetensors"):
        (folder / file.name).write_bytes(file.read_bytes())
    torch.manual_seed(0)
    FactorRegressor(["size", "trees"], channels=(8, 8), hidden=8).eval().save(folder / "factors.safetensors")
    return folder


def call(folder, out, *more):
    return evaluation.main([str(folder), "--category", "cars", "--out", str(out), "--images", "2", "--steps", "2",
                            "--metric", "st-lpips-alex", "--device", "cpu", "--quantiles", "2", *more])


def test_a_start_from_the_encoder_is_where_the_encoder_ends(folder, tmp_path, monkeypatch):
    """A run whose learning rates are 0 has the encoder's image, changes of features and all."""
    domain = evaluation.load(folder, torch.device("cpu"), "st-lpips-alex")
    torch.manual_seed(0)
    encoder = SamEncoder.of(domain.generator, latent_width=4, width=4).eval()
    for parameter in encoder.parameters():  # an untrained encoder gives the mean w, and no change of features
        torch.nn.init.normal_(parameter, std=0.05)
    weights.save(encoder, folder / "sam-encoder.safetensors")
    rates = dict(learning_rate=0.0, delta_learning_rate=0.0)
    monkeypatch.setattr(measures, "optimize", lambda *a, optimize=measures.optimize, **k: optimize(*a, **(k | rates)))
    run = evaluation.Run(domain, "cars", 2, 2, tmp_path / "x.json", tau=0.3)
    images, result = run.scenes("challenging")[0], {}
    measures.starts(run, result, lambda: None, count=2, long=2, short=1)
    found = domain.invert(images, "sam-encoder", tau=0.3)
    assert result["images"] == 2 and result["tau"] == 0.3 and result["steps"] in (None, 1)
    assert result["mean"]["steps"] == 2 and result["encoder"]["steps"] == 1
    assert result["encoder"]["psnr"] == pytest.approx(float(psnr(found.images, images).mean()), abs=1e-3)
    assert result["encoder"]["psnr"] != result["mean"]["psnr"]


@pytest.mark.parametrize("more, said", [(["--metric", "eyes"], "eyes"), (["--device", "abacus"], "no device 'abacus'")])
def test_mistakes_on_the_command_line_get_one_line(folder, tmp_path, capsys, more, said):
    with pytest.raises(SystemExit):
        call(folder, tmp_path / "new" / "all.json", *more)
    assert said in capsys.readouterr().err and not (tmp_path / "new").exists()


def test_what_is_around_a_segment_by_hand():
    region = torch.zeros(1, 64, 64, dtype=torch.bool)
    region[0, 20:30, 40] = True
    found = measures.grown(region)[0].nonzero()
    assert found.min(0).values.tolist() == [14, 34] and found.max(0).values.tolist() == [35, 46]  # 64 * 24 / 256 = 6


@pytest.fixture()
def precision():
    """A function that sets TF32 of products and convolutions, if told to, and says what it is; as it was afterwards."""
    backends = torch.backends.cuda.matmul, torch.backends.cudnn

    def allow(*values):
        for backend, value in zip(backends, values):
            backend.allow_tf32 = value
        return tuple(backend.allow_tf32 for backend in backends)

    before = allow()
    yield allow
    allow(*before)


def test_laws_leave_the_precision_as_it_was(precision):
    """Whatever happens in between, here that there are no scenes."""
    seen = []

    class Run:
        def scenes(self, kind):
            seen.append(precision())
            raise ValueError("no scenes")

    for allowed in ((True, True), (False, True)):
        precision(*allowed)
        with pytest.raises(ValueError, match="no scenes"):
            measures.laws(Run(), {}, lambda: None)
        assert precision() == allowed
    assert seen == [(False, False)] * 2


def test_the_pictures_have_titles_and_the_colours_of_the_spaces(folder, tmp_path, monkeypatch):
    domain = evaluation.load(folder, torch.device("cpu"), "st-lpips-alex")
    figures = []
    monkeypatch.setattr(measures, "save", lambda figure, path: figures.append((figure, path)))
    run, result = evaluation.Run(domain, "cars", 2, 1, tmp_path / "x.json", tau=0.3), {}
    measures.pictures(run, result, lambda: None)
    figure, path = figures[0]
    titles = ["input", "layer map", "W+", "F4", "F6", "SAM, tau 0.3"]
    assert [axis.get_title() for axis in figure.axes] == titles + [""] * 6 and result["columns"] == titles
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["W+", "F4", "F6"]
    assert path == tmp_path / "x-methods.jpg" and result["file"] == path.name


def test_all_parts(folder, tmp_path):
    assert call(folder, tmp_path / "all.json") == 0
    found = json.loads((tmp_path / "all.json").read_text())
    plain, rows = found["reconstruction"]["challenging"], found["reconstruction"]["challenging"]["sam"]
    assert {"W+", "F4", "F6", "sam"} == {*plain} and len(rows) == 3
    assert all(math.isclose(sum(row["shares"].values()), 1, abs_tol=1e-5) for row in rows)
    assert found["tau"]["tau"] in [row["tau"] for row in rows]
    # Neither size nor trees: nothing to read the effect of these edits with.
    assert all("skipped" in found["edits"][name] for name in ("wheels", "colour"))
    size = found["edits"]["size"]
    assert size["w+"]["change_all"] != 0
    assert (size["w+"]["change_with_room"] is None) == (size["with_room"] == 0)
    assert max(found["laws"]["images_float64"], found["laws"]["w_plus_float64"]) < 1e-9
    files = {file.name for file in tmp_path.glob("*.jpg")}
    assert files == {"all-edit-size.jpg", "all-edit-trees.jpg", "all-methods.jpg"}


def test_a_part_that_fails_leaves_the_others(folder, tmp_path):
    for file in folder.glob("[!f]*.safetensors"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert call(tmp_path, tmp_path / "some.json", "--parts", "edits", "pictures", "--tau", "0.3") == 1
    found = json.loads((tmp_path / "some.json").read_text())
    assert "error" in found["edits"] and "error" not in found["pictures"] and "SAM, tau 0.3" in found["pictures"]["columns"]


class Row:
    """A Run that has only numbers: PSNR, LPIPS and share of W+ for each tau."""

    class domain:
        spaces = ("W+",)

    def __init__(self, rows, tau=None):
        self.rows, self.tau = {"W+": (15.0, 0.5, 1.0), **rows}, tau

    def once(self, key, make):
        psnr, lpips, share = self.rows.get(key[2], (0.0, 1.0, 0.0))
        return {"psnr": psnr, "lpips": lpips, "shares": {"W+": share}, "tau": key[2]}


@pytest.mark.parametrize("rows, tau, reached", [
    ({0.1: (25.0, 0.1, 0.1), 0.2: (19.1, 0.34, 0.6), 0.3: (18.9, 0.3, 0.8)}, 0.2, True),  # 0.3 gains 3.9 dB only
    ({0.1: (18.0, 0.1, 0.1), 0.2: (19.1, 0.36, 0.6), 0.3: (16.0, 0.3, 0.8)}, 0.2, False),  # 0.2: LPIPS 0.72 times W+
])
def test_choice_of_tau(monkeypatch, rows, tau, reached):
    monkeypatch.setattr(measures, "quantile_taus", lambda run: list(rows))
    run, result = Row(rows), {}
    measures.choose_tau(run, result, lambda: None)
    assert (run.tau, result["reached"]) == (tau, reached)


def test_a_run_that_has_its_tau_is_measured_at_that_alone(monkeypatch):
    monkeypatch.setattr(measures, "quantile_taus", lambda run: [0.1, 0.2])
    run, result = Row({0.1: (25.0, 0.1, 0.9), 0.15: (18.0, 0.1, 0.1)}, tau=0.15), {}
    measures.choose_tau(run, result, lambda: None)
    assert (run.tau, result["reached"], result["gain"]) == (0.15, False, 3.0)


def test_the_segment_of_an_edit():
    ids = [SEGMENTS["cars"].index(name) for name in ("sky", "tree", "car", "wheel")]

    class Scenes:
        category = "cars"

        def scenes(self, kind):
            return None, torch.tensor([[ids]])

    assert measures.concerned(Scenes(), "trees").tolist() == [[[False, True, False, False]]]
    assert measures.concerned(Scenes(), "size").tolist() == [[[False, False, True, True]]]


def test_inside_is_the_mean_of_a_region():
    values, region = torch.tensor([[[1.0, 3.0, 9.0]]] * 2), torch.tensor([[[1, 1, 0]], [[0, 0, 0]]]).bool()
    found = measures.inside(values, region)
    assert found[0] == 2 and found[1].isnan()
