"""Tables: digits that follow from the error, and names that can act in no format."""

import html.parser
import io
import re

import numpy as np
import pandas as pd
import pytest

from alpaca_analysis import (
    check_claims,
    check_correlation,
    compare,
    from_counts,
    show,
    to_csv,
    to_html,
    to_latex,
    to_leaderboard,
    to_markdown,
    win_rate,
)
from alpaca_analysis.present.rendering import Table, decimals, format_number, printable

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "handler": '"><img src=x onerror=alert(1)>',
    "link": "[x](javascript:alert(1))",
    "formula": '=HYPERLINK("http://example.org","x")',
    "plus": "+1+cmd|' /C calc'!A0",
    "at": "@SUM(1)",
    "tab": "\t=1+1",
    "latex": r"\input{/etc/passwd}",
    "maths": "$x^2_1$ & 50% #1 ~{}",
    "row option": "[1cm] *",
    "escape": "gpt4\x1b[2J\x1b]0;owned\x07",
    "lines": "a\nb\r\nc\u2028d",
    "reversed": "abc\u202edcba",
    "pipe": "a | b `c` **d** <b>",
    "wide": "模型-七",
}


@pytest.fixture(scope="module")
def xwin():
    return from_counts(
        {"model": ["xwinlm-70b-v0.1", "xwinlm-7b-v0.1"], "n_wins": [765, 703], "n_losses": [35, 97],
         "n_draws": [1, 1]}
    )  # fmt: skip


@pytest.fixture(scope="module")
def hostile():
    names = list(HOSTILE.values())
    n = len(names)
    return win_rate(
        from_counts(
            {"model": names, "n_wins": range(90, 90 - n, -1), "n_losses": [10] * n, "n_draws": [0] * n}
        ),
        method="t",
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (0.724941926, 2),
        (0.0994, 3),
        (0.0996, 2),
        (0.995, 2),
        (9.96, 0),
        (1.154, 1),
        (15.0, 0),
        (2e-5, 6),
        (0, 2),
    ],
)
def test_decimals_show_two_significant_digits_of_the_error(error, expected):
    assert decimals(error) == expected
    if error:
        digits = re.sub(r"^0*\.?0*", "", format_number(error, expected)).replace(".", "")
        assert len(digits) >= 2


def test_show_gives_the_published_win_rates_with_their_errors(xwin):
    cells = show(win_rate(xwin, method="bca")).cells
    assert cells["win rate (%)"].tolist() == ["95.57 ± 0.72", "87.8 ± 1.2"]
    low, high = (float(x) for x in cells["95 % interval (%)"][0].split(" to "))
    assert low == pytest.approx(93.95, abs=0.1)
    assert high == pytest.approx(96.82, abs=0.1)
    assert cells["wins"].tolist() == ["765", "703"]


def test_show_names_the_method_and_the_unit_under_the_table(xwin):
    text = str(show(win_rate(xwin, method="bca", n_resamples=999)))
    assert (
        text.splitlines()[-1] == "Method: mean outcome; interval: bca; unit: judgement (no instruction ids)"
    )


def test_show_sets_differences_in_points_and_small_p_values_as_bounds(xwin):
    table = show(compare(xwin, "xwinlm-7b-v0.1", "xwinlm-70b-v0.1"))
    assert table.cells.loc[0, "difference (points)"] == "−7.7 ± 1.4"
    assert table.cells.loc[0, "p"] == "< 0.001"
    assert "taken as independent samples" in table.caption


def test_show_leaves_published_percent_and_unknown_columns_as_they_are():
    frame = pd.DataFrame(
        {
            "model": ["a"],
            "win_rate": [95.568],
            "standard_error": [0.7249],
            "mode": ["community"],
            "x": [0.123456],
        }
    )
    cells = show(frame, estimate="win_rate").cells
    assert cells.iloc[0].tolist() == ["a", "95.57 ± 0.72", "community", "0.1235"]


def test_show_marks_what_is_undefined_and_says_why():
    frame = pd.DataFrame(
        {"model": ["a", "b"], "win_rate": [0.5, 1.0], "standard_error": [0.01, 0.0], "ci_low": [0.48, np.nan],
         "ci_high": [0.52, np.nan], "note": ["", "interval undefined: all outcomes are equal"]}
    )  # fmt: skip
    cells = show(frame, estimate="win_rate", fractions=["win_rate"]).cells
    assert cells["win rate (%)"].tolist() == ["50.0 ± 1.0", "100.0 ± 0.0"]
    assert cells["interval (%)"].tolist() == ["48.0 to 52.0", "–"]
    assert cells["note"].tolist() == ["", "interval undefined: all outcomes are equal"]


def test_show_takes_correlations_as_they_are():
    frame = pd.DataFrame({"statistic": [0.942], "ci_low": [0.830], "ci_high": [0.981], "n": [15]})
    assert show(frame, estimate="statistic").cells.iloc[0].tolist() == ["0.942", "0.830 to 0.981", "15"]


def test_show_keeps_lengths_of_a_response_in_characters():
    frame = pd.DataFrame({"annotator": ["a"], "difference": [-244.03], "outcome": [0.2334],
                          "standard_error": [0.0123], "ci_low": [0.211], "ci_high": [0.259], "n": [3289]})  # fmt: skip
    shown = show(frame, estimate="outcome", fractions=["outcome"])
    assert shown.cells.iloc[0].tolist() == ["a", "−244", "23.3 ± 1.2", "21.1 to 25.9", "3,289"]


def test_show_leaves_other_published_win_rates_in_percent_too():
    frame = pd.DataFrame({"point": [1], "auto_win_rate": [92.92], "human_win_rate": [69.78]})
    assert show(frame).cells.iloc[0].tolist() == ["1", "92.92", "69.78"]


def test_show_takes_objects_with_to_frame_and_refuses_others(xwin):
    class Result:
        def to_frame(self):
            return win_rate(xwin, method="t")

    assert str(show(Result())) == str(show(win_rate(xwin, method="t")))
    with pytest.raises(TypeError, match="found list"):
        show([1, 2])


def test_show_of_an_empty_frame_has_its_header():
    assert str(show(pd.DataFrame({"model": [], "n_total": []}))).startswith("model")


def test_the_same_result_gives_the_same_html(xwin):
    first, second = (show(win_rate(xwin, method="t"))._repr_html_() for _ in range(2))
    assert first == second
    assert "id=" not in first


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text.append(data)


def test_names_cannot_act_in_html(hostile):
    parser = Tags()
    parser.feed(show(hostile).to_html())
    assert parser.tags == {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert parser.attributes == {"style", "scope"}
    for name in HOSTILE.values():
        assert printable(name) in parser.text


def test_column_names_and_captions_cannot_act_either():
    frame = pd.DataFrame({"<script>x</script>": ["a"]})
    frame.attrs = {"method": "<script>", "unit": "\x1b[31m"}
    parser = Tags()
    parser.feed(show(frame).to_html())
    assert "script" not in parser.tags
    assert "\x1b" not in str(show(frame))


def test_names_cannot_act_in_a_terminal(hostile):
    text = str(show(hostile))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", text)
    assert len(text.splitlines()) == 1 + len(hostile) + 1  # header, rows, caption
    assert r"gpt4\x1b[2J\x1b]0;owned\x07" in text


def test_plain_text_stands_in_columns_whatever_the_script_of_a_name():
    table = Table(pd.DataFrame({"model": ["模型", "ab"], "n": ["1", "22"]}), (False, True))
    assert str(table).splitlines() == ["model   n", "模型    1", "ab     22"]


def test_names_cannot_act_in_markdown(hostile):
    lines = [line for line in to_markdown(hostile).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(hostile)
    columns = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
    assert columns == {show(hostile).cells.shape[1] + 1}
    text = "\n".join(lines)
    assert not re.search(r"<[a-z/]", text)
    assert not re.search(r"(?<!\\)[\[\]`*$]", text)


def test_names_cannot_act_in_latex(hostile):
    body = to_latex(hostile)
    allowed = {
        *("begin", "end", "toprule", "midrule", "bottomrule", "textbackslash", "textasciicircum"),
        *("textasciitilde", "textless", "textgreater", "textbar", "textquotedbl", "textasciigrave"),
        *("textquotesingle", "pm", "dots", "shortstack", "par", "smallskip", "footnotesize", "noindent"),
        *("raggedright", "arraybackslash", "linewidth"),
    }
    assert set(re.findall(r"\\([a-zA-Z]+)", body)) <= allowed
    assert r"\textbackslash{}input\{/etc/passwd\}" in body
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 1 + len(hostile)
    assert not any(re.match(r"\s*[\[*]", row) for row in rows)
    # what is left of & % # $ _ is escaped, or is ours
    body = body.partition(r"\bottomrule")[0]
    plain = body.replace(r"$\pm$", "").replace("$-$", "")
    assert not re.search(r"(?<!\\)[%#$_^~]", plain)
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {show(hostile).cells.shape[1] - 1}


def test_latex_of_a_float_escapes_its_caption_and_refuses_other_labels(xwin):
    body = to_latex(win_rate(xwin, method="t"), caption=r"50 % \input{x}", label="tab:xwin")
    assert r"\caption{50 \% \textbackslash{}input\{x\}}" in body
    assert r"\label{tab:xwin}" in body
    with pytest.raises(ValueError, match="label: found"):
        to_latex(win_rate(xwin, method="t"), label=r"x}\input{y}")


def test_names_cannot_act_in_a_spreadsheet(hostile, tmp_path):
    to_csv(hostile, tmp_path / "t.csv")
    text = (tmp_path / "t.csv").read_bytes().decode()
    assert text == to_csv(hostile)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    read = pd.read_csv(io.StringIO(text), dtype=str)
    assert not read["model"].str.match(r"[=+\-@\t\r\n]").any()
    assert sorted(read["model"].str.removeprefix("'")) == sorted(map(printable, hostile["model"]))


def test_csv_keeps_every_digit(xwin):
    frame = win_rate(xwin, method="t")
    read = pd.read_csv(io.StringIO(to_csv(frame)), dtype=str)
    for name in ("win_rate", "standard_error"):  # pandas 2 reads floats a unit in the last place off
        np.testing.assert_array_equal(read[name].map(float), frame[name])


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # alpaca_eval's own, under pandas 3
def test_leaderboard_is_read_by_alpaca_eval(xwin, tmp_path):
    utils = pytest.importorskip("alpaca_eval.utils")
    rates = win_rate(xwin, method="t")
    control = pd.DataFrame({"model": ["xwinlm-7b-v0.1"], "lc_win_rate": [0.8], "standard_error": [0.01]})
    board = to_leaderboard(
        rates, tmp_path / "leaderboard.csv", length_control=control, avg_length={"xwinlm-70b-v0.1": 1775}
    )
    assert board.columns.tolist() == [
        *("win_rate", "standard_error", "n_wins", "n_wins_base", "n_draws", "n_total", "discrete_win_rate"),
        *("mode", "avg_length", "length_controlled_winrate", "lc_standard_error"),
    ]
    read, path = utils.get_precomputed_leaderboard(str(tmp_path / "leaderboard.csv"), None, None)
    assert path == str(tmp_path / "leaderboard.csv")
    row = read["xwinlm-70b-v0.1"]
    # the row that AlpacaEval publishes for this model
    assert row["win_rate"] == pytest.approx(95.56803995006242, abs=1e-12)
    assert row["standard_error"] == pytest.approx(0.724941926, abs=1e-9)
    assert (row["n_wins"], row["n_wins_base"], row["n_draws"], row["n_total"]) == (765, 35, 1, 801)
    assert row["discrete_win_rate"] == pytest.approx(95.56803995006242)
    assert row["avg_length"] == 1775
    assert read["xwinlm-7b-v0.1"]["length_controlled_winrate"] == pytest.approx(80)
    assert np.isnan(row["length_controlled_winrate"])


def test_leaderboard_fills_lengths_from_what_the_table_knows():
    rng = np.random.default_rng(4)
    pairs = np.array([("a", "b"), ("b", "a"), ("c", "x"), ("d", "x")])[rng.integers(4, size=200)]
    table = pd.DataFrame(pairs, columns=["model", "reference"]).assign(
        instruction_id=[str(k) for k in range(200)],
        outcome=rng.integers(2, size=200),
        length_model=np.where(pairs[:, 0] == "d", np.nan, rng.integers(9, 99, size=200)),
        length_reference=rng.integers(9, 99, size=200),
        n=rng.integers(1, 4, size=200),
    )
    sides = [
        table[["model", "length_model", "n"]].set_axis(["model", "length", "n"], axis=1),
        table[["reference", "length_reference", "n"]].set_axis(["model", "length", "n"], axis=1),
    ]
    every = pd.concat(sides).query("model != 'x'").dropna()
    expected = {m: np.average(rows["length"], weights=rows["n"]) for m, rows in every.groupby("model")}
    rates = win_rate(table, method="t")
    board = to_leaderboard(rates)["avg_length"]
    assert board.dropna().to_dict() == pytest.approx(expected)
    assert np.isnan(board["d"])
    assert to_leaderboard(rates, avg_length={"a": 7}).loc["a", "avg_length"] == 7
    assert win_rate(table, by=["model", "reference"], method="t").attrs.get("avg_length") is None


@pytest.mark.rows
def test_lengths_of_a_leaderboard_are_those_alpaca_eval_publishes(mirror):
    import alpaca_analysis as aa

    files = sorted((mirror / "alpaca_eval" / "results").glob("gpt-3.5-*/alpaca_eval_gpt4/annotations.json"))
    board = to_leaderboard(win_rate(aa.read_annotations(files), method="t"))
    published = aa.load("alpaca_eval_v1_leaderboard").set_index("model")["avg_length"].reindex(board.index)
    assert published.notna().all()
    assert (board["avg_length"] - published).abs().max() <= 1  # published as whole numbers


def test_leaderboard_refuses_what_would_be_wrong_in_the_file(xwin):
    rates = win_rate(xwin, method="t")
    with pytest.raises(ValueError, match="mode: found 'mine'"):
        to_leaderboard(rates, mode="mine")
    with pytest.raises(ValueError, match="found percent"):
        to_leaderboard(rates.assign(win_rate=rates["win_rate"] * 100))
    with pytest.raises(ValueError, match="twice, expected one row per model"):
        to_leaderboard(pd.concat([rates, rates]))


def test_show_reads_what_the_result_says_of_itself_and_nothing_else(xwin):
    """Whatever columns are added or grouped by, the interval stays with its estimate."""
    rates = win_rate(xwin, method="t")
    added = show(rates.assign(difference=0.25, variance=0.5)).cells
    assert added.loc[0, "win rate (%)"] == show(rates).cells.loc[0, "win rate (%)"]
    assert added.loc[0, ["difference", "variance"]].tolist() == ["0.25", "0.5"]
    grouped = show(win_rate(xwin.assign(share=0.125), by=["model", "share"], method="t")).cells
    assert (grouped["share"] == "0.125").all()
    ratings = pd.DataFrame({"rating": [1.234], "standard_error": [0.1], "ci_low": [1.0], "ci_high": [1.4]})
    assert show(ratings, estimate="rating").cells.iloc[0].tolist() == ["1.23 ± 0.10", "1.00 to 1.40"]


def test_bundled_results_say_what_their_columns_are():
    import alpaca_analysis as aa

    for name in aa.catalog().query("kind == 'figures'")["name"]:
        frame = aa.load(name)
        said = [frame.attrs["estimate"], *frame.attrs["fractions"], *frame.attrs["differences"]]
        assert {column for column in said if column} <= set(frame.columns), name
        if {"ci_low", "ci_high"} <= set(frame.columns):
            assert frame.attrs["estimate"], name


@pytest.fixture(scope="module")
def three():
    return from_counts(
        {"model": ["a", "b", "c"], "n_wins": [765, 703, 40], "n_losses": [35, 97, 760], "n_draws": [1, 1, 1]}
    )


def test_paper_tables_have_equal_decimals_in_a_column(three):
    rates = win_rate(three, method="t")
    assert show(rates).cells["win rate (%)"].tolist() == ["95.57 ± 0.72", "87.8 ± 1.2", "5.06 ± 0.77"]
    for text in (to_markdown(rates), to_latex(rates), to_html(rates)):
        found = re.findall(r"\d+\.(\d+) (?:±|\$\\pm\$) \d+\.(\d+)", text)
        assert [{len(d) for d in pair} for pair in found] == [{2}] * 3
    frame = pd.DataFrame({"x": [0.5, 123.456, -2.25]})
    assert re.findall(r"[−\d.]+(?= \|)", to_markdown(frame)) == ["0.5", "123.5", "−2.2"]  # halves to even


def test_digits_of_the_estimate_and_of_other_columns(three):
    rates = win_rate(three, method="t")
    cells = show(rates, digits=1).cells
    assert cells["win rate (%)"].tolist() == ["95.6 ± 0.7", "87.8 ± 1.2", "5.1 ± 0.8"]
    assert all(re.fullmatch(r"\d+\.\d to \d+\.\d", c) for c in cells["95 % interval (%)"])
    assert cells["wins"].tolist() == ["765", "703", "40"]
    frame = pd.DataFrame({"x": [1 / 3], "pvalue": [0.0312]})
    assert show(frame, digits=3).cells.iloc[0].tolist() == ["0.333", "0.031"]
    assert show(frame, digits={"x": 0}).cells.iloc[0].tolist() == ["0", "0.031"]


def test_columns_are_chosen_and_notes_of_rows_become_footnotes(three):
    few = from_counts({"model": ["d"], "n_wins": [3], "n_losses": [1], "n_draws": [0]})
    rates = win_rate(pd.concat([three, few]), method="t")
    table = show(rates, columns=["model", "win_rate", "standard_error"])
    assert table.cells.columns.tolist() == ["model", "win rate (%)"]
    noted = rates.index[rates["note"] != ""]
    assert set(table.marks) == {(i, 0) for i in noted}
    assert table.marks[noted[0], 0] == " [a]"
    assert f"[a] {rates.loc[noted[0], 'note']}" in table.caption
    assert show(rates, columns=["model", "win_rate"], note=False).caption == ""
    with pytest.raises(ValueError, match="columns: found 'wins', expected some of model"):
        show(rates, columns=["wins"])


def test_stars_follow_the_adjusted_p_value_and_state_their_bounds(three):
    found = compare(three)
    table = show(found, stars=True, columns=["model_a", "model_b", "difference"])
    expected = ["*" * int((p < np.array([0.05, 0.01, 0.001])).sum()) for p in found["pvalue_adjusted"]]
    assert [table.marks.get((i, 2), "") for i in range(len(found))] == expected
    assert "* p < 0.05, ** p < 0.01, *** p < 0.001 (adjusted: holm)" in table.caption
    one = show(found, stars=[0.01], columns=["difference"])
    assert set(one.marks.values()) <= {"*"}
    assert "$^{***}$" in to_latex(found, stars=True)
    assert r"\*\*\*" in to_markdown(found, stars=True)
    assert "<sup>***</sup>" in to_html(found, stars=True)


def test_the_best_is_bold_where_the_result_says_what_is_better(three):
    rates = win_rate(pd.concat([three, three.assign(model=three["model"].astype(str) + "2")]), method="t")
    table = show(rates, best="bold")
    assert table.bold == {(0, 1), (1, 1)}  # both that tie
    assert "whether or not the lead is more than chance" in table.caption
    assert to_markdown(rates, best="bold").count("**") == 4
    assert to_latex(rates, best="bold").count(r"\textbf{95.57") == 2
    assert to_html(rates, best="bold").count("<strong>95.57") == 2
    with pytest.raises(ValueError, match=r"best: found a result .* says of none that higher is better"):
        show(pd.DataFrame({"win_rate": [0.5]}), best="bold")


def test_differences_to_a_baseline_are_those_of_the_estimates(three):
    rates = win_rate(three, method="t")
    cells = show(rates, baseline="b", digits=2).cells
    wanted = 100 * (rates["win_rate"] - rates.set_index("model").loc["b", "win_rate"])
    assert cells["difference to b (points)"].tolist() == [
        f"{wanted[0]:+.2f}",
        "baseline",
        f"−{-wanted[2]:.2f}",
    ]
    with pytest.raises(ValueError, match="baseline: found 'd' in 0 rows, expected the name of one row"):
        show(rates, baseline="d")
    with pytest.raises(ValueError, match="baseline: found a result without an estimate"):
        show(pd.DataFrame({"model": ["b"]}), baseline="b")


def test_stars_need_a_p_value_of_the_result(three):
    with pytest.raises(ValueError, match=r"stars: found a result .* names no p-value"):
        show(win_rate(three, method="t"), stars=True)
    with pytest.raises(ValueError, match="stars: found a result"):
        show(pd.DataFrame({"estimate": [1.0], "pvalue": [0.01]}), stars=True)  # it does not say whose p


def test_recomputed_values_have_the_decimals_of_the_printed_ones(three):
    claims = pd.DataFrame(
        {"model": ["a", "b", "b"], "reference": "r", "printed": ["95.6", "87.82", "87.827715"]}
    )
    found = check_claims(claims, three.assign(reference="r"), method="t")
    for cells in (show(found).cells, show(found[["printed", "recomputed", "verdict"]]).cells):
        assert [c.split(" ")[0] for c in cells["recomputed (%)"]] == ["95.6", "87.83", "87.827715"]
    assert found["verdict"].tolist() == ["reproduced", "differs", "reproduced"]
    r = check_correlation("0.9", [1, 2, 3, 4, 5], [1, 3, 2, 4, 5])
    assert show(r).cells["statistic"].tolist() == ["0.9"]


def test_names_cannot_act_in_marks_and_footnotes():
    frame = pd.DataFrame({"model": ["m", "n"], "note": ["<script>&_", "$x$"]})
    parser = Tags()
    parser.feed(to_html(frame, columns=["model"]))
    assert parser.tags == {"table", "caption", "thead", "tbody", "tr", "th", "td", "sup"}
    assert r"\textless{}script\textgreater{}\&\_" in to_latex(frame, columns=["model"])
    assert r"\$x\$" in to_markdown(frame, columns=["model"])


def test_a_long_table_repeats_its_header_and_a_page_table_spans_both_columns(three):
    rates = win_rate(three, method="t")
    long = to_latex(rates, place="long", caption="All.", label="t")
    assert long.startswith(r"\begin{longtable}{")
    assert long.index(r"\caption{All.}\label{t}") < long.index(r"\endhead") < long.index("95.57")
    assert to_latex(rates, place="page").startswith(r"\begin{table*}")
    assert to_latex(rates, place="page", caption="All.").rstrip().endswith(r"\end{table*}")
    with pytest.raises(ValueError, match="place: found 'here', expected one of column, page, long"):
        to_latex(rates, place="here")
