"""Compute what the README shows: its headline and the coverage of intervals, tables and figures.

python notebooks/readme.py
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

import alpaca_analysis as aa
from alpaca_analysis import figures
from alpaca_analysis.foundations.files import write_text
from alpaca_analysis.present import tables

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
START, END = "<!-- headline: made by notebooks/readme.py -->", "<!-- end of headline -->"
COVERAGE_START = "<!-- coverage: made by notebooks/readme.py -->"
COVERAGE_END = "<!-- end of coverage -->"
DEFAULTS = {"win_rate": "bca", "compare": "t", "human_agreement": "bca", "prefer_longer": "bca"}


def judgements() -> pd.DataFrame:
    """Return the counts behind the leaderboard of 2023-09-19."""
    board = aa.load("alpaca_eval_v1_leaderboard_2023_09_19")
    board = board[board["model"] != "text_davinci_003"].assign(n_asked=805)
    return aa.from_counts(board, reference="text_davinci_003", annotator="alpaca_eval_gpt4")


def headline() -> str:
    """Return the table: what was printed, what the counts give, and the verdict."""
    table = judgements()
    claims = aa.load("xwin_claims").drop_duplicates(["model", "reference", "printed"])
    wanted = claims["model"].isin(["xwinlm-70b-v0.1", "xwinlm-13b-v0.1", "xwinlm-7b-v0.1", "gpt4"])
    wanted &= claims["reference"].eq("text_davinci_003") | claims["printed"].eq("60.61")
    checked = aa.check_claims(claims[wanted], table)
    columns = ["model", "reference", "printed", "recomputed", "standard_error", "ci_low", "ci_high"]
    first = aa.check_first(table, "xwinlm-70b-v0.1").iloc[0]
    points = {c: f"{100 * first[c]:.2f}" for c in ("difference", "standard_error", "ci_low", "ci_high")}
    lead = (
        "Xwin-LM-70B's lead over GPT-4 is {difference} points with a standard error of {standard_error}\n"
        "(95 % interval {ci_low} to {ci_high}, p = {pvalue:.2f}): first in the counts, not established as better.\n"
    )
    rates = tables.to_markdown(checked[[*columns, "verdict", "note"]])
    return f"{rates}\n{lead.format(**points, pvalue=first['pvalue'])}"


def simulated() -> pd.DataFrame:
    """Return the simulated coverage of the default intervals."""
    table = aa.load("coverage_intervals")
    fisher = table["method"].eq("fisher, pearson") & table["design"].ne("normal")
    return table[table["method"].eq(table["statistic"].map(DEFAULTS)) | fisher]


def coverage() -> str:
    """Return the table of coverage by statistic and number of units, and a line on correlations."""
    table = simulated()
    rows = []
    for statistic, method in DEFAULTS.items():
        row = {"95 % interval of": f"{statistic}, {method}"}
        for n, part in table[table["statistic"] == statistic].groupby("n"):
            row[f"n = {n}"] = cell(part)
        rows.append(row)
    fisher = table[table["statistic"] == "win_rate_correlation"]
    models = "; ".join(f"{cell(part)} for {n} models" for n, part in fisher.groupby("n"))
    last = f"The same of Pearson correlations of win rates (Fisher's interval, n counts models): {models}.\n"
    return f"{tables.to_markdown(pd.DataFrame(rows))}\n{last}{people()}"


def people() -> str:
    """Return a line on what people would say, from few labels, instructions of unequal size included."""
    table = aa.load("coverage_people")
    table = table[~table["design"].isin(["errs differently", "weighted draw, taken as simple"])]
    names = ["calibrated_win_rate", "compare_calibrated", "rogan_gladen_win_rate", "rogan_gladen"]
    said = [f"`{name}` {cell(table[table['statistic'] == name])}" for name in names]
    about = "The same of what people would say, from 40 to 150 labels, instructions of unequal size included"
    return f"\n{about}: {'; '.join(said)}.\n"


def cell(part: pd.DataFrame) -> str:
    """Return lowest and typical coverage where results carry no note, and how many carry one."""
    kept = 100 * part["coverage_unless_noted"].dropna()
    return f"{kept.min():.1f} / {kept.median():.1f} ({100 * part['noted'].mean():.0f})"


def coverage_drawn() -> pd.DataFrame:
    """Return the lowest coverage by statistic and number of units, of all results and of those without a note."""
    table = simulated()
    defined = table["coverage"] / (1 - table["undefined"])
    kinds = {"all defined intervals": defined, "intervals without a note": table["coverage_unless_noted"]}
    parts = []
    for kind, covered in kinds.items():
        cells = table.assign(coverage=covered, method=kind).dropna(subset="coverage")
        lowest = cells.loc[cells.groupby(["statistic", "n"], sort=False)["coverage"].idxmin()]
        parts.append(lowest)
    drawn = pd.concat(parts)
    left_out = drawn["undefined"].where(drawn["method"] == "all defined intervals", drawn["noted"])
    kept = drawn["repetitions"] * (1 - left_out)
    error = (drawn["coverage"] * (1 - drawn["coverage"]) / kept) ** 0.5
    counted = drawn["n"].astype(str)
    correlated = drawn["statistic"] == "win_rate_correlation"
    return drawn.assign(
        scenario=("correlation, " + counted + " models").where(
            correlated, drawn["statistic"] + ", n = " + counted
        ),
        ci_low=drawn["coverage"] - 2 * error,
        ci_high=drawn["coverage"] + 2 * error,
    )


def main() -> None:
    """Write the tables into the README and the figures beside this file."""
    text = README.read_text(encoding="utf-8")
    for start, made, end in (
        (START, headline(), END),
        (COVERAGE_START, coverage(), COVERAGE_END),
    ):
        block = f"{start}\n{made}{end}"
        text = re.sub(f"{re.escape(start)}.*?{re.escape(end)}", lambda _, b=block: b, text, flags=re.DOTALL)
    write_text(README, text)
    rates = aa.win_rate(judgements()).head(12)
    highlight = [m for m in rates["model"] if m.startswith("xwinlm")]
    ax = figures.forest(rates, highlight=highlight, width=figures.PAGE)
    figures.save(ax, HERE / "headline.png")
    figures.save(figures.coverage(coverage_drawn(), width=figures.PAGE), HERE / "coverage.png")


if __name__ == "__main__":
    main()
