"""docs/reference/, made of signatures and docstrings: ``make docs``, or ``python -m tests.docs.reference``.

Signatures are shown as they are written, so that they read as they do in the code. What a docstring shows as code stays
a picture: the tutorial and the how-tos are what runs.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tests.docs.pages import ROOT


class Page(NamedTuple):
    """One page: its title, what stands above it, and its names, each as ``module:name``."""

    title: str
    about: str
    names: tuple[str, ...]


def _of(module: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{module}:{name}" for name in names)


PAGES: Final = {
    "stream": Page(
        "tokenwire.stream",
        "Ask a model, and read its answer while it is being written. [The tutorial](../tutorial/3-stream.md) shows it.",
        _of(
            "tokenwire", "stream", "Stream", "SyncStream", "Answer", "Node", "tool", "Tool", "ToolContext",
            "CallRequest",
        ),
    ),
    "deltas": Page(
        "tokenwire.dialects.deltas",
        "What a model says, the same for every provider.",
        _of(
            "tokenwire.dialects.deltas", "Started", "TextDelta", "ReasoningDelta", "ReasoningSignature",
            "RefusalDelta", "ToolCallStarted", "ToolCallDelta", "ToolCallEnded", "ToolResult", "Citation", "Logprobs",
            "Usage", "Finished", "Failed", "Opaque", "Terminal",
        ),
    ),
    "client": Page(
        "tokenwire.client",
        "A relay, seen from outside: start a stream, follow it over as many connections as it takes, stop it.",
        _of(
            "tokenwire.client", "Client", "Following", "Answer", "Retry", "Notice", "Dropped", "Resumed", "Reset",
            "Done",
        ),
    ),
    "fastapi": Page(
        "tokenwire.fastapi",
        "tokenwire in other people's apps.",
        (
            *_of("tokenwire.fastapi", "Relay", "RelayResponse", "Completed", "HttpProtocol", "StreamDebugger"),
            *_of("tokenwire.fastapi.tracing", "Begin", "Chunk", "End", "Gap"),
        ),
    ),
    "wire": Page(
        "tokenwire.wire",
        "Bytes to events and back. No I/O, no clock.",
        (
            *_of("tokenwire.wire.sse", "Decoder", "Event", "encode", "comment"),
            *_of("tokenwire.wire.ndjson", "Decoder", "encode"),
            *_of("tokenwire.wire.partial_json", "PartialJson"),
        ),
    ),
    "errors": Page("tokenwire.errors", "", ("tokenwire.errors:*",)),
}  # fmt: skip

NOTE: Final = "<!-- Made of the docstrings by `make docs`; do not edit. -->"
_SECTION: Final = re.compile(r"^([A-Z][\w, ]{2,40}):$")  # Args, Raises, "Iterating raises" …
_ITEM: Final = re.compile(r"^(\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*): (.*)$", re.DOTALL)


def find(name: str) -> Any:
    """Raises ``ImportError`` or ``AttributeError`` if there is no such thing."""
    module, _, member = name.partition(":")
    return getattr(importlib.import_module(module), member)


def render(page: Page) -> str:
    """The page as Markdown. Raises as ``find`` does for a name that is neither there nor awaited."""
    parts = [f"# {page.title}", NOTE]
    if page.about:
        parts.append(page.about)
    for name in page.names:
        if name.endswith(":*"):
            module = importlib.import_module(name[:-2])
            parts += prose(inspect.getdoc(module) or "")
            for _, member in inspect.getmembers(module, inspect.isclass):
                if member.__module__ == module.__name__:
                    parts += _entry(f"{member.__name__}", member)
        else:
            module_name, _, member_name = name.partition(":")
            home = "" if module_name == page.title else module_name.removeprefix(page.title + ".") + "."
            parts += _entry(home + member_name, find(name))
    return "\n\n".join(part for part in parts if part) + "\n"


def _entry(name: str, value: Any) -> Iterator[str]:
    """A function or a class, with its public members."""
    node = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]
    if not isinstance(node, ast.ClassDef):
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        yield f"## {name}"
        yield _code(_signature(name.rpartition(".")[2], node))
        yield from prose(inspect.getdoc(value) or "")
        return
    yield f"## {name}"
    own = {each.name: each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    if "__init__" in own:
        yield _code(_signature(node.name, own["__init__"]))
    elif fields := [ast.unparse(each) for each in node.body if isinstance(each, ast.AnnAssign)]:
        yield _code(_folded(node.name, fields, ""))
    elif bases:
        yield f"A kind of {', '.join(f'`{base}`' for base in bases.split(', '))}."
    yield from prose(ast.get_docstring(node) or "")
    for member in own.values():
        if not member.name.startswith("_") and (doc := ast.get_docstring(member)):
            yield f"### {node.name}.{member.name}"
            if any(ast.unparse(each) == "property" for each in member.decorator_list):
                yield _code(f"{member.name}: {ast.unparse(member.returns) if member.returns else 'object'}")
            else:
                yield _code(_signature(member.name, member))
            yield from prose(doc)


def _signature(name: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """As it is written, in one line if that is short, else a line each."""
    arguments = node.args
    if arguments.args and arguments.args[0].arg in ("self", "cls"):
        arguments.args.pop(0)
    elif arguments.posonlyargs and arguments.posonlyargs[0].arg in ("self", "cls"):
        arguments.posonlyargs.pop(0)
    returns = "" if node.returns is None or node.name == "__init__" else f" -> {ast.unparse(node.returns)}"
    prefix = "await " if isinstance(node, ast.AsyncFunctionDef) else ""
    return _folded(prefix + name, list(_arguments(arguments)), returns)


def _folded(name: str, parts: list[str], tail: str) -> str:
    line = f"{name}({', '.join(parts)}){tail}"
    if len(line) <= 100:
        return line
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){tail}"


def _arguments(arguments: ast.arguments) -> Iterator[str]:
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [*[None] * (len(plain) - len(arguments.defaults)), *arguments.defaults]
    for position, (argument, default) in enumerate(zip(plain, defaults, strict=True), 1):
        yield _argument(argument, default)
        if position == len(arguments.posonlyargs):
            yield "/"
    if arguments.vararg is not None:
        yield f"*{_argument(arguments.vararg, None)}"
    elif arguments.kwonlyargs:
        yield "*"
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _argument(argument, default)
    if arguments.kwarg is not None:
        yield f"**{_argument(arguments.kwarg, None)}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    text = ast.unparse(argument)
    if default is None:
        return text
    return f"{text} = {ast.unparse(default)}" if argument.annotation else f"{text}={ast.unparse(default)}"


def _code(text: str) -> str:
    return textwrap.indent(text, "    ")


def prose(doc: str) -> Iterator[str]:
    """A docstring as paragraphs of Markdown: its sections as lists, its code as code."""
    for paragraph in re.split(r"\n{2,}", inspect.cleandoc(doc)):
        head, _, rest = paragraph.partition("\n")
        if (section := _SECTION.match(head)) and all(line.startswith("    ") for line in rest.splitlines()):
            yield f"**{section[1]}**"
            yield "\n".join(_items(textwrap.dedent(rest)))
        elif paragraph.startswith("    "):
            yield paragraph
        else:
            yield _plain(paragraph)


def _items(text: str) -> Iterator[str]:
    """The entries of a section; lines that are indented go on with the one before."""
    for entry in re.split(r"\n(?! )", text):
        joined = re.sub(r"\s*\n\s*", " ", entry)
        item = _ITEM.match(joined)
        yield f"- `{item[1]}`: {_plain(item[2])}" if item else f"- {_plain(joined)}"


def _plain(text: str) -> str:
    """Text without the marks of reStructuredText."""
    text = re.sub(r"(?<=\w)::$", ":", text).removesuffix(" ::")
    return re.sub(r"``([^`]+)``", r"`\1`", text)


def main() -> None:
    for name, page in PAGES.items():
        (ROOT / "docs" / "reference" / f"{name}.md").write_text(render(page), "utf-8")


if __name__ == "__main__":
    main()
