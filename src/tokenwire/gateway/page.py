"""The page at ``/``: files that ``make page`` built, read once, served from memory under a strict policy.

A relay without them (a checkout that was never built) says so on its text page, and lacks nothing else.
"""

from __future__ import annotations

import hashlib
import logging
import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tokenwire import dialects
from tokenwire.errors import RequestRefused
from tokenwire.gateway import guard
from tokenwire.gateway.answers import MethodNotAllowed, header, send_refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenwire.gateway.answers import Headers
    from tokenwire.gateway.sinks import Scope, Send

log = logging.getLogger(__name__)

#: Where ``make page`` puts what it built. Part of the wheel.
BUILT: Final = Path(__file__).parent / "static"

#: Bytes of all files together. The page has a tenth of it; a folder that holds more was not built by us.
LIMIT: Final = 2 * 1024 * 1024

#: Under this path the build puts files whose names hold a digest of what is in them: they never change.
_HASHED = "/assets/"

#: Nothing but our own files, no inline script or style, no other host, no frame around us; text never becomes markup.
_POLICY: Final = b"; ".join((
    b"default-src 'none'",
    b"script-src 'self'",
    b"style-src 'self'",
    b"connect-src 'self'",
    b"img-src 'self' data:",
    b"form-action 'none'",
    b"frame-ancestors 'none'",
    b"base-uri 'none'",
    b"require-trusted-types-for 'script'",
    b"trusted-types 'none'",
))  # fmt: skip

_EVERY: Final = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    # Isolated from other origins, a page gets timers of 5 us instead of 100: it measures.
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class File(NamedTuple):
    """One file, ready to be sent. *headers* are those of an answer with it; of 304 as well, less type and length."""

    body: bytes
    etag: str
    headers: Headers


class Page:
    """The built page. *files*: path -> file; empty if there is none."""

    def __init__(self, files: Mapping[str, File]) -> None:
        self._files = files

    @classmethod
    def load(cls, folder: Path = BUILT) -> Page:
        """Everything in *folder*. Never raises: what cannot be read or is too large is logged, and is no page."""
        try:
            paths = sorted(path for path in folder.rglob("*") if path.is_file())
            if sum(path.stat().st_size for path in paths) > LIMIT:
                log.warning("%s holds more than %d bytes, and was not built by `make page`: no page", folder, LIMIT)
                return cls({})
            files = {_address(path, folder): _file(path, _address(path, folder)) for path in paths}
        except OSError as error:
            log.warning("the page cannot be read: %s", error)
            return cls({})
        return cls(files if "/" in files else {})

    @property
    def built(self) -> bool:
        return bool(self._files)

    def takes(self, scope: Scope) -> bool:
        """Whether ``serve`` answers this request. Everybody may ask for ``/``; those who want HTML get the page."""
        path = scope["path"]
        if path == "/":
            return self.built and wants_html(header(scope, b"accept") or "")
        return path in self._files or path.startswith(_HASHED)

    async def serve(self, scope: Scope, send: Send) -> None:
        """Answer a request that ``takes`` took. Only whole paths are looked up: nothing leads out of the folder."""
        path = scope["path"]
        try:
            guard.admit(scope)
            if scope["method"] not in ("GET", "HEAD"):
                raise MethodNotAllowed(scope["method"], "GET, HEAD")
            file = self._files.get(path)
            if file is None:
                raise RequestRefused(
                    404, "no_such_file", f"no file {path[:80]!r}; reload the page if the relay is newer"
                )
        except RequestRefused as error:
            await send_refusal(send, error, dialects.get("native"))
            return
        known = header(scope, b"if-none-match")
        if known is not None and _matches(known, file.etag):
            status, headers, body = 304, file.headers[2:], b""
        else:
            status, headers, body = 200, file.headers, b"" if scope["method"] == "HEAD" else file.body
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def wants_html(accept: str) -> bool:
    """Whether a browser asks. curl says ``*/*``, and is better served with text."""
    for part in accept.lower().split(","):
        kind, _, parameters = part.partition(";")
        if kind.strip() in ("text/html", "application/xhtml+xml"):
            return not any(each.strip() in ("q=0", "q=0.0") for each in parameters.split(";"))
    return False


def _address(path: Path, folder: Path) -> str:
    address = "/" + path.relative_to(folder).as_posix()
    return "/" if address == "/index.html" else address


def _file(path: Path, address: str) -> File:
    body = path.read_bytes()
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if path.suffix == ".js":
        kind = "text/javascript"  # some systems' tables say otherwise, and nosniff means it
    if kind.startswith("text/") or kind == "image/svg+xml":
        kind += "; charset=utf-8"
    hashed = address.startswith(_HASHED)
    headers = [
        (b"content-type", kind.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"public, max-age=31536000, immutable" if hashed else b"no-cache"),
        (b"etag", etag.encode()),
        *_EVERY,
    ]
    if address == "/":  # the same address gives text to those who do not ask for HTML
        headers += [(b"content-security-policy", _POLICY), (b"vary", b"accept")]
    return File(body, etag, headers)


def _matches(known: str, etag: str) -> bool:
    """RFC 9110 section 13.1.2: a list, compared weakly, or ``*``."""
    return known.strip() == "*" or etag in (each.strip().removeprefix("W/") for each in known.split(","))
