"""Length control against alpaca-eval's own, fed the same difficulties and baselines from local files."""

import json
import logging
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from harness import Benchmark, Skip, published_rows
from scipy.special import expit

import alpaca_analysis as aa
from alpaca_analysis.table.checks import instruction_id

MODEL, N_REFITS = "gpt4", 1000


def benchmarks():
    files = sorted((published_rows() / "alpaca_eval" / "results").glob("*/alpaca_eval_gpt4/annotations.json"))
    records = {file.parts[-3]: pd.DataFrame(json.loads(file.read_bytes())) for file in files}
    for model, frame in records.items():  # some files name another model, or two
        frame["generator_2"], frame["annotator"] = model, "alpaca_eval_gpt4"
    table = aa.read_annotations(files)
    one = table[table["model"] == MODEL]
    theirs = alpaca_evals_own(records[MODEL]["instruction"].map(instruction_id))

    def five_fits():
        for _ in range(5):
            found = theirs(records[MODEL])
        return found

    def check(ours, found):
        if isinstance(found, dict):
            assert set(found) == set(ours.index)
            assert np.abs(100 * ours - pd.Series(found)).mean() < 0.3  # their penalty is theirs
        else:
            assert abs(100 * ours - found).max() < 0.5

    yield Benchmark(
        name="length control, points",
        task=f"{len(files)} models, win rate and its error",
        ours=lambda: aa.fit_length_control(table).to_frame().set_index("model")["lc_win_rate"],
        peers={"alpaca-eval": lambda: {model: theirs(frame) for model, frame in records.items()}},
        check=check,
        target=50,
        rounds=1,
        notes="ours with the error of the fit, theirs without",
    )
    yield Benchmark(
        name="length control, refits",
        task=f"{N_REFITS} bootstrap refits of one model; theirs 5 fits",
        ours=lambda: (
            aa.fit_length_control(one, method="bca", n_resamples=N_REFITS)
            .to_frame()["lc_win_rate"]
            .to_numpy()
        ),
        peers={"alpaca-eval, 5 fits": five_fits},
        check=check,
        target=1,
    )


def alpaca_evals_own(ids):
    """Return alpaca-eval's length-controlled win rate (percent) of a model's records, offline."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import alpaca_eval.metrics.glm_winrate as glm
    except ImportError:
        raise Skip("needs alpaca-eval") from None
    logging.getLogger().setLevel(logging.ERROR)  # theirs reports each model
    difficulty = aa.load("instruction_difficulty").set_index("instruction_id")["difficulty"]
    pairs = aa.load("length_control_baselines")
    gap = pairs["length_reference"] - pairs["length_model"]
    gap = gap / gap.groupby(pairs["model"]).transform("std")
    b = aa.load("length_control_coefficients").set_index("model").loc[pairs["model"]].to_numpy()
    d = pairs["instruction_id"].map(difficulty).to_numpy()
    gamed = pd.DataFrame(
        {
            "model": pairs["model"],
            "preference": expit(b[:, 2] + b[:, 0] * np.tanh(gap) + b[:, 1] * d),
            "index": pairs["instruction_id"].map(pd.Series(range(len(ids)), ids)),
            "std_delta_len": gap,
            "instruction_difficulty": d,
            "not_gamed_baseline": False,
        }
    )
    path = Path(tempfile.mkdtemp()) / "df_gamed.csv"
    gamed.sort_values(["model", "index"]).to_csv(path, index=False)
    glm.hf_hub_download = lambda **_: str(path)

    def fit(frame):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return glm.get_length_controlled_winrate(
                frame, save_weights_dir=None, is_add_glm_preference_inplace=False
            )["length_controlled_winrate"]

    return fit
