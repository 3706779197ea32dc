"""The proxies of deploy/ as processes: their files as they are, but for addresses, certificate and folders."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme
from tests import programs

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"

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
    with programs.running_nginx(folder, f"include {folder}/tokenwire.conf;", port):
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
    command = [programs.program("caddy"), "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    environ = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with programs.running(command, port, environ):
        yield Front("caddy", f"https://localhost:{port}", trust)


def _certify(folder: Path) -> ssl.SSLContext:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for at, part in enumerate(issued.cert_chain_pems):
        part.write_to_path(folder / "cert.pem", append=at > 0)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    return trust
