"""A real server on this machine that speaks OpenAI's protocol, judges by length, and fails as told."""

import json
import math
import os
import re
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

JSON_STRING = r'"(?:[^"\\]|\\.)*"'


def lengths(prompt):
    """Return, per pair in a prompt, the lengths of the outputs shown first and second."""
    texts = re.findall(rf"^Answer (?:A|B|of model_[12]):\n({JSON_STRING})", prompt, re.MULTILINE)
    sizes = [len(json.loads(text)) for text in texts]
    return list(zip(sizes[::2], sizes[1::2], strict=True))


def completion(body, *, logprobs=True):
    """Answer as a judge of nothing but length would, in the form the prompt asks for."""
    prompt = body["messages"][-1]["content"]
    pairs = lengths(prompt)
    choice = {"index": 0, "finish_reason": "stop", "logprobs": None}
    if "Rank the two models" in prompt:
        first = 1 if pairs[0][0] >= pairs[0][1] else 2
        second = 1 if pairs[0][1] >= pairs[0][0] else 2
        text = json.dumps([{"model": "model_1", "rank": first}, {"model": "model_2", "rank": second}])
    elif "Choose the better answer" in prompt:
        names = ["A" if a > b else "B" if b > a else "draw" for a, b in pairs]
        text = "\n".join(f"Pair {i}: {name}" for i, name in enumerate(names, 1))
    else:
        p = 0.9 if pairs[0][0] > pairs[0][1] else 0.1 if pairs[0][0] < pairs[0][1] else 0.5
        text = "A" if p > 0.5 else "B"
        top = [{"token": "A", "logprob": math.log(p)}, {"token": "B", "logprob": math.log(1 - p)}]
        if logprobs and body.get("logprobs"):
            choice["logprobs"] = {
                "content": [{"token": text, "logprob": max(t["logprob"] for t in top), "top_logprobs": top}]
            }
    choice["message"] = {"role": "assistant", "content": text}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [choice],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.bodies.append(body)
            server.headers.append(self.headers)
            server.active += 1
            server.peak = max(server.peak, server.active)
            fault = server.faults.pop(0) if server.faults else server.always
        try:
            time.sleep(server.delay)
            deadline = time.monotonic() + 30
            while server.peak < server.gate and time.monotonic() < deadline:
                time.sleep(0.01)
            self._answer(body, fault)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with server.lock:
                server.active -= 1

    def _answer(self, body, fault):
        if isinstance(fault, int):
            return self._send({"error": {"message": self.server.complaint, "type": "test"}}, fault)
        if fault == "slow":
            time.sleep(self.server.slow)
        if fault == "cut":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return None
        if fault == "half":
            data = json.dumps(completion(body)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            return None
        if fault == "garbage":
            return self._send('{"choices": [')
        if fault == "no choices":
            return self._send({"error": "none of your business"})
        reply = completion(body, logprobs=fault != "no logprobs")
        message = reply["choices"][0]["message"]
        if fault == "empty":
            message["content"] = ""
            reply["choices"][0]["logprobs"] = None
        if fault == "refusal":
            message["content"], message["refusal"] = None, "I would rather not."
        if fault == "chatter":
            message["content"] = "Both answers have their merits."
            reply["choices"][0]["logprobs"] = None
        if fault == "echo":
            message["content"] += "\n" + self.headers.get("Authorization", "")
        return self._send(reply)

    def _send(self, value, state=200):
        data = (value if isinstance(value, str) else json.dumps(value)).encode()
        self.send_response(state)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if state != 200:
            self.send_header("retry-after-ms", "5")
        self.end_headers()
        self.wfile.write(data)
        with self.server.lock:
            self.server.n_answered += state == 200


class JudgeServer(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.bodies, self.headers, self.faults = [], [], []
        self.always, self.delay, self.slow, self.complaint = None, 0.0, 2.0, "injected"
        self.gate = 0
        self.active = self.peak = self.n_answered = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request, address):
        pass  # cut connections are meant


@pytest.fixture
def server():
    pytest.importorskip("openai")
    with JudgeServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def outputs():
    """Return a function that makes n outputs of a model and of a reference; the model wins every second."""

    def make(n):
        prompts = [f"Question {i}?" for i in range(n)]
        model = [
            {"instruction": p, "dataset": "own", "generator": "mine", "output": "yes " * (2 + 2 * (i % 2))}
            for i, p in enumerate(prompts)
        ]
        reference = [
            {"instruction": p, "dataset": "own", "generator": "ref", "output": "no! " * 3} for p in prompts
        ]
        return model, reference

    return make


@pytest.fixture(autouse=True)
def _no_real_keys(monkeypatch):
    for name in [n for n in os.environ if n.startswith("OPENAI_")]:
        monkeypatch.delenv(name)
