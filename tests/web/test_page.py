"""The page at ``/``, as it is served. What it does is tested in a browser: web/e2e."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests import programs

from tokenwire.gateway import page as page_module
from tokenwire.gateway.app import Gateway
from tokenwire.gateway.page import LIMIT, Page, wants_html
from tokenwire.gateway.settings import Settings
from tokenwire.testing.relay import Relay, serving, settings_for
from tokenwire.testing.rig import run_in

INDEX = b"<!doctype html><title>page</title>"
SCRIPT = b"export {};"
BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A small page as the build would leave it, and a secret beside it."""
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_bytes(INDEX)
    (folder / "assets" / "index-1a2b.js").write_bytes(SCRIPT)
    (folder / "assets" / "index-1a2b.css").write_bytes(b"body{}")
    (folder / "assets" / "icon.svg").write_bytes(b"<svg/>")
    (folder / "assets" / "blob.unheard-of").write_bytes(b"\x00")
    (tmp_path / "secret.txt").write_text("secret")
    return folder


def on_page(folder: Path, main: Callable[[Relay], Awaitable[None]]) -> None:
    async def inside() -> None:
        async with serving(settings_for("http://127.0.0.1:9/v1", {"models": ["m"]})) as relay:
            relay.gateway.page = Page.load(folder)
            await main(relay)

    run_in("uvloop", inside)


def test_a_browser_gets_the_page_under_a_strict_policy(built: Path) -> None:
    async def main(relay: Relay) -> None:
        answer = await (await relay.connect()).request("GET", "/", None, BROWSER).whole()
        assert (answer.status, bytes(answer.body)) == (200, INDEX)
        assert answer.fields["content-type"] == "text/html; charset=utf-8"
        assert answer.fields["cache-control"] == "no-cache"
        assert answer.fields["vary"] == "accept"
        assert answer.fields["x-content-type-options"] == "nosniff"
        policy = dict(rule.split(" ", 1) for rule in answer.fields["content-security-policy"].split("; "))
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "connect-src": "'self'",
            "img-src": "'self' data:",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
            "base-uri": "'none'",
            "require-trusted-types-for": "'script'",
            "trusted-types": "'none'",
        }

    on_page(built, main)


def test_assets_never_change(built: Path) -> None:
    async def main(relay: Relay) -> None:
        client = await relay.connect()
        kinds = {
            "index-1a2b.js": "text/javascript; charset=utf-8",
            "index-1a2b.css": "text/css; charset=utf-8",
            "icon.svg": "image/svg+xml; charset=utf-8",
            "blob.unheard-of": "application/octet-stream",
        }
        for name, kind in kinds.items():
            answer = await client.get(f"/assets/{name}").whole()
            assert (answer.status, answer.fields["content-type"]) == (200, kind)
            assert answer.fields["cache-control"] == "public, max-age=31536000, immutable"
            assert answer.fields["x-content-type-options"] == "nosniff"

    on_page(built, main)


def test_what_is_known_is_not_sent_again(built: Path) -> None:
    async def main(relay: Relay) -> None:
        client = await relay.connect()
        etag = (await client.request("GET", "/", None, BROWSER).whole()).fields["etag"]
        for known in (etag, f'"other", W/{etag}', "*"):
            answer = await client.request("GET", "/", None, {**BROWSER, "if-none-match": known}).whole()
            assert (answer.status, bytes(answer.body)) == (304, b"")
            assert answer.fields["etag"] == etag
            assert "content-security-policy" in answer.fields
            assert "content-type" not in answer.fields
        changed = await client.request("GET", "/", None, {**BROWSER, "if-none-match": '"other"'}).whole()
        assert (changed.status, bytes(changed.body)) == (200, INDEX)

    on_page(built, main)


def test_head_and_other_methods(built: Path) -> None:
    async def main(relay: Relay) -> None:
        head = await (await relay.connect()).request("HEAD", "/", None, {**BROWSER, "connection": "close"}).whole()
        assert (head.status, head.fields["content-length"]) == (200, str(len(INDEX)))
        refused = await (await relay.connect()).post("/assets/index-1a2b.js", {}).whole()
        assert (refused.status, refused.fields["allow"]) == (405, "GET, HEAD")

    on_page(built, main)


@pytest.mark.parametrize(
    "path",
    [
        "/assets/index-0000.js",
        "/assets/",
        "/assets/../../secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/assets/%2e%2e/%2e%2e/secret.txt",
        "/assets//etc/passwd",
        "/../secret.txt",
        "/..%5csecret.txt",
        "/index.html",
        "/secret.txt",
    ],
)
def test_nothing_else_is_served(built: Path, path: str) -> None:
    async def main(relay: Relay) -> None:
        answer = await (await relay.connect()).get(path).whole()
        assert answer.status == 404
        assert b"secret\n" not in answer.body
        assert answer.json["error"]["code"] in ("no_such_file", "no_such_route")

    on_page(built, main)


def test_foreign_hosts_get_no_page(built: Path) -> None:
    async def main(relay: Relay) -> None:
        answer = await (await relay.connect()).request("GET", "/", None, {**BROWSER, "host": "evil.example"}).whole()
        assert answer.status == 403

    on_page(built, main)


def test_curl_gets_text_and_is_told_of_the_page(built: Path) -> None:
    async def main(relay: Relay) -> None:
        text = (await (await relay.connect()).request("GET", "/", None, {"accept": "*/*"}).whole()).body.decode()
        assert "in a browser: the playground\n" in text

    on_page(built, main)


def test_without_a_built_page_a_browser_gets_the_text_and_how_to_build_it(tmp_path: Path) -> None:
    async def main(relay: Relay) -> None:
        client = await relay.connect()
        answer = await client.request("GET", "/", None, BROWSER).whole()
        assert answer.fields["content-type"].startswith("text/plain")
        assert "POST /v1/chat/completions" in answer.body.decode()
        assert "make page" in answer.body.decode()
        assert (await client.get("/assets/x.js").whole()).status == 404

    on_page(tmp_path / "nothing", main)


def test_a_folder_that_is_too_large_or_cannot_be_read_is_no_page(
    built: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (built / "assets" / "huge.js").write_bytes(b" " * LIMIT)
    assert not Page.load(built).built
    assert "more than" in caplog.text
    (built / "assets" / "huge.js").unlink()

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert not Page.load(built).built
    assert "cannot be read" in caplog.text


def test_assets_without_an_index_are_no_page(built: Path) -> None:
    (built / "index.html").unlink()
    assert not Page.load(built).built


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (BROWSER["accept"], True),
        ("TEXT/HTML", True),
        ("application/json, text/html;q=0.5", True),
        ("text/html;q=0", False),
        ("*/*", False),
        ("text/plain", False),
        ("", False),
    ],
)
def test_who_wants_html(accept: str, wanted: bool) -> None:
    assert wants_html(accept) is wanted


def test_a_gateway_reads_the_page_at_its_start() -> None:
    async def inside() -> None:
        gateway = Gateway(Settings())
        assert gateway.page.built == (page_module.BUILT / "index.html").is_file()
        await gateway.shutdown()

    run_in("uvloop", inside)


def built_page() -> Path:
    """The page as it was built here; a checkout may be without it."""
    if not (page_module.BUILT / "index.html").is_file():
        programs.missing("the page is not built (make page)")
    return page_module.BUILT


def test_the_built_page_asks_for_its_own_files_only() -> None:
    folder = built_page()
    index = (folder / "index.html").read_text("utf-8")
    wanted: list[Any] = re.findall(r'(?:src|href)="([^"]+)"', index)
    assert len(wanted) >= 3
    for path in wanted:
        assert (folder / path.removeprefix("/")).is_file(), path
    assert "<style" not in index
    assert re.search(r"<script(?![^>]* src=)", index) is None
    assert " style=" not in index
