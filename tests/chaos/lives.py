"""One relay after another on the same port and store, each a process of its own that can be killed.

An interpreter needs a third of a second to import a relay, most of what a restart costs. Here one process imports it
once, and each life is a fork of it: it runs ``tokenwire serve`` as the command does, and SIGKILL ends it as it would
end that. As a program, this file is the process that forks.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self


class Lives:
    """Relays on *port*, with the settings in the file *config*; at most one at a time. A context manager.

    Attributes:
        pid: of the one that runs; None between two lives.
        count: of lives so far.
        log: takes what all of them write to standard error.
    """

    def __init__(self, config: Path, home: Path, port: int) -> None:
        self.pid: int | None = None
        self.count = 0
        self.port = port
        self.log = home / "lives.log"
        self._config = config
        self._home = home
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        with self.log.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, __file__, str(self._config), str(self.port),
                stdin=PIPE, stdout=PIPE, stderr=errors,
                env={**os.environ, "TOKENWIRE_HOME": str(self._home)},
            )  # fmt: skip
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.pid is not None:
            await self.end(signal.SIGKILL)
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        if error is None:
            complaints = self.log.read_text("utf-8", "replace")
            assert "Traceback" not in complaints, complaints

    async def start(self) -> None:
        """Until the next one listens."""
        assert self.pid is None
        self._say("start")
        self.pid = int((await self._hear("pid")).split()[1])
        await self._hear("tokenwire")
        self.count += 1

    async def end(self, number: signal.Signals) -> int:
        """Signal it, and wait until it is gone; its exit status, or minus the signal that ended it."""
        assert self.pid is not None
        os.kill(self.pid, number)
        self._say(f"wait {self.pid}")
        self.pid = None
        return int((await self._hear("gone")).split()[1])

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    async def _hear(self, word: str) -> str:
        """The next line that begins with *word*; the relay's other news are skipped."""
        assert self._process.stdout is not None
        while line := (await self._process.stdout.readline()).decode():
            if line.startswith(word + " "):
                return line
        raise AssertionError(f"the relay ended: {self.log.read_text('utf-8', 'replace')}")


def main(config: str, port: int) -> None:
    """Fork when told to, until standard input ends."""
    from tokenwire.cli.serving import run_serve
    from tokenwire.gateway import app, control, server, settings_check  # noqa: F401  # what the first fork would import

    for line in sys.stdin:
        word, *rest = line.split()
        if word == "start":
            read, write = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(write)
                os.read(read, 1)  # its number is told before its address
                os.close(read)
                run_serve(os.environ, config=Path(config), host=None, port=port, workers=1, open_browser=False)
                sys.stdout.flush()
                os._exit(0)
            os.close(read)
            print(f"pid {pid}", flush=True)
            os.write(write, b"!")
            os.close(write)
        elif word == "wait":
            _, status = os.waitpid(int(rest[0]), 0)
            print(f"gone {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
