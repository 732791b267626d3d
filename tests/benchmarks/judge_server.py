"""A server that judges by a word, quickly, in a process of its own: for the benchmark of judging.

    python tests/benchmarks/judge_server.py SECONDS

Prints its port; each reply comes after that many seconds.
"""

import asyncio
import json
import subprocess
import sys
from contextlib import contextmanager

PAUSE, CONCURRENCY = 0.05, 32  # seconds for a reply, and requests at once
BETTER, WORSE = b"lucid", b"murky"  # the words that decide, one in each output
THOUGHTS = "The first answer is to the point. The second one wanders off. " * 10


def completion(text):
    """Return the bytes of a whole reply."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 500, "completion_tokens": 150, "total_tokens": 650}
    fields = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
    body = json.dumps({**fields, "choices": [choice], "usage": usage}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def ranking(first):
    """Return a list of ranks, as AlpacaEval's prompt and this package's design both ask for."""
    return repr([{"model": "model_1", "rank": 2 - first}, {"model": "model_2", "rank": 1 + first}])


VERDICTS = {first: completion(f"{THOUGHTS}\n\nVerdict: {'BA'[first]}") for first in (False, True)}
RANKINGS = {first: completion(ranking(first)) for first in (False, True)}


async def serve(reader, writer, pause):
    """Answer the requests of one connection, one after the other."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            await asyncio.sleep(pause)
            first = body.find(BETTER) < body.find(WORSE)
            writer.write((VERDICTS if b"Verdict:" in body else RANKINGS)[first])
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(pause):
    """Serve until the process is ended."""
    server = await asyncio.start_server(
        lambda r, w: serve(r, w, pause), "127.0.0.1", 0, limit=2**22, backlog=512
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def running():
    """Run the server in a process of its own and give its port."""
    with subprocess.Popen(
        [sys.executable, __file__, str(PAUSE)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


async def exchange(port, n):
    """Send n requests over so many connections as bare bytes, and count the bytes of the replies."""
    request = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 3000\r\n\r\n" + b"x" * 3000
    left = iter(range(n))

    async def one():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            writer.write(request)
            await reader.readexactly(len(RANKINGS[False]))
        writer.close()

    await asyncio.gather(*(one() for _ in range(CONCURRENCY)))


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
