"""Judging through a server that takes 50 ms for a reply: beside plain asynchronous clients, and alpaca-eval.

The plain clients send ready-made requests and parse the replies, no more: nothing is kept, tried again,
paid for, or read. Work and concurrency are the same.
"""

import asyncio
import logging
import math
import tempfile
from pathlib import Path

from harness import Benchmark
from judge_server import BETTER, CONCURRENCY, WORSE, running

from alpaca_analysis.judging import ChatJudge, judge, read_verdict

TEXT = "A sentence of the answer that says something of use. " * 20


def outputs(n):
    """Return outputs of a model that writes better at two of three prompts, and of a reference."""

    def write(name, is_better):
        words = ((BETTER if is_better(i) else WORSE).decode() for i in range(n))
        return [
            {"instruction": f"Question {i}?", "output": f"{i} {word}. {TEXT}", "generator": name}
            for i, word in enumerate(words)
        ]

    return write("model", lambda i: i % 3), write("reference", lambda i: not i % 3)


def by_us(address, ours, theirs, design):
    """Return the outcomes of our judge; its answers are kept in a new file."""
    asked = ChatJudge("gpt-4", design=design, base_url=address)
    with tempfile.TemporaryDirectory() as folder:
        options = {"cache": Path(folder) / "a.sqlite", "concurrency": CONCURRENCY, "progress": False}
        said = judge(ours, theirs, judge=asked, order="model_first", **options)
    return [record["preference"] - 1 for record in said.records]


def bodies(address, ours, theirs):
    """Return the requests that our judge sends."""
    from alpaca_analysis.judging.designs import Shown

    asked = ChatJudge("gpt-4", base_url=address)
    shown = [Shown(a["instruction"], a["output"], b["output"]) for a, b in zip(ours, theirs, strict=True)]
    return [asked.request([pair], 0)["body"] for pair in shown]


async def gathered(ask, requests):
    """Await all requests, so many at once."""
    places = asyncio.Semaphore(CONCURRENCY)

    async def one(body):
        async with places:
            return await ask(body)

    return await asyncio.gather(*map(one, requests))


def by_httpx(address, requests):
    """Return the texts that a plain client gets."""
    import httpx

    async def work():
        limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
        async with httpx.AsyncClient(timeout=60, limits=limits) as client:

            async def ask(body):
                reply = await client.post(f"{address}/chat/completions", json=body)
                return reply.json()["choices"][0]["message"]["content"]

            return await gathered(ask, requests)

    return asyncio.run(work())


def by_openai(address, requests):
    """Return the texts that OpenAI's own asynchronous client gets."""
    from openai import AsyncOpenAI

    async def work():
        async with AsyncOpenAI(base_url=address, api_key="none") as client:

            async def ask(body):
                return (await client.chat.completions.create(**body)).choices[0].message.content

            return await gathered(ask, requests)

    return asyncio.run(work())


def by_alpaca_eval(address, ours, theirs):
    """Return the outcomes of alpaca-eval's annotator of the same kind."""
    import alpaca_eval
    from alpaca_eval.annotators import PairwiseAnnotator

    prompt = Path(alpaca_eval.__file__).parent / "evaluators_configs" / "alpaca_eval_gpt4" / "alpaca_eval.txt"
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "judge" / "configs.yaml"
        config.parent.mkdir()
        config.write_text(
            "judge:\n"
            f'  prompt_template: "{prompt}"\n'
            '  fn_completions: "openai_completions"\n'
            '  fn_completion_parser: "ranking_parser"\n'
            "  batch_size: 1\n"
            "  completions_kwargs:\n"
            '    model_name: "gpt-4"\n'
            "    max_tokens: 100\n"
            "    temperature: 0\n"
            f"    num_procs: {CONCURRENCY}\n"
            f"    openai_api_base: {address}\n"
            '    openai_api_keys: ["none"]\n'
        )
        annotator = PairwiseAnnotator(
            annotators_config=config, caching_path=None, is_randomize_output_order=False
        )
        pairs = [
            {"instruction": a["instruction"], "output_1": a["output"], "output_2": b["output"]}
            for a, b in zip(ours, theirs, strict=True)
        ]
        said = annotator.annotate_pairs(pairs)
    return [2.0 - record["preference"] for record in said]


def benchmarks():
    # alpaca-eval has every request written to the terminal, also those of others.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with running() as port:
        address = f"http://127.0.0.1:{port}/v1"
        ours, theirs = outputs(1000)
        requests = bodies(address, ours, theirs)

        def same(outcomes, texts):
            assert outcomes == [read_verdict(text).outcome for text in texts]
            assert math.isclose(sum(outcomes), 666)

        yield Benchmark(
            name="judging",
            task=f"1,000 pairs, {CONCURRENCY} at once; ours: asked, kept and read; theirs: asked",
            ours=lambda: by_us(address, ours, theirs, "reasoning"),
            peers={
                "httpx.AsyncClient": lambda: by_httpx(address, requests),
                "openai.AsyncOpenAI": lambda: by_openai(address, requests),
            },
            check=same,
            target=0.9,
            limit=("replies_per_second", 1000),
        )

        few, their_few = ours[:200], theirs[:200]

        def equal(mine, other):
            assert mine == other

        yield Benchmark(
            name="judging as alpaca-eval",
            task=f"200 pairs by ranks, {CONCURRENCY} at once",
            ours=lambda: by_us(address, few, their_few, "ranking"),
            peers={"alpaca_eval 0.6.6": lambda: by_alpaca_eval(address, few, their_few)},
            check=equal,
            target=5,
            rounds=2,
        )
