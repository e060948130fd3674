"""The quoted numbers: that they are whole, and agree with what the paper's text says of them."""

from samlib import methods, official, published
from samlib.spaces import stylegan2_spaces
from samlib.training.category import EDITS

SPACES = stylegan2_spaces(48, {2**i: 8 for i in range(2, 9)})


def test_every_row_is_a_method_and_has_every_category():
    assert {*published.TABLE1, *published.TABLE2, *published.TABLE4} <= {*methods.names(SPACES)}
    assert len(published.TABLE1) == 10 and all(len(row) == len(published.CATEGORIES) for row in published.TABLE1.values())


def test_sam_is_first_in_the_paper_s_table_1():
    for category in published.CATEGORIES:
        rows = {method: published.table1(method, category) for method in published.TABLE1}
        assert min(rows, key=lambda name: rows[name][0]) == max(rows, key=lambda name: rows[name][1]) == "sam"
    assert published.table1("sam", "cars") == (0.16, 22.81) and published.table1("F4", "cars") is None


def test_the_ticks_are_of_edits_that_there_are():
    assert all({*rows} <= {*EDITS[category]} for category, rows in published.TABLE3.items())
    assert published.ticks("cars", "trees", ["W+", "F4", "F6", "F8", "F10"]) == [True, True, False, False, False]
    assert sum(count == 5 for rows in published.TABLE3.values() for count in rows.values()) == 2  # Sec. 6.4: two edits work in F10
    assert published.ticks("cars", "van", ["W+"]) is None


def test_an_official_domain_is_of_the_paper_s_category():
    assert {*published.OFFICIAL} <= {*official.OFFICIAL}
    assert published.table1("sam", "ffhq") == published.table1("sam", "faces") and published.table1("sam", "my_domain") is None
    assert published.ticks("lsun-cars", "size", ["W+", "F4"]) == [True, False] and published.category("imagenet-128") is None
