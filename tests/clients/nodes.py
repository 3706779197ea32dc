"""Scripts of ``tests/clients/node`` as processes that answer one request after the other: Node takes half a second to
start, and tests of a client ask dozens of times."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests import programs

SCRIPTS: Final = Path(__file__).parent / "node"
# Seconds. Nothing on loopback takes so long; it only keeps a broken test from hanging the run.
_LIMIT: Final = 60.0


class Process:
    """A script that runs; a line of JSON in, a line of JSON out."""

    def __init__(self, script: str, *arguments: str) -> None:
        if not (SCRIPTS / "node_modules").is_dir():
            programs.missing("no npm clients: run .ci/node-packages")
        self.users = 0
        self._process = subprocess.Popen(
            [programs.node(), str(SCRIPTS / script), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def run(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        line = self._lines.get(timeout=_LIMIT)
        assert line, f"it ended with {self._process.wait(_LIMIT)}"
        return json.loads(line)

    def value(self, *args: str, given: Any = None) -> Any:
        """What a script that serves by ``lines.mjs`` makes of *args* and its input."""
        answer = self.run({"args": args, "input": given})
        assert "threw" not in answer, answer["threw"]
        return answer["value"]

    def close(self) -> None:
        """Its input ends, and so does it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(_LIMIT)
        self._reader.join()
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(b"")


@contextmanager
def running(script: str, *arguments: str) -> Iterator[Process]:
    """*script* until the block ends."""
    process = Process(script, *arguments)
    try:
        yield process
    finally:
        process.close()
