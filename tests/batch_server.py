"""A server on this machine that takes batches of OpenAI's kind, ends them when told, and fails as told."""

import json
import re
import threading
from contextlib import contextmanager
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

TEXT = r'^Answer [AB]:\n("(?:[^"\\]|\\.)*")'


def completion(body):
    """Prefer the longer answer of a pair; say a prompt back in capitals."""
    prompt = body["messages"][-1]["content"]
    sizes = [len(json.loads(text)) for text in re.findall(TEXT, prompt, re.MULTILINE)]
    said = prompt.upper()
    if sizes:
        said = f"Looked at both.\nVerdict: {'A' if sizes[0] > sizes[1] else 'B'}"
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
    return {"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 10}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._reply(urlsplit(self.path).path.removeprefix("/v1"), None)

    def do_POST(self):
        self._reply(self.path.removeprefix("/v1"), self.rfile.read(int(self.headers["Content-Length"])))

    def _reply(self, path, data):
        server = self.server
        with server.lock:
            server.calls.append((self.command, path, dict(self.headers)))
            fault = server.faults.pop(path, None)
            said = fault if isinstance(fault, int) else self._answer(path, data)
        state = 200
        if isinstance(said, int):
            state, said = said, {"error": {"message": server.complaint}}
        if fault == "lost":
            state, said = 500, {"error": {"message": "made, but not told"}}
        raw = (said if isinstance(said, str) else json.dumps(said)).encode()
        self.send_response(state)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _answer(self, path, data):
        server = self.server
        if path == "/chat/completions":
            return completion(json.loads(data))
        if path == "/files":
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            parts = {
                p.get_param("name", header="content-disposition"): p
                for p in BytesParser().parsebytes(head + data).get_payload()
            }
            assert parts["purpose"].get_payload() == "batch"
            return server.keep(parts["file"].get_payload(decode=True).decode())
        if path == "/batches" and data is None:
            return {"data": list(server.batches.values())}
        if path == "/batches":
            asked = json.loads(data)
            assert asked["completion_window"] == "24h"
            made = {"id": f"batch_{len(server.batches)}", "status": "validating", **asked}
            server.batches[made["id"]] = made
            return made
        if path.startswith("/batches/"):
            return server.batches.get(path.removeprefix("/batches/"), 404)
        if path.startswith("/files/"):
            return server.files[path.removeprefix("/files/").removesuffix("/content")]
        return 404


class BatchServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock, self.calls, self.faults, self.complaint = threading.Lock(), [], {}, "injected"
        self.batches, self.files = {}, {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"

    def keep(self, text):
        name = f"file-{len(self.files)}"
        self.files[name] = text
        return {"id": name, "purpose": "batch"}

    def asked(self, batch):
        """Return the lines that were handed in."""
        return [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]

    def end(self, status="completed", *, answered=None, refused=(), more=()):
        """End every batch: the first `answered` lines have answers, those at `refused` an error instead."""
        for batch in self.batches.values():
            if batch["status"] in ("completed", "failed", "expired", "cancelled"):
                continue
            right, wrong = [], []
            for i, line in enumerate(self.asked(batch)[:answered]):
                if i in refused:
                    body, state, to = {"error": {"message": self.complaint}}, 400, wrong
                else:
                    body, state, to = completion(line["body"]), 200, right
                response = {"status_code": state, "request_id": "x", "body": body}
                to.append(json.dumps({"custom_id": line["custom_id"], "response": response, "error": None}))
            batch["status"] = status
            batch["output_file_id"] = self.keep("\n".join([*more, *right[::-1]]))["id"]
            batch["error_file_id"] = self.keep("\n".join(wrong))["id"] if wrong else None


@contextmanager
def running():
    with BatchServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
