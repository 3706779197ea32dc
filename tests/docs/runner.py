"""Runs the blocks of one page, in order, as a reader would who types them.

    python        in one namespace for the page. A bare `await` is allowed, as in `python -m asyncio`.
    sh            `curl …` by a shell; `uvicorn …` serves the page's `app`. `st_…` is the last id that was printed.
    js            by Node.
    html          its scripts are read by Node, and not run.
    toml          is settings for `tokenwire serve`, and is checked as such.
    json          is JSON.

The relay's and the app's usual addresses are those of the relay and the app that run here.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import functools
import inspect
import io
import json
import linecache
import operator
import re
import shlex
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests import programs
from tests.docs.backdrop import Backdrop, Served
from tests.docs.pages import ROOT, Block

from tokenwire.errors import ConfigError
from tokenwire.gateway.settings import from_mapping

#: The addresses in the text.
RELAY: Final = "127.0.0.1:8787"
APP: Final = "127.0.0.1:8000"

#: What a reader's `npm install` puts beside the page.
NODE_PACKAGES: Final = ROOT / "tests" / "clients" / "node" / "node_modules"

_SECONDS: Final = 30
_ID: Final = re.compile(r"\bst_[\w-]{22}\b")
_SCRIPT: Final = re.compile(r"<script[^>]*>(.*?)</script>", re.DOTALL)


class Runner:
    """One page's state. A context manager: leaving it stops what it started."""

    def __init__(self, page: str, backdrop: Backdrop, folder: Path) -> None:
        self.outputs: list[tuple[Block, str]] = []
        self._backdrop = backdrop
        self._folder = folder
        self._module = types.ModuleType("docs_" + re.sub(r"\W", "_", page))
        self._loop = asyncio.Runner()
        self._inside = contextlib.chdir(folder)
        self._served: Served | None = None
        self._stream = "st_…"
        self._ways: dict[str, Callable[[Block], str]] = {
            "python": self._python, "sh": self._sh, "js": self._js, "html": self._html,
            "toml": self._toml, "json": self._json,
        }  # fmt: skip

    def __enter__(self) -> Runner:
        sys.modules[self._module.__name__] = self._module  # where dataclasses and FastAPI look names up
        self._inside.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._inside.__exit__(None, None, None)
        self._loop.close()
        if self._served is not None:
            self._served.close()
        del sys.modules[self._module.__name__]

    def run(self, block: Block) -> None:
        """Run *block*; whatever it raises comes out. Raises ``AssertionError`` if nobody knows how."""
        if block.mark == "no-run":
            assert block.note, f"{block}: no reason is given"
            return
        if block.mark == "output":
            self._compare(block)
            return
        if block.mark == "file":
            (self._folder / block.note).write_text(block.text, "utf-8")
        assert block.language in self._ways, f"{block}: {block.language or 'nothing'} cannot be run; say why not"
        output = self._ways[block.language](block)
        self.outputs.append((block, output))

    def _here(self, text: str) -> str:
        text = text.replace(RELAY, self._backdrop.relay.removeprefix("http://"))
        if self._served is not None:
            text = text.replace(APP, self._served.address.removeprefix("http://"))
        return text.replace("st_…", self._stream)

    def _compare(self, block: Block) -> None:
        printed = self.outputs[-1][1].replace("\r\n", "\n").strip()
        pattern = ".*?".join(re.escape(part) for part in block.text.strip().split("…"))
        assert re.fullmatch(pattern, printed, re.DOTALL), f"{block}: it printed\n{printed[:2000]}"

    # ------------------------------------------------------------------ languages

    def _python(self, block: Block) -> str:
        source = self._here(block.text)
        name = f"<{block.page}>"
        padded = "\n" * (block.line - 1) + source  # so that a traceback names the page's own lines
        linecache.cache[name] = (len(padded), None, padded.splitlines(keepends=True), name)
        code = compile(padded, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            if code.co_flags & inspect.CO_COROUTINE:
                self._loop.run(_awaited(code, self._module.__dict__))
            else:
                exec(code, self._module.__dict__)
        assert out.getvalue() or not re.search(r"^ *print\(", source, re.MULTILINE), f"{block}: it printed nothing"
        return out.getvalue()

    def _sh(self, block: Block) -> str:
        out = []
        for command in commands(block.text):
            words = shlex.split(command, comments=True)
            if words[0] == "uvicorn":
                assert self._served is None, f"{block}: one app a page"
                self._served = Served(self._backdrop, self._module.__dict__["app"])
                continue
            assert words[0] == "curl", f"{block}: {words[0]} is not run here; say why not"
            programs.program("curl")
            out.append(self._run(block, ["sh", "-c", self._here(command)], self._folder))
            assert not out[-1].startswith('{"error"'), f"{block}: {out[-1]}"
            self._stream = _ID.findall(out[-1])[-1] if _ID.search(out[-1]) else self._stream
        return "".join(out)

    def _js(self, block: Block) -> str:
        packages = self._folder / "node_modules"
        if not packages.exists():
            packages.symlink_to(NODE_PACKAGES)
        code = re.sub(r"from (['\"])ai\1", "from 'ai7'", self._here(block.text))
        return self._run(block, [programs.node(), "--input-type=module", "--eval", code], self._folder)

    def _html(self, block: Block) -> str:
        scripts = _SCRIPT.findall(block.text)
        assert scripts, f"{block}: nothing in it can be tested"
        for script in scripts:
            path = self._folder / "script.mjs"
            path.write_text(script, "utf-8")
            self._run(block, [programs.node(), "--check", str(path)], self._folder)
        return ""

    def _toml(self, block: Block) -> str:
        secrets = dict.fromkeys(re.findall(r"\$\{(\w+)\}", block.text), "secret")
        raw = tomllib.loads(block.text)
        while True:
            try:
                from_mapping(raw, secrets)
            except ConfigError as error:  # a reader's own certificate: all but what is in it can be checked
                if error.where is None or not error.message.startswith("cannot read"):
                    raise
                table = functools.reduce(operator.getitem, error.where.split(".")[:-1], raw)
                for name in [name for name in table if name.endswith(("_file", "_password"))]:
                    del table[name]
            else:
                return ""

    def _json(self, block: Block) -> str:
        json.loads(block.text)
        return ""

    def _run(self, block: Block, command: list[str], folder: Path) -> str:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=_SECONDS)
        assert done.returncode == 0, f"{block}: {done.stderr.decode()}"
        return done.stdout.decode()


async def _awaited(code: types.CodeType, namespace: dict[str, Any]) -> None:
    await eval(code, namespace)


def commands(text: str) -> list[str]:
    """The commands of a shell block: lines, joined where a quotation or a backslash goes on; comments left out."""
    found: list[str] = []
    command = ""
    for line in text.splitlines(keepends=True):
        command += line
        try:
            words = shlex.split(command, comments=True)
        except ValueError:  # a quotation is open
            continue
        if command.endswith("\\\n"):
            continue
        if words:
            found.append(command)
        command = ""
    assert not command.strip(), f"this does not end: {command}"
    return found
