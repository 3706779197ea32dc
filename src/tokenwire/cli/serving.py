"""``tokenwire serve``."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from tokenwire.errors import ConfigError

if TYPE_CHECKING:
    from tokenwire.gateway.app import Gateway
    from tokenwire.gateway.settings import Settings

#: How long the simulator may take to end; it has nothing to finish.
_PATIENCE_SECONDS = 5.0


def run_serve(
    environ: Mapping[str, str],
    *,
    config: Path | None,
    host: str | None,
    port: int | None,
    workers: int,
    open_browser: bool,
) -> None:
    """Serve until a signal. Raises ``ConfigError`` for settings that cannot work, before anything listens."""
    if config is None:
        check_workers(workers, "sqlite://")  # what there is without settings; said before a simulator is started
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    with simulator(wanted=config is None) as url:
        # After the simulator was started: its interpreter starts while ours imports.
        from tokenwire.gateway.environment import default_store
        from tokenwire.gateway.server import listen, run
        from tokenwire.gateway.settings import from_environment, load
        from tokenwire.gateway.settings_check import check

        settings = load(config, environ) if config is not None else from_environment(environ, url())
        store = settings.store
        if store.url is None:
            store = structs.replace(store, url=default_store(environ))
        check_workers(workers, store.url or "")
        server = settings.server
        server = structs.replace(server, host=host or server.host, port=server.port if port is None else port)
        settings = check(structs.replace(settings, server=server, store=store))
        sock = listen(server.host, server.port)
        shown = f"[{server.host}]" if ":" in server.host else server.host
        address = f"http://{shown}:{sock.getsockname()[1]}"

        def ready(gateway: Gateway) -> None:
            announce(settings, address)
            gateway.on_drain = partial(announce_drain, settings.limits.drain)
            if open_browser and has_display(environ):
                import webbrowser

                webbrowser.open(address)

        run(settings, sock, ready)


def check_workers(workers: int, store: str) -> None:
    """Raises ``ConfigError`` for more than one worker: no store of this release can be shared by several."""
    if workers == 1:
        return
    scheme = store.partition("://")[0]
    why = {
        "memory": "each would keep its streams to itself, and a reader that reconnects would reach the wrong one",
        "sqlite": "the file has one writer, and a reader in another process would not see a running stream's tokens",
    }
    if scheme in why:
        message = (
            f"{workers} workers cannot share a {scheme}:// store: {why[scheme]}; use --workers 1 (one process carries "
            "about 1,000 streams), or a redis:// store as soon as a release has it: this one has not"
        )
    else:
        message = f"{workers} workers need a redis:// store, which this release does not have yet; use --workers 1"
    raise ConfigError(message, where="--workers")


def announce(settings: Settings, address: str) -> None:
    """Say where we are, and what can be asked."""
    print(f"tokenwire {address}")
    print(f"  upstreams: {', '.join(settings.upstreams) or 'none'}", flush=True)


def announce_drain(seconds: float, running: int) -> None:
    """Say what the process is waiting for, if it is."""
    if running:
        streams = "1 stream runs" if running == 1 else f"{running} streams run"
        print(f"draining: {streams}, {seconds:g} s at most; a second signal ends all at once", flush=True)


def has_display(environ: Mapping[str, str]) -> bool:
    """Whether a browser would be seen by anybody."""
    return sys.platform in ("win32", "darwin") or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


@contextmanager
def simulator(*, wanted: bool) -> Iterator[Callable[[], str | None]]:
    """The simulator in a process of its own; yields a function that waits for its base URL (None if not wanted)."""
    if not wanted:
        yield lambda: None
        return
    command = [sys.executable, "-m", "tokenwire.simulator", "--port", "0", "--with-stdin"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # its other end closes with us, however we end: then the simulator ends as well
        stdout=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C is for the relay: its streams drain before the simulator goes
    ) as process:

        def url() -> str:
            assert process.stdout is not None
            line = process.stdout.readline().decode()
            match = re.search(r"http://\S+", line)
            if match is None:
                raise ConfigError("the simulator did not start; try 'tokenwire simulate' to see why")
            return match.group(0) + "/v1"

        try:
            yield url
        finally:
            process.terminate()
            try:
                process.wait(_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
