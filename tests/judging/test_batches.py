"""Batches: handed in, left, collected; same store, same files, half the price; nothing is asked twice."""

import json

import pytest
from batch_server import running

import alpaca_analysis as aa
from alpaca_analysis.asking import batches
from alpaca_analysis.asking.store import AnswerStore
from alpaca_analysis.judging import ChatJudge, JudgeWarning, ServerError, judge

KEY = "sk-secret-0123456789"
PRICE = (10.0, 100.0)
EACH = (10 * 100 + 100 * 10) / 1e6 / 2  # the server counts 100 and 10 tokens


@pytest.fixture
def server():
    pytest.importorskip("httpx")
    with running() as made:
        yield made


@pytest.fixture
def ask(server, tmp_path, outputs):
    def call(n=4, *, names=("",), retries=0, **options):
        judges = [
            ChatJudge(
                f"tiny{name}", base_url=server.url, price=PRICE, max_retries=retries, api_key_env="MY_KEY"
            )
            for name in names
        ]
        common = {"batch": tmp_path / "batch.json", "cache": tmp_path / "answers.sqlite"}
        return judge(*outputs(n), judge=judges, **{**common, **options})

    return call


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)


def outcomes(result):
    return [None if r["preference"] is None else r["preference"] - 1 for r in result.records]


def waits(n):
    return pytest.warns(
        JudgeWarning, match=f"{n} of {n} pairs were not judged: {n} x waits in batch batch_0: "
    )


@pytest.mark.slow
def test_hand_in_leave_and_collect(server, ask, tmp_path):
    with waits(8):
        first = ask()
    assert (first.n_asked, first.n_judged, first.cost) == (0, 0, 0.0)
    lines = server.asked(server.batches["batch_0"])
    assert len(lines) == 8
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
    assert server.batches["batch_0"]["endpoint"] == "/v1/chat/completions"
    server.batches["batch_0"]["status"] = "in_progress"
    with waits(8):
        assert "waits in batch batch_0: in_progress; the same call collects it" in ask().summary()
    server.end()
    got = ask()
    assert outcomes(got) == [0.0, 0.0, 1.0, 1.0] * 2
    assert (got.n_asked, got.n_cached, got.cost) == (8, 0, pytest.approx(8 * EACH))
    assert [r["price_per_example"] for r in got.records] == pytest.approx([EACH] * 8)
    assert all("Looked at both." in r["raw_completion"] for r in got.records)
    again = ask()
    assert (again.n_asked, again.n_cached, again.cost) == (0, 8, 0.0)
    without = ask(batch=None)  # the same answers as if each had been asked by itself
    assert without.records == got.records
    assert len(server.batches) == 1
    back = aa.read_annotations(got.save(tmp_path / "results"))
    assert aa.win_rate(back, method="t").loc[0, "n_total"] == 8


def test_what_is_known_is_not_handed_in_and_new_pairs_are(server, ask):
    with waits(4):
        ask(2)
    with pytest.warns(JudgeWarning, match="4 x waits in batch batch_0: .*; 2 x waits in batch batch_1: "):
        ask(3)
    server.end()
    assert ask(3).n_asked == 6
    with pytest.warns(JudgeWarning, match="2 of 8 pairs were not judged"):
        assert ask(4).n_cached == 6
    assert [len(server.asked(b)) for b in server.batches.values()] == [4, 2, 2]


def test_what_failed_says_why_and_is_handed_in_by_the_next_call(server, ask):
    with waits(8):
        ask()
    server.complaint = f"too long, said {KEY}"
    server.end(refused=[1, 2], answered=7, more=["no JSON", '{"custom_id": "other"}', "[]"])
    with pytest.warns(JudgeWarning) as warned:
        got = ask()
    assert (got.n_judged, len(server.batches)) == (5, 1)
    reasons = [r["reason"] for r in got.records if r["reason"]]
    assert reasons == [
        "failed: state 400, too long, said [hidden]",
        "failed: state 400, too long, said [hidden]",
        "failed: batch batch_0 completed without an answer",
    ]
    assert KEY not in str(warned[0].message)
    with pytest.warns(JudgeWarning, match="3 of 8 pairs were not judged: 3 x waits in batch batch_1"):
        ask()
    server.end()
    assert ask().n_judged == 8


@pytest.mark.parametrize("state", ["expired", "cancelled"])
def test_what_was_answered_before_the_end_is_kept(server, ask, state):
    with waits(8):
        ask()
    server.end(state, answered=3)
    with pytest.warns(JudgeWarning, match=f"5 x failed: batch batch_0 {state} without an answer"):
        got = ask()
    assert (got.n_judged, got.cost) == (3, pytest.approx(3 * EACH))


def test_a_batch_that_was_refused_as_a_whole_says_why(server, ask):
    with waits(8):
        ask()
    server.batches["batch_0"] |= {
        "status": "failed",
        "errors": {"object": "list", "data": [{"code": "x", "message": "model_not_found", "line": 1}]},
    }
    with pytest.warns(JudgeWarning, match="8 x failed: batch batch_0: model_not_found"):
        ask()


def test_a_batch_whose_making_was_not_told_is_found_again(server, ask):
    server.faults["/batches"] = "lost"
    with pytest.raises(ServerError, match="made, but not told"):
        ask()
    with waits(8):
        ask()
    server.end()
    assert ask().n_judged == 8
    assert len(server.batches) == 1


@pytest.mark.slow
def test_passing_faults_are_tried_again(server, ask):
    server.faults["/files"] = 503
    with waits(8):
        ask(retries=1)
    server.end()
    server.faults["/batches/batch_0"] = 429
    assert ask(retries=1).n_judged == 8


def test_a_server_without_batches_is_told_and_nothing_is_lost(server, ask):
    server.faults["/files"] = 404
    with pytest.raises(ServerError, match="state 404, injected"):
        ask()
    with waits(8):
        ask()


def test_money_is_promised_before_it_is_spent(server, ask):
    with pytest.warns(JudgeWarning, match=r"not asked: \$.* promised"):
        first = ask(4, order="both", max_cost=1.0)
    judged = ChatJudge("tiny", base_url=server.url, price=PRICE)
    handed = server.asked(server.batches["batch_0"])
    bounds = [judged.bound({"body": line["body"]}) / 2 for line in handed]
    assert sum(bounds) <= 1.0 < sum(bounds) + min(bounds)
    assert 0 < len(handed) < len(first.records)


def test_large_batches_are_cut_into_files(server, ask, monkeypatch):
    monkeypatch.setattr(batches, "MOST_REQUESTS", 3)
    with pytest.warns(JudgeWarning, match="3 x waits in batch batch_0: .*3 x waits in batch batch_1"):
        ask()
    assert [len(server.asked(b)) for b in server.batches.values()] == [3, 3, 2]
    server.end()
    assert ask().n_judged == 8


def test_two_judges_share_one_file(server, ask):
    with pytest.warns(JudgeWarning, match="8 x waits in batch batch_0: .*; 8 x waits in batch batch_1: "):
        ask(names=("", "2"))
    server.end()
    got = ask(names=("", "2"))
    assert [part.cost for part in got.parts] == pytest.approx([8 * EACH] * 2)
    assert {line["body"]["model"] for b in server.batches.values() for line in server.asked(b)} == {
        "tiny",
        "tiny2",
    }


def test_keys_are_sent_and_written_nowhere(server, ask, tmp_path):
    with waits(8):
        ask()
    server.end()
    ask().save(tmp_path / "results")
    assert {headers["Authorization"] for _, _, headers in server.calls} == {f"Bearer {KEY}"}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 3
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    remembered = json.loads((tmp_path / "batch.json").read_text())
    assert (remembered["batches"][0]["keys"], remembered["batches"][0]["state"]) == ([], "completed")


def test_one_process_at_a_time(server, ask, tmp_path):
    with AnswerStore(tmp_path / "answers.sqlite") as store:
        store.claim(f"batches in {(tmp_path / 'batch.json').resolve()}")
        with pytest.raises(BlockingIOError, match=r"batch\.json: another process uses it"):
            ask()


def test_what_takes_no_batches_is_refused(server, ask, outputs, tmp_path):
    (tmp_path / "batch.json").write_text("[1, 2]")
    with pytest.raises(aa.AnnotationError, match=r"batch\.json: .*a file that remembers batches"):
        ask()
    with pytest.raises(ValueError, match="batch: found cache=False"):
        ask(cache=False)
    with pytest.raises(ValueError, match="batch: found 'length', expected a judge behind a server"):
        judge(*outputs(1), judge="length", batch=tmp_path / "b.json")


def test_a_dry_run_knows_the_price_of_a_batch(server, ask):
    alone, batched = ask(dry_run=True, batch=None).estimate, ask(dry_run=True).estimate
    assert batched.cost == pytest.approx(alone.cost / 2)
    assert batched.most == pytest.approx(alone.most / 2)
    assert not server.batches


def test_outputs_are_generated_in_batches_too(server, tmp_path):
    backend = aa.ServerBackend("tiny", base_url=server.url, price=PRICE)
    options = {"batch": tmp_path / "batch.json", "cache": tmp_path / "answers.sqlite"}
    with pytest.warns(aa.GenerateWarning, match="2 x waits in batch batch_0"):
        aa.generate(["Say one.", "Say two."], backend, **options)
    server.end()
    made = aa.generate(["Say one.", "Say two."], backend, **options)
    assert [r["output"] for r in made.records] == ["SAY ONE.", "SAY TWO."]
    assert made.cost == pytest.approx(2 * EACH)
    with pytest.raises(ValueError, match="batch: found 'str'"):
        aa.generate(["a"], str, **options)


@pytest.mark.slow
def test_the_shell_hands_in_and_collects(server, outputs, tmp_path, capsys):
    from alpaca_analysis.cli import main

    paths = []
    for name, records in zip(("mine", "theirs"), outputs(4), strict=True):
        paths.append(str(tmp_path / f"{name}.json"))
        (tmp_path / f"{name}.json").write_text(json.dumps(records))
    words = ["judge", *paths, "--judge", "tiny", "--base-url", server.url, "-f", "json"]
    words += ["--cache", str(tmp_path / "answers.sqlite"), "--batch", str(tmp_path / "batch.json")]
    for code in (1, 0):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == code
        found = capsys.readouterr()
        assert ("8 x waits in batch batch_0" in found.err) == (code == 1)
        server.end()
    assert json.loads(found.out)[0]["win_rate"] == 0.5
