"""The dialects by name. Modules are imported when first asked for: a process rarely speaks all of them."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final

from tokenwire.errors import RequestRefused

if TYPE_CHECKING:
    from tokenwire.dialects.base import Dialect
    from tokenwire.dialects.prompt.fit import Prompts

#: Name on the outside -> package here; its module ``dialect`` has a ``DIALECT``.
_MODULES: Final[dict[str, str]] = {
    "agui": "agui",
    "anthropic": "anthropic",
    "gemini": "gemini",
    "native": "native",
    "ollama": "ollama",
    "ollama.generate": "ollama_generate",
    "openai.chat": "openai_chat",
    "openai.responses": "openai_responses",
    "ui-messages": "ui_messages",
}

#: Dialects that belong to one route: nobody outside asks for them by name.
_PRIVATE: Final = frozenset({"ollama.generate"})


def names() -> list[str]:
    """The dialects that can be asked for, sorted. ``get`` knows the private ones as well."""
    return sorted(_MODULES.keys() - _PRIVATE)


@cache
def get(name: str) -> Dialect:
    """The dialect of that name.

    Raises:
        RequestRefused: 400 ``unknown_dialect``, with the names there are.
    """
    module = _MODULES.get(name)
    if module is None:
        known = ", ".join(names())
        raise RequestRefused(400, "unknown_dialect", f"no dialect {name!r}; there are {known}", param="dialect")
    dialect: Dialect = import_module(f"tokenwire.dialects.{module}.dialect").DIALECT
    return dialect


@cache
def prompts(name: str) -> Prompts:
    """How requests in the dialect *name* are read and written. Raises as ``get`` does."""
    get(name)
    found: Prompts = import_module(f"tokenwire.dialects.{_MODULES[name]}.prompt").PROMPTS
    return found
