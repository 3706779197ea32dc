"""What the tests of the rig share: the package on the path, and its C programs compiled once."""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests import programs as programs_

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.toolchain import Programs

# The rig is no part of the installed package: it is imported from the checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


@pytest.fixture(autouse=True)
def without_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rig that measures lets things settle; a test asks what happened, not how fast."""
    monkeypatch.setattr("bench.rig._SETTLE_SECONDS", 0.0)
    monkeypatch.setattr("bench.cancel._LATE_SECONDS", 0.0)


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    from bench.toolchain import MissingProgramError, build

    try:
        return build(tmp_path_factory.mktemp("wire"))
    except MissingProgramError as missing:
        programs_.missing(str(missing))


@pytest.fixture
def missing_here() -> Callable[[str], None]:
    """For tests that need a program of the machine: call it with the name of what is missing."""
    return programs_.missing


@pytest.fixture
def server() -> Iterator[Callable[[list[bytes]], int]]:
    """``server(portions)`` is a port where the first client is sent these portions, then a FIN."""
    threads: list[threading.Thread] = []
    listeners: list[socket.socket] = []

    def start(portions: list[bytes]) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(10)
        listeners.append(listener)

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.recv(65536)
                for portion in portions:
                    client.sendall(portion)

        thread = threading.Thread(target=serve)
        thread.start()
        threads.append(thread)
        return int(listener.getsockname()[1])

    yield start
    for thread in threads:
        thread.join(10)
    for listener in listeners:
        listener.close()
