"""The data door against a real server on loopback that fails in every way a network does."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest

import alpaca_analysis as aa
from alpaca_analysis.sources import catalogue as sources
from alpaca_analysis.sources import downloads
from alpaca_analysis.sources.catalogue import DataUnavailableError
from alpaca_analysis.sources.downloads import download_files

BODY = bytes(range(256)) * 2_000
PATH = "some/LLMEval^2 + more/file.json"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = unquote(self.path).removeprefix("/")
        self.server.asked.append(path)
        body = self.server.files.get(path)
        faults = self.server.faults
        fault = faults.pop(0) if faults else None
        if body is None or fault == 404:
            return self.send_error(404)
        if isinstance(fault, int):
            return self.send_error(fault)
        if fault == "altered":
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.send_response(200)
        if fault != "truncated without length":
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if fault in ("truncated", "truncated without length", "gone"):
            body = body[: len(body) // 2]
        self.wfile.write(body)
        self.wfile.flush()
        if fault == "gone":
            self.server.gone.set()
            self.server.socket.close()  # nobody listens any more
        if fault == "slow":
            time.sleep(0.2)
        self.close_connection = True

    def log_message(self, *_):
        pass


@contextmanager
def serving(files, faults=()):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.faults, server.asked, server.gone = files, list(faults), [], threading.Event()
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=_serve, args=(server,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        if not server.gone.is_set():
            server.shutdown()
        server.server_close()


def _serve(server):
    try:
        server.serve_forever(poll_interval=0.02)
    except (OSError, ValueError):
        assert server.gone.is_set()


def listing(files, *, known=True):
    rows = {
        path: {
            "url": f"https://publisher.invalid/{path}",
            "sha256": hashlib.sha256(body).hexdigest() if known else None,
            "bytes": len(body) if known else pd.NA,
        }
        for path, body in files.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").astype({"bytes": "Int64"})


@pytest.fixture(autouse=True)
def no_mirror_and_short_pauses(monkeypatch, tmp_path):
    monkeypatch.delenv(sources.MIRROR, raising=False)
    monkeypatch.setenv(sources.CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "PAUSE", 0.01)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def everything_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


FILES = {PATH: BODY}


def test_good_file_arrives_once_and_whole(cache, capsys):
    with serving(FILES) as server:
        for _ in range(2):
            download_files(listing(FILES), cache, url=server.url)
        assert server.asked == [PATH]
    assert (cache / PATH).read_bytes() == BODY
    assert everything_in(cache) == [PATH]
    assert "Downloading" in capsys.readouterr().err


def test_progress_can_be_silent(cache, capsys):
    with serving(FILES) as server:
        download_files(listing(FILES), cache, url=server.url, progress=False)
    assert capsys.readouterr().err == ""


def test_address_can_come_from_the_environment(cache, monkeypatch):
    with serving(FILES) as server:
        monkeypatch.setenv("ALPACA_ANALYSIS_URL", server.url + "/")
        download_files(listing(FILES), cache)
    assert (cache / PATH).read_bytes() == BODY


def test_address_that_is_none(cache):
    with pytest.raises(
        DataUnavailableError, match="'ftp://x', expected an address that starts with https://"
    ):
        download_files(listing(FILES), cache, url="ftp://x")


@pytest.mark.parametrize(
    ("fault", "attempts", "message"),
    [
        (404, 1, r"does not exist \(404\).*ALPACA_ANALYSIS_DATA"),
        (403, 1, r"answered with error 403.*Try again later"),
        (500, 3, r"answered with error 500.*Try again later"),
        ("altered", 1, r"sent other bytes than published.*Nothing was kept.*proxy or login page"),
        ("truncated", 3, r"the connection broke off.*ALPACA_ANALYSIS_DATA"),
        ("truncated without length", 3, r"sent 256,000 of 512,000 bytes, 3 times\. Nothing was kept"),
        ("gone", 2, r"there is no connection to it.*Connect to the internet"),
    ],
)
def test_faults_leave_nothing_behind_and_say_what_to_do(fault, attempts, message, cache):
    with serving(FILES, [fault] * 9) as server:
        with pytest.raises(DataUnavailableError, match=message) as caught:
            download_files(listing(FILES), cache, url=server.url, progress=False)
        assert len(server.asked) == (1 if fault == "gone" else attempts)
    assert PATH in str(caught.value)
    assert everything_in(cache) == []


@pytest.mark.parametrize("fault", [500, 502, 503, 504, 429, "truncated", "truncated without length"])
def test_passing_faults_are_tried_again(fault, cache):
    with serving(FILES, [fault]) as server:
        download_files(listing(FILES), cache, url=server.url, progress=False)
        assert len(server.asked) == 2
    assert (cache / PATH).read_bytes() == BODY
    assert everything_in(cache) == [PATH]


@pytest.mark.parametrize("fault", ["altered", "truncated", "gone", 404, 500])
@pytest.mark.slow
def test_faults_leave_an_older_damaged_file_to_be_replaced_later(fault, cache):
    (cache / PATH).parent.mkdir(parents=True)
    (cache / PATH).write_bytes(b"damaged")
    with serving(FILES, [fault] * 3) as server, pytest.raises(DataUnavailableError):
        download_files(listing(FILES), cache, url=server.url, progress=False)
    assert downloads.status(cache / PATH, listing(FILES).iloc[0]) == "wrong size"
    with serving(FILES) as server:
        download_files(listing(FILES), cache, url=server.url, progress=False)
    assert (cache / PATH).read_bytes() == BODY


def test_files_that_arrived_before_a_fault_stay(cache):
    files = {"a.json": b"first", "b.json": b"second"}
    with serving(files, [None, 404]) as server, pytest.raises(DataUnavailableError, match=r"b\.json"):
        download_files(listing(files), cache, url=server.url, progress=False)
    assert everything_in(cache) == ["a.json"]
    with serving(files) as server:
        download_files(listing(files), cache, url=server.url, progress=False)
        assert server.asked == ["b.json"]


def test_interruption_by_the_user_leaves_nothing_behind(cache, monkeypatch):
    def interrupted(url, file, row, bar):
        Path(file).write_bytes(BODY[:1000])
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "_stream", interrupted)
    with pytest.raises(KeyboardInterrupt):
        download_files(listing(FILES), cache, progress=False)
    assert everything_in(cache) == []


def test_no_network_fails_at_once(cache, monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE", float("inf"))  # nobody can sleep so long: a second attempt raises
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(
            DataUnavailableError, match=r"there is no connection to it.*Connect to the internet"
        ):
            download_files(listing(FILES), cache, url=url, progress=False)
    assert everything_in(cache) == []


def test_name_that_does_not_resolve_is_tried_once(cache, monkeypatch):
    asked = []

    def unknown(*_, **__):
        asked.append(1)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DataUnavailableError, match="there is no connection to it"):
        download_files(listing(FILES), cache, progress=False)
    assert len(asked) == 1


@pytest.mark.slow
def test_two_processes_at_once_both_end_with_good_files(cache):
    files = {f"folder/{i}.json": BODY + bytes([i]) for i in range(8)}
    code = (
        "import sys, pandas as pd; from pathlib import Path; from io import StringIO\n"
        "from alpaca_analysis.sources.downloads import download_files\n"
        "files = pd.read_json(StringIO(sys.argv[1]), orient='index', dtype=False)\n"
        "download_files(files, Path(sys.argv[2]), url=sys.argv[3], progress=False)\n"
    )
    with serving(files, ["slow"] * 32) as server:
        arguments = [
            sys.executable,
            "-c",
            code,
            listing(files).to_json(orient="index"),
            str(cache),
            server.url,
        ]
        both = [subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        errors = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert everything_in(cache) == sorted(files)
    assert all((cache / path).read_bytes() == body for path, body in files.items())


@contextmanager
def without_privileges():
    """Let file permissions apply also where the tests run as root."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def shared_cache():
    with tempfile.TemporaryDirectory(prefix="alpaca-analysis-") as folder:
        yield Path(folder)
        for path in [Path(folder), *Path(folder).rglob("*")]:
            path.chmod(0o755)


@pytest.mark.skipif(os.name == "nt", reason="permissions of folders are another matter on Windows")
def test_read_only_cache_is_named_with_its_remedy_and_serves_what_it_has(shared_cache):
    shared_cache.chmod(0o555)
    with serving(FILES) as server:
        with without_privileges(), pytest.raises(DataUnavailableError) as caught:
            download_files(listing(FILES), shared_cache, url=server.url, progress=False)
        message = str(caught.value)
        assert f"{shared_cache} cannot be written" in message
        assert "Set ALPACA_ANALYSIS_CACHE" in message
        assert everything_in(shared_cache) == []

        shared_cache.chmod(0o755)
        download_files(listing(FILES), shared_cache, url=server.url, progress=False)
        for folder in (shared_cache, *(p for p in shared_cache.rglob("*") if p.is_dir())):
            folder.chmod(0o555)
        n_asked = len(server.asked)
        with without_privileges():
            download_files(listing(FILES), shared_cache, url=server.url, progress=False)
        assert len(server.asked) == n_asked


def test_cache_that_is_a_file(tmp_path):
    (tmp_path / "taken").write_text("")
    with serving(FILES) as server, pytest.raises(DataUnavailableError, match="taken cannot be written"):
        download_files(listing(FILES), tmp_path / "taken", url=server.url, progress=False)


def test_damaged_cache_without_leave_to_download(cache):
    (cache / PATH).parent.mkdir(parents=True)
    (cache / PATH).write_bytes(BODY[:-1])
    with pytest.raises(DataUnavailableError, match="damaged and downloading was not asked for"):
        download_files(listing(FILES), cache, download=False)


# Human annotations: their hash is not known beforehand.

HUMANS = "alpaca_eval/alpaca_farm_human_crossannotations.json"


def human_file(preference=1):
    return json.dumps(
        [
            {
                "instruction": f"Question {i}",
                "output_1": "a",
                "output_2": "bb",
                "preference": preference,
                "annotator_index": k,
                "dataset": "koala",
            }
            for i in range(3)
            for k in range(4)
        ]
    ).encode()


def test_human_annotations_are_checked_by_shape_and_their_hash_is_demanded_ever_after(cache, monkeypatch):
    body = human_file()
    with serving({HUMANS: body}) as server:
        monkeypatch.setenv("ALPACA_ANALYSIS_URL", server.url)
        table = aa.load("alpaca_farm_humans")
        assert table["annotator"].nunique() == 4
        assert len(table) == 12
        assert sources.available("alpaca_farm_humans") == "cached"
        assert (cache / f"{HUMANS}.sha256").read_text().strip() == hashlib.sha256(body).hexdigest()
        assert sources.verify("alpaca_farm_humans")["status"].tolist() == ["ok"]

        server.files[HUMANS] = human_file(preference=2)  # the publisher changes it: the cached one stays
        assert aa.load("alpaca_farm_humans")["outcome"].eq(0).all()
        (cache / HUMANS).unlink()
        with pytest.raises(DataUnavailableError, match=r"not the file first downloaded.*Delete that record"):
            aa.load("alpaca_farm_humans")
        assert not (cache / HUMANS).exists()
        (cache / f"{HUMANS}.sha256").unlink()
        assert aa.load("alpaca_farm_humans")["outcome"].eq(1).all()


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Please log in</html>",
        b"[]",
        b'[{"instruction": "x"}]',
        human_file()[:-40],
        human_file().replace(b"annotator_index", b"other"),
    ],
)
def test_anything_else_in_their_place_is_refused(body, cache, monkeypatch):
    with serving({HUMANS: body}) as server:
        monkeypatch.setenv("ALPACA_ANALYSIS_URL", server.url)
        with pytest.raises(DataUnavailableError, match=r"does not hold human annotations.*Nothing was kept"):
            aa.load("alpaca_farm_humans")
    assert everything_in(cache) == []


def test_human_annotations_put_there_by_hand_are_accepted_and_recorded(cache):
    (cache / HUMANS).parent.mkdir(parents=True)
    (cache / HUMANS).write_bytes(human_file())
    assert sources.verify("alpaca_farm_humans")["status"].tolist() == ["unknown hash"]
    assert len(aa.load("alpaca_farm_humans", download=False)) == 12
    assert sources.verify("alpaca_farm_humans")["status"].tolist() == ["ok"]


# The whole way, with the published files.


@pytest.mark.rows
@pytest.mark.slow
def test_rows_fetched_over_http_are_the_mirror_s(mirror, cache, monkeypatch):
    names = ["pandalm", "llmbar"]
    files = {path: (mirror / path).read_bytes() for name in names for path in sources._paths(name)}
    with serving(files, [500, "truncated"]) as server:
        monkeypatch.setenv("ALPACA_ANALYSIS_URL", server.url)
        for name in names:
            assert sources.available(name) == "download"
            downloaded = aa.load(name)
            assert sources.available(name) == "cached"
            assert set(sources.verify(name)["status"]) == {"ok"}
            with monkeypatch.context() as patch:
                patch.setenv(sources.MIRROR, str(mirror))
                assert sources.available(name) == "mirror"
                pd.testing.assert_frame_equal(downloaded, aa.load(name))
    assert everything_in(cache) == sorted(files)


@pytest.mark.rows
def test_a_mirror_with_gaps_is_completed_from_the_cache(mirror, cache, monkeypatch, tmp_path):
    partial = tmp_path / "mirror"
    (partial / "pandalm").mkdir(parents=True)
    paths = sources._paths("pandalm")
    (partial / paths[0]).write_bytes((mirror / paths[0]).read_bytes())
    monkeypatch.setenv(sources.MIRROR, str(partial))
    with pytest.raises(DataUnavailableError, match=f"2 of 3 files.*{paths[1]}"):
        aa.load("pandalm", download=False)
    with serving({path: (mirror / path).read_bytes() for path in paths}) as server:
        files = sources.fetch("pandalm", url=server.url)
        assert server.asked == paths[1:]
    assert files == [partial / paths[0], cache / paths[1], cache / paths[2]]


def test_verify_finds_damage(monkeypatch, tmp_path):
    monkeypatch.setenv(sources.MIRROR, str(tmp_path))
    path = "pandalm/testset-v1.json"
    (tmp_path / "pandalm").mkdir()
    (tmp_path / path).write_bytes(b"short")
    found = sources.verify("pandalm").set_index("path")
    assert found.loc[path].tolist() == ["mirror", "wrong size"]
    assert set(found["status"]) == {"wrong size", "absent"}
    (tmp_path / path).write_bytes(bytes(937_899))
    assert sources.verify(path)["status"].tolist() == ["wrong hash"]
