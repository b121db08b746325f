"""A judge on this machine: an HTTP server that answers like an OpenAI-compatible endpoint."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GOOD = '{"subject": 4, "appearance": 3.5, "temporal": 2, "hallucination": 5}'


class Endpoint(ThreadingHTTPServer):
    """Answers with ``replies`` in turn, the last one for ever; an int is an HTTP error."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: list[str | int] = [GOOD]
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Endpoint)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.requests.append({"path": self.path, **json.loads(body)})
        server.keys.append(self.headers.get("Authorization"))
        reply = server.replies.pop(0) if len(server.replies) > 1 else server.replies[0]
        if isinstance(reply, int):
            self.send_error(reply)
            return
        answer = {"choices": [{"message": {"role": "assistant", "content": reply}}]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def serving() -> Iterator[Endpoint]:
    """An endpoint that is served while the context lasts."""
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
