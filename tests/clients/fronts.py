"""The proxies of deploy/ as processes: their files as they are, but for addresses, certificate and folders."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from tokenwire.testing.processes import wait_for

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"

# What stands around a file of conf.d: one process in the foreground, so that its pid is all of it; every file in the
# test's own folder.
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
    include {folder}/tokenwire.conf;
}}
"""
# No administration port, nothing on port 80, no certificate authority put into this machine's store.
_CADDY = "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n\tlog {\n\t\tlevel ERROR\n\t}\n}\n"


@dataclass(frozen=True)
class Front:
    """A proxy before the relay.

    Attributes:
        name: of the program.
        url: ``https://localhost:PORT``.
        trust: knows the authority of its certificate.
    """

    name: str
    url: str
    trust: ssl.SSLContext


def program(name: str) -> str | None:
    """Where it is, Debian's folders for administrators included."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))


def altered(text: str, changes: dict[str, str]) -> str:
    """*text* with each key replaced. Each must stand there exactly once: what is tested is what is deployed."""
    for old, new in changes.items():
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the file of deploy/"
        text = text.replace(old, new)
    return text


@contextmanager
def running_nginx(folder: Path, port: int, relay: int, changes: dict[str, str] | None = None) -> Iterator[Front]:
    """deploy/nginx.conf, with *changes* for a test of what must not be changed."""
    trust = _certify(folder)
    config = altered(
        (DEPLOY / "nginx.conf").read_text("utf-8"),
        {
            "server 127.0.0.1:8787;": f"server 127.0.0.1:{relay};",
            "listen 443 ssl http2;": f"listen 127.0.0.1:{port} ssl http2;",
            "listen [::]:443 ssl http2;": "",
            "server_name tokens.example.com;": "server_name localhost;",
            "/etc/ssl/tokenwire/fullchain.pem": f"{folder}/cert.pem",
            "/etc/ssl/tokenwire/privkey.pem": f"{folder}/key.pem",
        },
    )
    (folder / "tokenwire.conf").write_text(altered(config, changes or {}), "utf-8")
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder), "utf-8")
    command = [program("nginx") or "nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with _process(command, port, folder):
        yield Front("nginx", f"https://localhost:{port}", trust)


@contextmanager
def running_caddy(folder: Path, port: int, relay: int) -> Iterator[Front]:
    """deploy/Caddyfile."""
    trust = _certify(folder)
    config = altered(
        (DEPLOY / "Caddyfile").read_text("utf-8"),
        {
            "\ntokens.example.com {\n": f"\nhttps://localhost:{port} {{\n\tbind 127.0.0.1\n"
            f"\ttls {folder}/cert.pem {folder}/key.pem\n",
            "reverse_proxy 127.0.0.1:8787 {": f"reverse_proxy 127.0.0.1:{relay} {{",
        },
    )
    (folder / "Caddyfile").write_text(_CADDY + config, "utf-8")
    command = [program("caddy") or "caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    with _process(command, port, folder):
        yield Front("caddy", f"https://localhost:{port}", trust)


@contextmanager
def _process(command: list[str], port: int, folder: Path) -> Iterator[None]:
    environ = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environ)
    try:
        wait_for(lambda: process.poll() is not None or _listens(port))
        assert process.poll() is None, process.communicate()[1].decode()
        yield
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _certify(folder: Path) -> ssl.SSLContext:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for at, part in enumerate(issued.cert_chain_pems):
        part.write_to_path(folder / "cert.pem", append=at > 0)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    return trust


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True
