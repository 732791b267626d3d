"""Several judges in one call, both orders where money allows, and what a dry run says."""

import json

import pandas as pd
import pytest

import alpaca_analysis as aa
from alpaca_analysis.cli import main
from alpaca_analysis.judging import ChatJudge, FunctionJudge, judge


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "answers.sqlite"


def chat(server, design="one_token", **options):
    return ChatJudge("tiny", design=design, base_url=server.url, **options)


def test_several_judges_make_one_table(server, outputs, cache, tmp_path):
    judges = ["length", chat(server), chat(server, "ranking")]
    both = judge(*outputs(6), judge=judges, cache=cache)
    frame = both.to_frame()
    names = ["length", "one_token_tiny", "ranking_tiny"]
    assert list(dict.fromkeys(frame["annotator"])) == names
    assert frame.groupby("annotator", observed=True).size().to_dict() == dict(
        zip(names, [6, 12, 12], strict=True)
    )
    for name, one in zip(names, judges, strict=True):
        alone = judge(*outputs(6), judge=one, cache=cache).to_frame()
        mine = frame[frame["annotator"] == name].reset_index(drop=True)
        pd.testing.assert_frame_equal(
            mine.drop(columns="annotator"), alone.drop(columns="annotator"), check_dtype=False
        )
    assert len(server.bodies) == 24  # the calls for each alone asked nothing
    folder = both.save(tmp_path / "results")
    assert sorted(path.name for path in folder.iterdir()) == names
    back = aa.read_annotations(tmp_path / "results")
    rates = aa.win_rate(back, by=["model", "annotator"], method="t").set_index("annotator")["win_rate"]
    assert rates.to_dict() == pytest.approx({"length": 0.5, "one_token_tiny": 0.5, "ranking_tiny": 0.5})
    said = both.summary().splitlines()
    assert [line.split(":")[0] for line in said] == names
    assert "in both orders in 100 %" in said[1]


def test_judges_share_one_limit_on_money(server, outputs, cache):
    price = (1000.0, 0.0)  # 100 prompt tokens as the server counts them: 0.10 dollars a request
    judges = [chat(server, price=price), chat(server, "ranking", price=price)]
    with pytest.warns(aa.JudgeWarning, match=r"not asked: \$"):
        said = judge(*outputs(10), judge=judges, cache=cache, max_cost=1.9, order="random", concurrency=1)
    assert said.cost <= 1.9
    assert said.cost == pytest.approx(0.1 * len(server.bodies))
    assert said.parts[0].cost + said.parts[1].cost == pytest.approx(said.cost)


def test_judges_need_names_of_their_own(server, outputs):
    with pytest.raises(ValueError, match="judge: found 'one_token_tiny' twice, expected different names"):
        judge(*outputs(1), judge=[chat(server), chat(server, temperature=1.0)])
    with pytest.raises(ValueError, match=r"judge: found \[\], expected one judge at least"):
        judge(*outputs(1), judge=[])


def test_models_see_both_orders_unless_that_could_cost_too_much(server, outputs, cache):
    asked = chat(server, "ranking", price=(10.0, 100.0))
    free = judge(*outputs(4), judge=asked, cache=cache)
    assert [r["position"] for r in free.records] == [1, 2] * 4
    assert free.settings["order"] == "both"
    most = judge(*outputs(4), judge=asked, cache=cache, order="both", dry_run=True)
    assert most.estimate.most == 0.0  # all is kept
    bound = sum(asked.bound({"body": body}) for body in server.bodies)
    fits = judge(*outputs(4), judge=asked, cache=cache, max_cost=bound * 1.0001)
    assert fits.settings["order"] == "both"
    short = judge(*outputs(4), judge=asked, cache=cache, max_cost=bound * 0.9999)
    assert (short.settings["order"], len(short.records)) == ("random", 4)
    assert f"one order only: both could cost ${bound:.2f}" in short.summary()
    assert "one order only" not in fits.summary()


@pytest.mark.parametrize("chosen", ["length", "random", FunctionJudge(lambda *_: 1.0, name="first")])
def test_functions_see_one_random_order(outputs, chosen):
    said = judge(*outputs(9), judge=chosen)
    assert (said.settings["order"], len(said.records)) == ("random", 9)
    assert {r["position"] for r in said.records} == {1, 2}


def test_a_dry_run_asks_nothing_and_says_what_there_is_to_ask(server, outputs, cache):
    asked = chat(server, "ranking", price=(10.0, 100.0))
    dry = judge(*outputs(5), judge=asked, cache=cache, dry_run=True)
    assert (len(server.bodies), cache.exists(), dry.n_judged, dry.cost) == (0, False, 0, 0.0)
    assert (dry.estimate.n_requests, dry.estimate.n_kept) == (10, 0)
    judge(*outputs(3), judge=asked, cache=cache)
    known = judge(*outputs(5), judge=asked, cache=cache, dry_run=True).estimate
    assert (known.n_requests, known.n_kept, len(server.bodies)) == (10, 6, 6)
    real = judge(*outputs(5), judge=asked, cache=cache)
    # The server counts 100 and 10 tokens whatever is asked; kept answers say so beforehand.
    assert known.cost == pytest.approx(real.cost, rel=0.01)
    assert real.cost <= known.most
    done = judge(*outputs(5), judge=asked, cache=cache, dry_run=True)
    assert "0 of 10 requests would be sent, 10 are answered from disk; about $0.0000" in done.summary()


def test_a_dry_run_without_a_price_counts_requests(server, outputs, cache):
    dry = judge(*outputs(5), judge=[chat(server), "length"], cache=cache, dry_run=True)
    assert dry.summary().splitlines() == [
        "one_token_tiny: dry run over 10 pairs: 10 of 10 requests would be sent, 0 are answered from disk; "
        "no price is known",
        "length: dry run over 5 pairs: 5 of 5 requests would be sent, 0 are answered from disk; "
        "no price is known",
    ]
    assert dry.estimate.n_requests == 15


def test_before_anything_is_kept_the_estimate_goes_by_bytes(server, outputs, cache):
    asked = chat(server, "reasoning", price=(4.0, 1000.0))
    dry = judge(*outputs(2), judge=asked, cache=False, dry_run=True, order="model_first").estimate
    mine, theirs = outputs(2)
    bodies = [
        asked.request([aa.judging.Shown(m["instruction"], m["output"], t["output"])], 0)["body"]
        for m, t in zip(mine, theirs, strict=True)
    ]
    n_bytes = sum(len(json.dumps(b["messages"], ensure_ascii=False).encode()) for b in bodies)
    assert dry.cost == pytest.approx((4.0 * n_bytes / 4 + 1000.0 * 400 * 2) / 1e6)
    assert "assuming 4 bytes a token and answers of 400 tokens" in dry.basis


@pytest.mark.slow
def test_the_shell_prices_cached_prompts_and_asks_again(server, outputs, cache, tmp_path, capsys):
    paths = []
    for name, records in zip(("mine", "theirs"), outputs(2), strict=True):
        paths.append(str(tmp_path / f"{name}.json"))
        (tmp_path / f"{name}.json").write_text(json.dumps(records))
    words = ["judge", *paths, "--judge", "tiny", "--design", "ranking", "--base-url", server.url]
    words += ["--cache", str(cache), "--out", str(tmp_path / "r"), "--order", "random"]
    server.faults = ["empty"]
    for more, n_asked in (([], 2), (["--ask-again", "refusal"], 2), (["--ask-again", "empty"], 3)):
        with pytest.raises(SystemExit):
            main([*words, "--price", "1", "2", "--cached-price", "0.5", *more])
        assert len(server.bodies) == n_asked
    settings = json.loads((tmp_path / "r/mine/ranking_tiny/annotations.settings.json").read_text())
    assert settings["judge"]["price_per_million_tokens"] == [1.0, 2.0, 0.5]
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main([*words, "--cached-price", "0.5"])
    assert left.value.code == 1
    assert "--cached-price: found without --price" in capsys.readouterr().err


@pytest.mark.slow
def test_the_shell_takes_several_judges_and_dry_runs(server, outputs, cache, tmp_path, capsys):
    paths = []
    for name, records in zip(("mine", "theirs"), outputs(4), strict=True):
        paths.append(str(tmp_path / f"{name}.json"))
        (tmp_path / f"{name}.json").write_text(json.dumps(records))
    words = ["judge", *paths, "--judge", "length", "--judge", "tiny", "--design", "one_token"]
    words += ["--base-url", server.url, "--cache", str(cache)]
    for more in (["--dry-run", "--price", "1", "1"], ["-f", "json"]):
        with pytest.raises(SystemExit) as left:
            main([*words, *more])
        assert left.value.code == 0
        if more[0] == "--dry-run":
            out = capsys.readouterr().out
            assert "one_token_tiny: dry run over 8 pairs: 8 of 8 requests would be sent" in out
            assert not server.bodies
    found = capsys.readouterr()
    assert {row["annotator"]: row["win_rate"] for row in json.loads(found.out)} == pytest.approx(
        {"length": 0.5, "one_token_tiny": 0.5}
    )
    assert found.err.count("judged: ") == 2


def test_a_batch_never_holds_a_pair_in_both_orders(server, outputs, cache):
    """A judge that sees both orders side by side could only agree with itself."""
    judge(*outputs(7), judge=chat(server, "batched_choice"), cache=cache)
    for body in server.bodies:
        prompt = body["messages"][-1]["content"]
        asked = [line for line in prompt.splitlines() if "Question " in line]
        assert len(asked) == len(set(asked)) > 0
    assert len(server.bodies) == 4


def test_without_a_limit_of_tokens_no_cost_is_promised(server, outputs, cache, tmp_path):
    endless = chat(server, "reasoning", price=(1.0, 1.0), extra={"max_tokens": None})
    dry = judge(*outputs(2), judge=endless, cache=cache, dry_run=True, max_cost=1.0)
    assert (dry.estimate.most, dry.settings["order"]) == (None, "random")
    assert "at most" not in dry.summary()
    dry.save(tmp_path)
    for more in ({}, {"batch": tmp_path / "batch.json"}):
        with pytest.raises(ValueError, match="max_cost: the request sets no limit of tokens"):
            judge(*outputs(2), judge=endless, cache=cache, max_cost=1.0, **more)
    assert not server.bodies


def test_a_dry_run_of_a_run_that_may_stop_early_counts_all_of_it(server, outputs, cache):
    dry = judge(
        *outputs(6), judge=chat(server), cache=cache, dry_run=True, stop_when=aa.Decided(), order="random"
    )
    assert (dry.estimate.n_requests, dry.n_judged, len(server.bodies)) == (6, 0, 0)
