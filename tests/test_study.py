"""The study without a browser: blinding, resuming, what the file holds, and the interval by hand."""

import pytest
import torch

from samlib import study

SHADES = {"input": 0.0, "sam": 1.0, "w+": -1.0, "pti": -0.5}


def pictures(task, method, image):
    return torch.full((1, 3, 8, 8), SHADES[method])


def test_every_question_is_asked_once_and_the_sides_are_drawn():
    pairs = study.plan(20, ["w+", "pti"], seed=3)
    assert sorted((p.task, p.baseline, p.image) for p in pairs) == sorted(
        (task, baseline, i) for task in study.TASKS for baseline in ("w+", "pti") for i in range(20))
    assert 20 < sum(p.sam_side == "left" for p in pairs) < 60
    assert pairs == study.plan(20, ["w+", "pti"], seed=3) != study.plan(20, ["w+", "pti"], seed=4)


def test_sam_is_on_the_side_that_the_plan_says(tmp_path):
    for pair in study.plan(4, ["w+"]):
        shown = study.Study([pair], pictures, tmp_path / "answers.csv").shown()
        other = {"left": "right", "right": "left"}[pair.sam_side]
        assert float(shown[pair.sam_side].mean()) == 1 and float(shown[other].mean()) == -1 and float(shown["input"].mean()) == 0


def test_answers_are_kept_and_not_asked_again(tmp_path):
    path, pairs = tmp_path / "new" / "answers.csv", study.plan(3, ["w+"])
    first = study.Study(pairs, pictures, path)
    first.answer("left")
    first.answer("right")
    assert [row["chosen"] for row in study.read(path)] == ["left", "right"]
    assert study.Study(pairs, pictures, path).left == pairs[2:]
    assert study.Study(pairs, pictures, path, rater="2").left == pairs


def test_repeats_are_asked_as_often(tmp_path):
    path, pairs = tmp_path / "answers.csv", study.plan(1, ["w+"], ["inversion"], repeats=2)
    study.Study(pairs, pictures, path).answer("left")
    assert len(study.Study(pairs, pictures, path).left) == 1


def test_refusals(tmp_path):
    path = tmp_path / "answers.csv"
    asked = study.Study(study.plan(1, ["w+"], ["inversion"]), pictures, path)
    with pytest.raises(ValueError, match="the rater is ''"):
        study.Study([], pictures, path, rater="")
    with pytest.raises(ValueError, match="want 'left' or 'right'"):
        asked.answer("up")
    asked.answer("left")
    with pytest.raises(ValueError, match="every question has been answered"):
        asked.answer("left")
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="has the columns a, b"):
        study.read(path)


def answers(chosen):
    return [dict(rater="1", task="inversion", baseline="w+", image=i, sam_side="left", chosen=side) for i, side in enumerate(chosen)]


def test_shares_and_intervals():
    found = study.preferences(answers(["left"] * 75 + ["right"] * 25))["inversion", "w+"]
    assert found["share"] == 0.75 and found["answers"] == 100
    assert abs(found["low"] - (0.75 - 1.96 * 0.0433)) < 0.02 and abs(found["high"] - (0.75 + 1.96 * 0.0433)) < 0.02  # sqrt(p q / n)
    sure = study.preferences(answers(["left"] * 10))["inversion", "w+"]
    assert (sure["low"], sure["share"], sure["high"]) == (1, 1, 1)
    assert study.preferences([]) == {}


def test_answers_to_one_image_count_as_one_draw():
    once, often = answers(["left", "right"] * 5), answers(["left", "right"] * 5) * 50
    narrow = [study.preferences(rows)["inversion", "w+"] for rows in (once, often)]
    assert narrow[0]["low"] == narrow[1]["low"] and narrow[0]["high"] == narrow[1]["high"]


def test_the_page_takes_buttons_and_keys(tmp_path):
    path, pairs = tmp_path / "answers.csv", study.plan(3, ["w+"], ["inversion"])
    page = study.Page(study.Study(pairs, pictures, path))
    before = page.pictures["left"].value
    page.buttons["left"].click()
    page.field.value = "J"
    assert page.field.value == "" and [row["chosen"] for row in study.read(path)] == ["left", "right"]
    page.field.value = "x"
    assert len(study.read(path)) == 2 and before
    assert "3 of 3" in page.note.value and "sam" not in page.note.value
    page.field.value = "fff"
    assert len(study.read(path)) == 3 and "Thank you" in page.note.value and page.buttons["left"].disabled


def test_an_answer_that_cannot_be_written_is_asked_again(tmp_path):
    path, pairs = tmp_path / "answers.csv", study.plan(2, ["w+"], ["inversion"])
    asked = study.Study(pairs, pictures, path)
    path.mkdir()  # nothing can be written there
    with pytest.raises(OSError):
        asked.answer("left")
    assert asked.pair == pairs[0]
    path.rmdir()
    asked.answer("left")
    assert asked.left == pairs[1:] and len(study.read(path)) == 1


def test_a_last_line_without_an_end_is_ended_first(tmp_path):
    path, pairs = tmp_path / "answers.csv", study.plan(2, ["w+"], ["inversion"])
    study.Study(pairs, pictures, path).answer("left")
    path.write_bytes(path.read_bytes().rstrip())
    study.Study(pairs, pictures, path).answer("right")
    assert [row["chosen"] for row in study.read(path)] == ["left", "right"]


@pytest.mark.parametrize("row, words", [
    ("1,inversion,w+,3", "sam_side is missing"), ("1,inversion,w+,,left,left", "image is missing"),
    ("1,inversion,w+,x,left,left", "image is x"), ("1,inversion,w+,-1,left,left", "image is -1"),
    ("1,inversion,w+,1,left,lef", "chosen is lef"), ("1,guess,w+,1,left,left", "task is guess"),
    ("1,inversion,w+,1,left,left,right", "more than 6 columns"), (",inversion,w+,1,left,left", "rater is missing"),
    ("1,inversion,,1,left,left", "baseline is missing")])  # fmt: skip
def test_a_row_that_is_no_answer_is_named_by_its_line(row, words, tmp_path):
    path = tmp_path / "answers.csv"
    path.write_text(f"{','.join(study.COLUMNS)}\n1,editing,w+,0,left,right\n{row}\n")
    with pytest.raises(ValueError, match=f"answers.csv, line 3: {words}"):
        study.read(path)
