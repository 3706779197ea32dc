"""A store's address."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenwire.engine.stores.address import open_store, parse_store_url
from tokenwire.engine.stores.sqlite import SqliteStore
from tokenwire.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///var/lib/tokenwire/tokenwire.db", "/var/lib/tokenwire/tokenwire.db"),
        ("sqlite:////var/lib/tokenwire.db", "/var/lib/tokenwire.db"),
        ("sqlite:///a b?c#d%20.db", "/a b?c#d%20.db"),
    ],
)
def test_a_sqlite_address_is_an_absolute_path(url: str, path: str) -> None:
    assert parse_store_url(url) == ("sqlite", path)


def test_memory_has_no_store_of_its_own(tmp_path: Path) -> None:
    assert parse_store_url("memory://") == ("memory", "")
    assert open_store("memory://") is None
    store = open_store(f"sqlite://{tmp_path}/t.db")
    assert isinstance(store, SqliteStore)
    assert store.path == f"{tmp_path.resolve()}/t.db"
    assert list(tmp_path.iterdir()) == [], "nothing is made before it is opened"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("memory://x", "memory:// is the whole address"),
        ("sqlite://x.db", "the path of sqlite:// is absolute, with three slashes"),
        ("sqlite://", "the path of sqlite:// is absolute, with three slashes"),
        ("sqlite:///", "names a file"),
        ("sqlite:///var/", "names a file"),
        ("sqlite:///a\0b", "names a file"),
        ("redis://:secret@127.0.0.1/0", "redis:// is not built yet"),
        ("rediss://:secret@127.0.0.1/0", "redis:// is not built yet"),
        ("mongo://secret", "'mongo' is no store"),
        ("/var/secret.db", "a store's address is memory:// or sqlite:///PATH"),
        ("", "a store's address is memory:// or sqlite:///PATH"),
    ],
)
def test_what_is_no_address_is_refused_without_being_shown(url: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store(url)
    assert why in caught.value.message
    assert "secret" not in str(caught.value)
