"""Verbs that ask language models: for outputs, and for judgements of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from alpaca_analysis.cli.options import Format, FormatOption, note, read, write, write_text
from alpaca_analysis.foundations.options import NonAnswer, Order

app = typer.Typer()

Address = Annotated[
    str | None, typer.Option(help="Address of an OpenAI-compatible server, up to and with /v1.")
]
KeyName = Annotated[str | None, typer.Option(help="Name of the environment variable that holds its key.")]
Price = Annotated[
    tuple[float, float] | None, typer.Option(help="Dollars per million tokens of prompt and completion.")
]
CachedPrice = Annotated[
    float | None,
    typer.Option(help="The same of a prompt that the server has in its cache; needs --price."),
]
AskAgain = Annotated[
    list[str] | None,
    typer.Option(
        help=f"Kind of kept non-answers to ask anew: {', '.join(get_args(NonAnswer))}; repeat for several."
    ),
]
MaxCost = Annotated[float | None, typer.Option(help="Dollars that may be spent; needs --price.")]
Cache = Annotated[Path | None, typer.Option(help="File of kept answers.")]
Timeout = Annotated[float, typer.Option(help="Seconds for one try.")]
Extra = Annotated[
    list[str] | None,
    typer.Option(metavar="FIELD=JSON", help="Further field of the request; null leaves one out."),
]
Header = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="Further header; $NAME takes its value from the environment."),
]
Query = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Query part of the address.")]
Batch = Annotated[
    Path | None,
    typer.Option(help="Ask by batches, for half the price; remembered in this file. Call again to collect."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Send nothing; say how many requests and about what cost.")
]
Concurrency = Annotated[int | None, typer.Option(help="Requests under way at once, at most.")]


@app.command()
def generate(
    prompts: Annotated[Path, typer.Argument(help="File of records with `instruction`.")],
    out: Annotated[Path, typer.Option(help="Folder of results; <model>/model_outputs.json goes there.")],
    model: Annotated[str, typer.Option(help="Name on the server, or a folder of weights.")],
    backend: Annotated[str, typer.Option(help="server, transformers or vllm.")] = "server",
    base_url: Address = None,
    api_key_env: KeyName = None,
    temperature: Annotated[float, typer.Option(help="Of the sampling; 0 is greedy.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(help="Length of an answer, at most.")] = 2048,
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 0,
    top_k: Annotated[int | None, typer.Option(help="Sample from so many of the likeliest tokens.")] = None,
    revision: Annotated[str | None, typer.Option(help="Commit of a model of the hub.")] = None,
    device: Annotated[str | None, typer.Option(help="Where transformers puts the model.")] = None,
    price: Price = None,
    cached_price: CachedPrice = None,
    max_cost: MaxCost = None,
    cache: Cache = None,
    timeout: Timeout = 600.0,
    extra: Extra = None,
    header: Header = None,
    query: Query = None,
    concurrency: Concurrency = None,
    batch: Batch = None,
    ask_again: AskAgain = None,
    dry_run: DryRun = False,
) -> None:
    """Answer prompts with a model; answers are kept, so that the same call goes on where it stopped.

    The exit code is 1 where prompts are left without an answer.

    Example: alpaca-analysis generate prompts.json --model mine --base-url http://127.0.0.1:8000/v1 --out r/
    """
    from alpaca_analysis import generating as package

    server = _server(base_url, api_key_env, _price(price, cached_price), timeout, extra, header, query)
    makers = {
        "server": lambda: package.ServerBackend(model, **server),
        "transformers": lambda: package.TransformersBackend(model, revision=revision, device=device),
        "vllm": lambda: package.VLLMBackend(model, revision=revision),
    }
    if backend not in makers:
        raise typer.BadParameter(
            f"found {backend!r}, expected one of {', '.join(makers)}", param_hint="--backend"
        )
    options: dict[str, Any] = {"temperature": temperature, "max_tokens": max_tokens, "seed": seed}
    options["top_k"] = top_k
    limits: dict[str, Any] = {"concurrency": concurrency, "max_cost": max_cost, "cache": cache}
    limits |= {"batch": batch, "ask_again": ask_again or (), "dry_run": dry_run}
    made = package.generate(prompts, makers[backend](), **limits, **options)
    if dry_run:
        write_text(f"{made.summary()}\n")
        return
    note(made.summary(), label="generated")
    write_text(f"{made.save(out)}\n")
    if made.n_unanswered:
        raise typer.Exit(1)


@app.command()
def judge(
    outputs: Annotated[Path, typer.Argument(help="What the model wrote: model_outputs.json.")],
    reference_outputs: Annotated[Path, typer.Argument(help="What the reference wrote.")],
    judge: Annotated[
        list[str],
        typer.Option(
            help="length, random, alpaca_eval:NAME, litellm:NAME, or a model on a server; repeat for several."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder of results; <model>/<judge>/annotations.json goes there.")
    ] = None,
    design: Annotated[
        str,
        typer.Option(
            help="reasoning, structured, five_grades, three_grades, one_token, ranking or batched_choice."
        ),
    ] = "reasoning",
    max_tokens: Annotated[
        int | None, typer.Option(help="Longest answer, thoughts included; by default 4,096.")
    ] = None,
    price: Price = None,
    cached_price: CachedPrice = None,
    max_cost: MaxCost = None,
    cache: Cache = None,
    timeout: Timeout = 120.0,
    extra: Extra = None,
    header: Header = None,
    query: Query = None,
    base_url: Address = None,
    api_key_env: KeyName = None,
    model: Annotated[str | None, typer.Option(help="Name of the model, where the file has none.")] = None,
    reference: Annotated[
        str | None, typer.Option(help="Name of the reference, where the file has none.")
    ] = None,
    order: Annotated[
        Order,
        typer.Option(help="Who is shown first; auto: models see both orders where --max-cost allows it."),
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Of the random order.")] = 0,
    concurrency: Concurrency = None,
    batch: Batch = None,
    ask_again: AskAgain = None,
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop as soon as it is decided; prints the confidence sequence.")
    ] = False,
    margin: Annotated[
        float | None, typer.Option(help="With --stop: difference that would not matter, a fraction.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="With --stop: annotations of the model to compare with.")
    ] = None,
    rival: Annotated[str | None, typer.Option(help="Its name, where --against holds several.")] = None,
    dry_run: DryRun = False,
    format: FormatOption = Format.table,
) -> None:
    """Judge a model's outputs against a reference's, and print the win rate, for each judge by itself.

    The exit code is 1 where nothing was judged, as while a batch is under way. With --stop instructions come
    in random order, and nothing is asked any more once the model is shown to be better than, worse than or
    (--margin) equivalent to the reference, or the model of --against.

    Example: alpaca-analysis judge mine.json theirs.json --judge length --out results/
    """
    from alpaca_analysis import judging as package
    from alpaca_analysis import win_rate

    if not stop and not (margin is against is rival is None):
        raise typer.BadParameter("--margin, --against and --rival go with --stop")
    table = None if against is None else read([str(against)])
    rule = package.Decided(margin=margin, against=table, rival=rival) if stop else None
    server = _server(base_url, api_key_env, _price(price, cached_price), timeout, extra, header, query)
    chosen = [
        name
        if name in ("length", "random") or name.startswith("alpaca_eval:")
        else package.ChatJudge(name, design=design, max_tokens=max_tokens, **server)
        for name in judge
    ]
    options: dict[str, Any] = {"model": model, "reference": reference, "order": order, "seed": seed}
    limits: dict[str, Any] = {"concurrency": concurrency, "max_cost": max_cost, "cache": cache}
    limits |= {"batch": batch, "ask_again": ask_again or (), "dry_run": dry_run, "stop_when": rule}
    said = package.judge(outputs, reference_outputs, judge=chosen, **limits, **options)
    if dry_run:
        write_text(f"{said.summary()}\n")
        return
    for line in said.summary().splitlines():
        note(line, label="judged")
    if out:
        note(said.save(out), label="written")
    if said.n_judged == 0:
        raise typer.Exit(1)
    if rule is not None:
        write(_sequence(said, rule), format)
    else:
        write(win_rate(said.to_frame(), by=["model", "annotator"] if said.parts else "model"), format)


def _sequence(said: Any, rule: Any) -> Any:
    """Return the confidence sequence of judging that stopped when it had decided, for each judge."""
    import pandas as pd

    from alpaca_analysis import confidence_sequence

    if said.parts:
        parts = (_sequence(part, rule).assign(annotator=part.settings["annotator"]) for part in said.parts)
        return pd.concat(parts, ignore_index=True)
    table, model, rival = said.to_frame(), said.settings["model"], None
    if rule.against is not None:
        rival = said.settings["stop_when"]["against"]
        table = pd.concat([table, rule.against[rule.against["model"] == rival]])
    return confidence_sequence(table, model, rival, margin=rule.margin)


def _price(price, cached_price):
    if cached_price is None:
        return price
    if price is None:
        raise ValueError("--cached-price: found without --price, expected both")
    return (*price, cached_price)


def _server(base_url, api_key_env, price, timeout, extra, header, query) -> dict[str, Any]:
    """Return what the options say of a server."""
    return {
        "base_url": base_url,
        "api_key_env": api_key_env,
        "price": price,
        "timeout": timeout,
        "extra": {name: _value(text) for name, text in _pairs("--extra", extra, "FIELD=JSON")},
        "headers": dict(_pairs("--header", header)),
        "query": dict(_pairs("--query", query)),
    }


def _pairs(option: str, given: list[str] | None, form: str = "NAME=VALUE") -> list[tuple[str, str]]:
    split = [one.partition("=") for one in given or ()]
    for name, equals, _ in split:
        if not equals:
            raise ValueError(f"{option}: found {name!r}, expected {form}")
    return [(name, value) for name, _, value in split]


def _value(text: str) -> Any:
    """Return JSON's value, or the text where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text
