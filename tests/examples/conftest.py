"""What the tests of the examples share: each as its reader runs it, but with a simulator that writes more quickly."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import uvicorn

from tokenwire.gateway.server import listen
from tokenwire.simulator import latency
from tokenwire.testing.processes import wait_for

EXAMPLES = Path(__file__).parents[2] / "examples"

Load = Callable[[str], ModuleType]


@pytest.fixture(autouse=True)
def _quick_and_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.endswith(("_API_KEY", "_BASE_URL", "_PROXY", "_proxy", "_RELAY"))]:
        monkeypatch.delenv(name)
    for model in ("gpt-4o-mini", "claude-sonnet-4-6", "gemini-2.0-flash"):
        monkeypatch.setitem(latency.PROFILES, model, latency.Profile(0.01, 4000))
    monkeypatch.setitem(latency.PROFILES, "gpt-4o", latency.Profile(0.02, 200))


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """``load("tools/main.py")``: that file as a module, executed anew."""

    def run(path: str) -> ModuleType:
        name = "example_" + path.removesuffix(".py").replace("/", "_")
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)  # where pydantic looks annotations up
        spec.loader.exec_module(module)
        return module

    return run


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The address of *app* on uvicorn, in a thread, lifespan included; ended as Ctrl-C ends it."""
    sock = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, http="tokenwire.fastapi:HttpProtocol", lifespan="on", log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, name="example")
    thread.start()
    try:
        wait_for(lambda: server.started or not thread.is_alive())
        assert server.started
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        sock.close()
