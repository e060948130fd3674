"""RESULTS.md on JSON files made by hand: what agrees, what does not, what was not run, and the page that is committed."""

import json
import os
import re

import pytest

from samlib import checks_of_figures as checks
from samlib import claims, paths, results
from samlib.__main__ import main

WEIGHTS = "0123456789abcdef"


def record(folder, name, numbers, domain="cars", **parameters):
    """As `experiments.record` writes it."""
    content = {"name": name, "numbers": numbers, "parameters": {"domain": domain, "profile": "quick", **parameters},
               "digests": {domain: {"generator": WEIGHTS}}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}-{domain}.json").write_text(json.dumps(content))


def claim(says, where=""):
    """The one whose text begins like this."""
    found, = [one for one in claims.CLAIMS if one.says.startswith(says) and where in one.where]
    return found


def row_of(found, claim, domain="cars"):
    row, = [row for row in found if row.claim is claim and row.domain == domain]
    return row


@pytest.fixture()
def folders(tmp_path):
    return tmp_path / "figures", tmp_path / "figures" / "quick"


RISES = claim("The PSNR rises")


def test_a_claim_that_fails_is_shown_as_failing_with_our_numbers(folders):
    record(folders[0], "fig03", {"psnr": {"W+": 18.62, "F4": 24.26, "F6": 22.18}}, profile="full", images=64, steps=500)
    row = row_of(results.rows(folders[0]), RISES)
    assert row.agrees is False and row.ours == "W+ 18.6, F4 24.3, F6 22.2 dB"
    page = results.page([row]).splitlines()
    line, = [line for line in page if line.startswith("| Figure 3")]
    assert line.endswith("**does not agree**, [1](#why) |") and "quick" not in line and "1. Not known." in page
    assert "full, 64 images, 500 steps; `figures/fig03-cars.json`" in line


def test_a_claim_that_holds_agrees_and_gives_no_reason(folders):
    record(folders[0], "fig03", {"psnr": {"W+": 18.0, "F4": 19.0}}, profile="full")
    row = row_of(results.rows(folders[0]), RISES)
    assert row.agrees and row.note == "" and results.verdict(row, []) == "agrees"
    assert "Nothing." in results.page([row]).splitlines()


def test_a_reason_that_several_have_is_written_once_and_found_by_its_number():
    bad = results.Run({"psnr": {"W+": 2.0, "F4": 1.0}}, "full", "", "x.json", "a")
    common = {"cars full a": "steps", "faces full a": "steps"}
    first, second = (claims.Claim("here", says, "fig03", RISES.check, why=common | {"cats full a": why})
                     for says, why in (("One.", "rates"), ("Two.", "steps")))
    found = [results.judge(one, domain, bad) for one in (first, second) for domain in ("cars", "cats", "faces")]
    assert results.reasons_of(found) == ["steps", "rates"]
    page = results.page(found)
    assert "- here: One. Not so in cars [1](#why), cats [2](#why), faces [1](#why)." in page
    assert page.endswith("## Why\n\n1. Steps.\n2. Rates.\n")


def test_a_full_run_counts_before_a_small_one_and_that_before_a_quick_one(folders):
    for folder, profile, last in ((folders[1], "quick", 20.0), (folders[0] / "small", "small", 21.0), (folders[0], "full", 22.0)):
        record(folder, "fig03", {"psnr": {"W+": 18.0, "F4": last}}, profile=profile, images=4)
        row = row_of(results.rows(folders[0]), RISES)
        assert row.run.profile == profile and f"F4 {last}" in row.ours
        assert results.verdict(row, []) == {"quick": "agrees (quick run only)", "small": "agrees (small run)", "full": "agrees"}[profile]


def test_equal_numbers_do_not_rise(folders):
    record(folders[0], "fig03", {"psnr": {"W+": 18.0, "F4": 18.0}}, profile="full")
    assert row_of(results.rows(folders[0]), RISES).agrees is False


@pytest.mark.parametrize("middle, agrees", [(22.0, True), (24.5, False), (19.5, False)])
def test_every_step_of_tau_counts_not_the_ends_alone(folders, middle, agrees):
    rows = {"0.1": (24.0, 0.2), "0.2": (middle, 0.5), "0.8": (20.0, 1.0)}
    record(folders[0], "tau", {tau: {"psnr": psnr, "shares": {"W+": share}} for tau, (psnr, share) in rows.items()}, profile="full")
    assert row_of(results.rows(folders[0]), claim("The smaller tau")).agrees is agrees


def test_what_no_run_has_is_listed_as_not_run(folders):
    found = results.rows(folders[0])
    assert [row.agrees for row in found] == [None] * sum(len(one.domains) for one in claims.CLAIMS)
    lines = results.table(found)[2:]
    assert len(lines) == len(claims.CLAIMS) and all(line.endswith("| not run |") for line in lines)
    assert f"Not run: {len(found)} of {len(found)} " in results.page(found)


def test_a_number_that_a_run_has_not_is_named_and_not_assumed(folders):
    record(folders[0], "table1", {"methods": {"w+": {"psnr": 20.0, "lpips": 0.3}}}, profile="full")
    row = row_of(results.rows(folders[0]), claim("W+ gives better inversions than W"))
    assert row.agrees is None and results.verdict(row, []) == "not run: the run lacks w"
    record(folders[0], "fig05", {"psnr": [None], "moved": {}, "permitted": {}}, profile="full")  # NaN is written as null
    assert row_of(results.rows(folders[0]), claim("Inversions closely match")).agrees is None


def test_a_quick_run_says_so_and_a_full_one_comes_before_it(folders):
    record(folders[1], "fig03", {"psnr": {"W+": 15.0, "F4": 16.0}}, images=1, inverted=1, steps=14)
    row = row_of(results.rows(folders[0]), RISES)
    assert results.verdict(row, []) == "agrees (quick run only)"
    line, = [line for line in results.table([row]) if line.startswith("| Figure 3")]
    assert "quick, 1 image, 1 inverted, 14 steps; `figures/quick/fig03-cars.json`" in line
    record(folders[0], "fig03", {"psnr": {"W+": 19.0, "F4": 18.0}}, profile="full")
    assert "quick" not in results.verdict(row_of(results.rows(folders[0]), RISES), ["not known"])


def test_a_reason_is_that_of_the_weights_it_was_found_on(folders):
    record(folders[0], "fig03", {"psnr": {"W+": 19.0, "F4": 18.0}}, profile="full")
    run = results.find("fig03", "cars", folders[0])
    known = claims.Claim("here", "rises", "fig03", RISES.check, why={"cars full 01234567": "too few steps"})
    other = claims.Claim("here", "rises", "fig03", RISES.check, why={"cars full ffffffff": "too few steps"})
    assert results.judge(known, "cars", run).note == "too few steps"
    assert results.judge(other, "cars", run).note == "not known"
    holds = results.Run({"psnr": {"W+": 1.0, "F4": 2.0}}, "full", "", "", "01234567")
    assert results.judge(known, "cars", holds).note == ""


def test_the_training_s_numbers_are_found_by_their_place(folders):
    folder = folders[0] / "training"
    folder.mkdir(parents=True)
    tau = {"gain": -0.25, "lpips_ratio": 1.0371}
    (folder / "cats.json").write_text(json.dumps({"evaluation": {"images": 64, "steps": 100, "tau": tau}}))
    row = row_of(results.rows(folders[0]), claim("SAM is closer to the image than W+."), "cats")
    assert (row.ours, row.agrees, row.run.setting) == ("-0.2 dB, LPIPS x1.04", False, "64 images, 100 steps")
    assert results.find("training:predictor", "cats", folders[0]) is None


def test_figure_6_is_judged_by_its_notebook_and_by_the_training_alike(folders):
    change = {"changed": 0.9, "pose_kept": 0.9, "both": 0.85, "images": 8}
    numbers = {"z+": {"psnr": 20.0}, "sam-F2": {"psnr": 23.5}, "class_change_z+": change, "class_change_sam-F2": change | {"both": 0.7}}
    record(folders[0], "fig06", numbers, "biggan-scenes", profile="full")
    (folders[0] / "training").mkdir()
    (folders[0] / "training" / "biggan-scenes.json").write_text(json.dumps({"evaluation": numbers | {"class_change_sam-F2": change}}))
    found = [row for row in results.rows(folders[0]) if "biggan-scenes" in row.claim.domains]
    assert [(row.run.profile, row.agrees) for row in found] == [("full", True), ("training", True), ("full", False), ("training", True)]
    assert found[0].ours == found[1].ours == "Z+ alone 20.0 dB, Z+ and F2 23.5 dB (+3.5)"
    assert found[2].ours == "class changed and pose kept: z+ 85%, sam-F2 70%"


def test_a_record_of_several_categories_is_read_category_by_category(folders):
    folders[1].mkdir(parents=True)
    numbers = {"cars": {"psnr": [20.0, 24.0]}, "cats": {"psnr": [12.34]}}
    (folders[1] / "fig05.json").write_text(json.dumps({"name": "fig05", "numbers": numbers, "parameters": {"profile": "quick"}}))
    found, close = results.rows(folders[0]), claim("Inversions closely match")
    assert (row_of(found, close).ours, row_of(found, close, "cats").ours) == ("22.0 dB", "12.3 dB")
    assert row_of(found, close, "horses").agrees is None
    assert row_of(found, close, "cats").run.file == "figures/quick/fig05.json"


def test_table_1_is_judged_by_the_best_other_method_of_each_measure(folders):
    methods = {"w+": {"lpips": 0.2, "psnr": 18.0}, "pti": {"lpips": 0.3, "psnr": 21.0}, "sam": {"lpips": 0.16, "psnr": 22.0},
               "e4e": {"lpips": 0.1, "psnr": 30.0}}  # an encoder is not among the optimizations
    record(folders[0], "table1", {"methods": methods}, profile="full")
    found = results.rows(folders[0])
    first = row_of(found, claim("SAM-optimization is first"))
    assert first.agrees and "x0.80" in first.ours and "(+1.0)" in first.ours and "without w, gaussian, hybrid-e4e" in first.ours
    far = row_of(found, claim("It is so by far"))
    assert far.agrees is False
    assert first.claim.quoted("cars") == "sam: LPIPS 0.16 (x0.67), 22.81 dB (+3.4)"  # 0.16 / 0.24 of W+, 22.81 - 19.39 of PTI
    assert row_of(found, claim("SAM-encoder is first")).agrees is None


def test_ticks_that_differ_from_the_paper_s_are_named(folders):
    spaces = ("W+", "F4", "F6", "F8", "F10")
    verdicts = {"size": dict(zip(spaces, [True] + [False] * 4)), "trees": dict(zip(spaces, [True] + [False] * 4))}
    record(folders[0], "table3", {"verdicts": verdicts}, profile="full")
    row = row_of(results.rows(folders[0]), claim("Which space allows"))
    assert row.agrees is False and row.ours == "9 of 10 alike; trees in F4 does not"


def test_people_who_were_not_asked_prefer_nothing(folders):
    record(folders[0], "table2", {"people": [], "measured": {}}, profile="full")
    assert row_of(results.rows(folders[0]), claim("People prefer")).agrees is None


def test_how_real_edits_are_is_read_beside_how_real_the_inversions_were(folders):
    measured = {"sam": {"kid": 0.02, "kid_before": 0.01}, "w+": {"kid": 0.05, "kid_before": 0.04}}
    record(folders[0], "table2", {"people": [], "measured": measured}, profile="full")
    row = row_of(results.rows(folders[0]), claim("No people, but measured on such pairs: SAM's edited images are the most real"))
    assert row.agrees and row.ours.startswith("KID of the edited images: sam 0.0200, w+ 0.0500 (before the edit sam 0.0100, w+ 0.0400)")


def test_a_file_that_is_no_json_is_named(folders):
    folders[0].mkdir()
    (folders[0] / "fig03-cars.json").write_text("{")
    with pytest.raises(ValueError, match="fig03-cars.json is no JSON"):
        results.rows(folders[0])


def test_every_figure_and_table_has_a_claim_and_a_row_on_the_page_that_is_committed():
    page = (paths.ROOT / "RESULTS.md").read_text()
    for number in [*(f"Figure {i}" for i in range(1, 16)), *(f"Table {i}" for i in range(1, 5))]:
        assert re.search(rf"^\| [^|]*\b{number}\b", page, re.M), number
    for one in claims.CLAIMS:
        assert one.says in page


def test_the_page_that_is_committed_is_what_the_committed_files_say():
    page = (paths.ROOT / "RESULTS.md").read_text()
    assert page == results.page(results.rows()), "python -m samlib results writes it again"
    assert all((paths.ROOT / file).is_file() for file in re.findall(r"`(\S+\.json)`", page))


def test_quick_records_that_judge_something_are_kept_and_no_others(tmp_path):
    figures, outputs = tmp_path / "figures", tmp_path / "outputs"
    for name, domain in (("fig03", "cars"), ("fig03", "cats"), ("fig04", "cars"), ("notes", "cars")):
        record(outputs, name, {"psnr": {"W+": 15.0}}, domain)
    record(outputs, "fig02", {}, profile="full")  # of a run that was told another folder
    record(figures, "fig03", {"psnr": {"W+": 19.0}}, "cats", profile="full")
    record(figures / "small", "fig04", {"psnr": {"W+": 19.0}}, profile="small")
    record(figures / "quick", "fig03", {"psnr": {"W+": 14.0}}, "cats")  # a full run has come since
    record(figures / "quick", "fig03", {"psnr": {"W+": 14.0}})
    record(figures / "quick", "fig01", {"psnr": {"W+": 14.0}})  # not run again
    os.utime(figures / "quick" / "fig03-cars.json", (0, 0))  # run again since
    results.keep_quick(outputs, figures)
    assert {file.name for file in (figures / "quick").iterdir()} == {"fig01-cars.json", "fig03-cars.json"}
    assert results.find("fig03", "cars", figures).numbers == {"psnr": {"W+": 15.0}}

    there = figures / "quick" / "fig03-cars.json"
    os.utime(outputs / "fig03-cars.json", (there.stat().st_mtime - 60,) * 2)
    there.write_text(there.read_text().replace("15.0", "16.0"))  # newer than the output, so it stays
    results.keep_quick(outputs, figures)
    assert results.find("fig03", "cars", figures).numbers == {"psnr": {"W+": 16.0}}


def test_the_command_writes_the_page(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(paths, "FIGURES", tmp_path / "figures")
    monkeypatch.setattr(paths, "OUTPUTS", tmp_path / "outputs")
    record(tmp_path / "outputs" / "figures", "fig12", {"by class": {"psnr_object": 15.04, "psnr": 17.0},
                                                        "predicted": {"psnr_object": 16.0, "psnr": 18.0}})
    assert main(["results", "--out", str(tmp_path / "page.md")]) == 0
    assert "by class 15.0, predicted 16.0 dB" in (tmp_path / "page.md").read_text()
    assert (tmp_path / "figures" / "quick" / "fig12-cars.json").is_file()
    assert "quick run only | 1 | 0" in capsys.readouterr().out


def test_a_setting_names_the_methods_that_had_fewer_images():
    how = {"images": 300, "steps": 200, "few": {"pti": 20}, "kind": "ordinary"}
    assert results.setting(how) == "300 images, 200 steps, 20 of pti, ordinary"


def test_an_edit_that_does_nothing_keeps_the_rest_and_wins_nothing():
    rows = {"w+": {"change": {"red": 0.4, "size": 0.2}, "rest": {"red": 0.04, "size": 0.02}},
            "sam": {"change": {"red": 0.02, "size": 0.04}, "rest": {"red": 0.01, "size": 0.01}}}
    text, agrees = checks.keeps_the_rest(rows, "cars")
    assert not agrees and text == "w+ 0.100, sam 0.333 (of the change w+ 0.0300, sam 0.0100)"
    text, agrees = checks.goes_as_far(rows, "cars")
    assert not agrees and text == "of what they promise: w+ 0.30, sam 0.03"
    assert checks.goes_as_far({"w+": rows["w+"], "sam": {"change": 0.22, "rest": 0.01}}, "cars")[1]
    changed = {"W+": {"a": 0.1}, "F10": {"a": 1e-5}, "SAM": {"a": 1e-3}}  # 100 times as much as F10, and not to be seen
    picture = {"psnr": {"W+": 20.0, "F10": 30.0, "SAM": 25.0}, "lpips": {"W+": 0.2, "F10": 0.0, "SAM": 0.1}, "changed": changed}
    assert not checks.teaser(picture, "cars")[1] and checks.teaser(picture | {"changed": changed | {"SAM": {"a": 0.01}}}, "cars")[1]


def test_run_times_count_from_an_eighth_of_sam_s_own_on():
    seconds = [0.0070, 0.0075, 0.0080, 0.0085]
    lead = {"from": 0.0078, "seconds": [0.0070, 0.0080, 0.0085], "dB": [-1.0, 0.5, 2.0]}
    numbers = {"curves": {"sam": {"seconds": seconds}}, "lead": lead}
    text, agrees = checks.runtime(numbers, "cars")
    assert agrees and text.startswith("+0.5 to +2.0 dB over the best other, from 7.8 ms an image on; -1.0 dB at 7.0 ms, with SAM's first")
    lead["dB"][1] = -0.1
    assert not checks.runtime(numbers, "cars")[1]
    points = {"sam-encoder": {"seconds": [0.007], "psnr": [19.0]}, "e4e": {"seconds": [0.001], "psnr": [16.0]}}
    curves = {"w+": {"seconds": [0.002, 0.004], "psnr": [18.0, 19.5]}}
    text, agrees = checks.encoders_take({"points": points, "curves": curves}, "cars")
    assert not agrees and text == "sam-encoder 7.0, e4e 1.0 ms an image; the optimization in W+ comes as far in 4.0 ms"
