"""Reading annotation files, checks included, against parsing them into frames with their lengths."""

import pandas as pd
from harness import Benchmark, published_rows

import alpaca_analysis as aa


def benchmarks():
    files = sorted((published_rows() / "alpaca_eval" / "results").glob("*/alpaca_eval_gpt4/annotations.json"))
    size = sum(f.stat().st_size for f in files) / 1e6

    def with_pandas():
        frames = []
        for file in files:
            frame = pd.read_json(file)
            frame["length_model"] = frame["output_2"].str.len()
            frame["length_reference"] = frame["output_1"].str.len()
            frames.append(frame)
        return frames

    def check(table, frames):
        frame = pd.concat(frames, ignore_index=True)
        preference = frame["preference"].where(frame["preference"] != 0, 1.5)
        pd.testing.assert_series_equal(table["outcome"], preference - 1, check_names=False)
        for column in ("length_model", "length_reference"):
            pd.testing.assert_series_equal(table[column], frame[column].astype(float), check_names=False)

    yield Benchmark(
        name="reading",
        task=f"{len(files)} annotation files, {size:.0f} MB",
        ours=lambda: aa.read_annotations(files),
        peers={"pandas.read_json and lengths": with_pandas},
        check=check,
        target=3.0,
        rounds=5,
        notes="ours also checks every row, hashes instructions and files",
        limit=("json_bytes_per_second", sum(f.stat().st_size for f in files)),
    )
