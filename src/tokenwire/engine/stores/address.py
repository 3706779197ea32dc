"""A store's address: ``memory://``, ``sqlite:///var/lib/tokenwire/tokenwire.db``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from tokenwire.engine.stores.sqlite import SqliteStore
from tokenwire.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenwire.engine.stores.port import Store


class StoreAddress(NamedTuple):
    """``scheme`` is ``memory`` or ``sqlite``; ``path`` the absolute path of the latter's file, else ""."""

    scheme: str
    path: str = ""


def parse_store_url(url: str) -> StoreAddress:
    """*url* understood. What stands after ``sqlite://`` is the path, as it is: nothing in it is decoded or expanded. It
    is absolute, for a server's directory is nobody's choice: three slashes; a fourth changes nothing.

    Raises ``ConfigError``, without the address, which may hold a password: it is no store, has no path, or a relative
    one.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ConfigError("a store's address is memory:// or sqlite:///PATH (it is not shown: it may hold a password)")
    if scheme == "memory":
        if rest:
            raise ConfigError("memory:// is the whole address: nothing stands behind it")
        return StoreAddress(scheme)
    if scheme == "sqlite":
        if not rest.startswith("/"):
            raise ConfigError(
                "the path of sqlite:// is absolute, with three slashes: sqlite:///var/lib/tokenwire/tokenwire.db"
            )
        path = "/" + rest.lstrip("/")
        if path.endswith("/") or "\0" in path:
            raise ConfigError("the path of sqlite:// names a file: sqlite:///var/lib/tokenwire/tokenwire.db")
        return StoreAddress(scheme, path)
    if scheme in ("redis", "rediss", "unix"):
        raise ConfigError("redis:// is not built yet: this release has memory:// and sqlite:///PATH")
    raise ConfigError(f"{scheme[:20]!r} is no store: there are memory:// and sqlite:///PATH")


def open_store(url: str, *, wall: Callable[[], float] = time.time) -> Store | None:
    """The store of *url*, not open yet; None for ``memory://``: the logs in memory are all there is then.

    *wall*: seconds since 1970, by which the store forgets; of whoever says when it is to.

    Raises ``ConfigError`` as ``parse_store_url``.
    """
    address = parse_store_url(url)
    return SqliteStore(address.path, wall=wall) if address.scheme == "sqlite" else None
