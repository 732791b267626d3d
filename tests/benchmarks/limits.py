"""What the machine itself can do: the physical limits that benchmarks can be held against.

    python tests/benchmarks/limits.py

Memory bandwidth (one thread copies an array far larger than any cache), the rate of matrix products
(BLAS, float64, as resampling does them), JSON parsing (orjson) and Parquet decoding (Arrow), and the
exchange of bytes with a server that takes 50 ms for a reply.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import time

import numpy as np
from judge_server import CONCURRENCY, PAUSE, exchange, running


def best(work, rounds=5):
    """Return the least seconds `work` took, after one call to warm up."""
    work()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def memory_bandwidth():
    """Return bytes a second read and written by a copy of 256 MB."""
    source = np.ones(32_000_000)
    target = np.empty_like(source)
    return 2 * source.nbytes / best(lambda: np.copyto(target, source))


def blas_rate():
    """Return floating-point operations a second of (1000 x 805) @ (805 x 40) products, and of square ones."""
    rng = np.random.default_rng(0)
    weights, outcomes, square = rng.random((1000, 805)), rng.random((805, 40)), rng.random((1000, 1000))
    narrow = 2 * 1000 * 805 * 40 / best(lambda: weights @ outcomes)
    return narrow, 2 * 1000**3 / best(lambda: square @ square)


def json_rate():
    """Return bytes a second that orjson parses of annotations as AlpacaEval writes them."""
    import orjson

    row = {"instruction": "Say hello. " * 20, "output_1": "Hi. " * 150, "output_2": "Hello. " * 200}
    text = json.dumps([{**row, "generator_1": "a", "generator_2": "b", "preference": 2.0}] * 5000).encode()
    return len(text) / best(lambda: orjson.loads(text))


def parquet_rate():
    """Return rows a second that Arrow decodes of a model's name and an outcome."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    names = pa.array([f"model-{k:02d}" for k in range(20)])
    n = 2_000_000
    table = pa.table(
        {"model": names.take(rng.integers(20, size=n)), "outcome": rng.integers(2, size=n) * 1.0}
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return n / best(lambda: pq.read_table(io.BytesIO(buffer.getvalue())), rounds=3)


def reply_rate():
    """Return replies a second of a local server, whose requests and replies are bare bytes."""
    n = int(CONCURRENCY / PAUSE / 2)
    with running() as port:
        return n / best(lambda: asyncio.run(exchange(port, n)), rounds=1)


def battles_rate():
    """Return rows a second that Arrow decodes of two conversations, each of a prompt and an answer."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = 50_000
    talks = [
        [{"role": "user", "content": f"{k} word" * 40}, {"role": "assistant", "content": f"word {k}" * 40}]
        for k in range(n)
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.table({"conversation_a": talks, "conversation_b": talks[::-1]}), buffer)
    return n / best(lambda: pq.read_table(io.BytesIO(buffer.getvalue())), rounds=3)


UNITS = {
    "memory_bytes_per_second": ("memory, copy", 1e9, "GB/s"),
    "blas_flops": ("matrix product, square", 1e9, "GFLOP/s"),
    "blas_flops_resampling": ("matrix product, 1000 resamples x 805 x 40", 1e9, "GFLOP/s"),
    "json_bytes_per_second": ("JSON, orjson", 1e6, "MB/s"),
    "parquet_rows_per_second": ("Parquet, two columns", 1e6, "million rows/s"),
    "replies_per_second": (
        f"replies of a server, {CONCURRENCY} at once, {1000 * PAUSE:g} ms",
        1,
        "replies/s",
    ),
    "parquet_battles_per_second": ("Parquet, two conversations", 1e6, "million rows/s"),
}


def measure_limits():
    """Return the limits of this machine now.

    Returns
    -------
    dict of str to float
        ``memory_bytes_per_second``, ``blas_flops`` (square), ``blas_flops_resampling`` (tall and narrow),
        ``json_bytes_per_second``, ``parquet_rows_per_second``, ``parquet_battles_per_second``,
        ``replies_per_second``.
    """
    narrow, square = blas_rate()
    return {
        "memory_bytes_per_second": memory_bandwidth(),
        "blas_flops": square,
        "blas_flops_resampling": narrow,
        "json_bytes_per_second": json_rate(),
        "parquet_rows_per_second": parquet_rate(),
        "replies_per_second": reply_rate(),
        "parquet_battles_per_second": battles_rate(),
    }


def as_markdown(limits):
    """Return the limits as a person reads them."""
    lines = ["| limit | rate | |", "|---|--:|---|"]
    lines += [f"| {UNITS[k][0]} | {v / UNITS[k][1]:,.1f} | {UNITS[k][2]} |" for k, v in limits.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(as_markdown(measure_limits()))
    sys.exit(0)
