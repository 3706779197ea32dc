"""The recordings of the vendors' streams, played by a server of the tests: as an upstream, or to a client directly.

The dialect is the route's; the model's name is the recording's.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

FIXTURES: Final = Path(__file__).parents[2] / "fixtures"
#: Dialect -> the folder of its vendor's recordings.
FOLDERS: Final = {
    "openai.chat": "openai-chat",
    "openai.responses": "openai-responses",
    "anthropic": "anthropic",
    "gemini": "gemini",
    "ollama": "ollama",
}
_ROUTES: Final = {
    "/v1/chat/completions": "openai.chat",
    "/v1/responses": "openai.responses",
    "/v1/messages": "anthropic",
    "/api/chat": "ollama",
    "/ollama/api/chat": "ollama",
}
_KEPT: Final = frozenset({"content-type", "x-request-id", "request-id"})


def expected(dialect: str, case: str) -> dict[str, Any]:
    """What a recording says, as its keeper wrote it down."""
    described = json.loads((FIXTURES / FOLDERS[dialect] / f"{case}.expected.json").read_text("utf-8"))
    found: dict[str, Any] = described["expected"]
    return found


def recordings(dialect: str) -> list[str]:
    """The names of those that are streams."""
    folder = FIXTURES / FOLDERS[dialect]
    return sorted(path.stem for path in folder.iterdir() if path.suffix in (".sse", ".ndjson"))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    extra: Mapping[str, tuple[str, bytes]] = {}
    heard: list[bytes]

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        self.heard.append(content)
        body = json.loads(content)
        path = self.path.partition("?")[0]
        if path in self.extra:
            content_type, content = self.extra[path]
            self._answer(200, {"content-type": content_type}, content)
            return
        prefix, _, rest = path.partition("/models/")
        if rest and prefix.startswith("/v1beta"):
            dialect, case = "gemini", rest.partition(":")[0]
        else:
            dialect, case = _ROUTES[path], body["model"]
        folder = FIXTURES / FOLDERS[dialect]
        http = json.loads((folder / f"{case}.expected.json").read_text("utf-8"))["http"]
        [content_file] = [each for each in folder.glob(f"{case}.*") if not each.name.endswith(".expected.json")]
        fields = {name: value for name, value in http["headers"].items() if name in _KEPT}
        self._answer(http["status"], fields, content_file.read_bytes())

    def _answer(self, status: int, fields: Mapping[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in {**fields, "content-length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the tests say what is wrong."""


@contextmanager
def playing(extra: Mapping[str, tuple[str, bytes]] | None = None, heard: list[bytes] | None = None) -> Iterator[str]:
    """The address of a running player.

    Args:
        extra: path -> content type and body that are answered there.
        heard: takes the body of every request.
    """
    handler = type("Handler", (_Handler,), {"extra": extra or {}, "heard": [] if heard is None else heard})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
