"""A million arena battles with their conversations from Parquet, against `datasets` and pandas."""

import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from harness import Benchmark

import alpaca_analysis as aa

N, GROUP = 1_000_000, 100_000
WINNERS = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5, "tie (bothbad)": 0.5}


def texts(rng, words, n, prefix):
    """Return `n` texts of about 400 characters, each of them different."""
    base = pa.array(
        [" ".join(words[rng.integers(len(words), size=rng.integers(20, 80))]) for _ in range(999)]
    )
    numbers = pc.cast(pa.array(rng.permutation(n)), pa.string())
    return pc.binary_join_element_wise(prefix, numbers, base.take(rng.integers(len(base), size=n)), " ")


def conversations(prompts, answers):
    """Return conversations of a prompt and an answer each."""
    n = len(prompts)
    order = np.arange(2 * n).reshape(2, n).T.ravel()
    content = pa.concat_arrays([prompts, answers]).take(pa.array(order))
    role = pa.array(["user", "assistant"]).take(pa.array(np.tile([0, 1], n)))
    messages = pa.StructArray.from_arrays([role, content], ["role", "content"])
    return pa.ListArray.from_arrays(pa.array(np.arange(0, 2 * n + 1, 2), pa.int32()), messages)


@cache
def battles():
    """Write the battles once; the folder goes with the process."""
    folder = Path(tempfile.mkdtemp(prefix="battles-"))
    path = folder / "battles.parquet"
    rng = np.random.default_rng(0)
    words = np.array([f"word{k:03d}" for k in range(500)])
    names = pa.array([f"model-{k:02d}" for k in range(40)])
    winners = pa.array(list(WINNERS))
    writer = None
    for _ in range(N // GROUP):
        a = rng.integers(len(names), size=GROUP)
        b = (a + rng.integers(1, len(names), size=GROUP)) % len(names)
        prompts = texts(rng, words, GROUP, "question")
        table = pa.table(
            {
                "model_a": names.take(a),
                "model_b": names.take(b),
                "winner": winners.take(rng.integers(len(winners), size=GROUP)),
                **{
                    f"conversation_{side}": conversations(prompts, texts(rng, words, GROUP, side))
                    for side in "ab"
                },
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=GROUP)
    writer.close()
    return path


def benchmarks():
    path = battles()
    size = path.stat().st_size / 1e6

    def with_datasets():
        import datasets

        datasets.disable_progress_bars()
        cache_dir = path.parent / "cache"
        shutil.rmtree(cache_dir, ignore_errors=True)
        return datasets.Dataset.from_parquet(str(path), cache_dir=str(cache_dir)).to_pandas()

    def check(table, frame):
        assert (table["outcome"].to_numpy() == frame["winner"].map(WINNERS).to_numpy()).all()
        assert (table["model"].astype(str).to_numpy() == frame["model_a"].to_numpy()).all()
        some = slice(None, None, 97)
        for side, column in (("a", "length_model"), ("b", "length_reference")):
            written = [len(talk[1]["content"]) for talk in frame[f"conversation_{side}"].iloc[some]]
            assert (table[column].iloc[some] == written).all()
        prompts = [talk[0]["content"] for talk in frame["conversation_a"].iloc[some]]
        ids = [aa.read_annotations([row])["instruction_id"][0] for row in _records(prompts[:50])]
        assert table["instruction_id"].iloc[some][:50].tolist() == ids

    yield Benchmark(
        name="arena",
        task=f"{N:,} battles with conversations, Parquet of {size:.0f} MB",
        ours=lambda: aa.read_annotations(path),
        peers={"datasets into pandas": with_datasets},
        check=check,
        target=1.0,
        rounds=2,
        notes="ours also checks every row, hashes prompts, measures answers and bounds the file's size in memory",
        limit=("parquet_battles_per_second", N),
    )


def _records(prompts):
    return [{"model_a": "a", "model_b": "b", "winner": "tie", "prompt": prompt} for prompt in prompts]
