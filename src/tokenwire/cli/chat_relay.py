"""A relay of the chat's own, for when none listens: ``tokenwire serve`` in a process that ends with the chat."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tokenwire.errors import ConfigError

#: Its streams drain first; whoever leaves the chat does not want to wait for that.
_PATIENCE_SECONDS = 2.0


@contextmanager
def own_relay() -> Iterator[tuple[str, str]]:
    """Yields its address, and what it says of its upstreams. Raises ``ConfigError`` with its words if it fails."""
    command = [sys.executable, "-m", "tokenwire.cli.chat_relay"]
    with (
        tempfile.TemporaryFile() as complaints,  # a terminal that shows an answer is no place for a log
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # its other end closes with us, however we end
            stdout=subprocess.PIPE,
            stderr=complaints,
            start_new_session=True,  # a Ctrl-C is for the answer
        ) as process,
    ):
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline().decode())
            if found is None:
                process.wait()
                complaints.seek(0)
                said = complaints.read().decode("utf-8", "replace").strip().removeprefix("tokenwire: ")
                raise ConfigError(f"no relay listens, and one of our own did not start: {said[-1000:] or 'no reason'}")
            yield found[0], process.stdout.readline().decode().strip()
        finally:
            process.terminate()
            try:
                process.wait(_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def main() -> None:
    """Serve on a free port until standard input is closed."""
    from tokenwire.cli.serving import run_serve

    def watch() -> None:
        while os.read(0, 1024):
            pass
        for _ in range(2):  # the second ends it at once: nobody is left to read
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    try:
        run_serve(os.environ, config=None, host=None, port=0, workers=1, open_browser=False)
    except ConfigError as error:
        print(f"tokenwire: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
