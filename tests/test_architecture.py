"""The house rule, executable: imports run downward only (DESIGN.md, section 3), and the pure layers stay pure.

Every import counts, wherever it stands: in a function, under ``TYPE_CHECKING``, relative, or by name through
``import_module``. A module belongs to the entry of ``LAYERS`` with the longest name that it begins with.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "tokenwire"

#: How high each part of the house stands. Parts on one floor do not know each other.
LAYERS = {
    "errors": 0,
    "wire": 1,
    "dialects": 2,
    "measure": 3,
    "engine": 4,
    "upstream": 5,
    "client": 6,
    "gateway": 6,
    "fastapi": 7,
    "tools": 7,
    "batch": 7,
    "measure.bench": 7,  # they measure the house from outside, with a client
    "measure.doctor": 7,
    "cli": 8,
    "__main__": 9,
}

#: Leaves of their own: what each may import beside itself. Only what users start may import the simulator, and only
#: tests import ``testing``, whose fakes serve the engine. Test benches for the floors above it are named one by one.
_TESTING = {"errors", "wire", "dialects", "measure", "engine"}
LEAVES = {
    "simulator": {"errors", "wire", "dialects"},
    "testing": _TESTING,
    "testing.exchange": {*_TESTING, "upstream"},
    "testing.rig": {*_TESTING, "upstream"},
    "testing.relay": {*_TESTING, "upstream", "gateway"},
}

PURE = ("wire", "dialects")
IMPURE = {
    "asyncio", "socket", "ssl", "time", "random", "os", "threading", "secrets", "selectors", "subprocess", "uvloop",
    "multiprocessing", "concurrent", "datetime", "uuid", "logging", "pathlib", "io",
}  # fmt: skip


class Import(NamedTuple):
    line: int
    module: str  # dotted, absolute


def name_of(path: Path, source: Path) -> str:
    """The dotted name of a module file below *source*; of a package for its ``__init__``."""
    parts = path.relative_to(source).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, source: Path) -> Iterator[Import]:
    """Everything that a file imports. ``from a import b`` may mean the module ``a.b``: it counts as that."""
    name = name_of(path, source)
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            yield from (Import(node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (Import(node.lineno, text) for text in _texts(node.args[:1]))


def _texts(arguments: list[ast.expr]) -> Iterator[str]:
    """A module's name as written; of one that is put together, what stands before the first hole."""
    for argument in arguments:
        parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
        if parts and isinstance(parts[0], ast.Constant) and isinstance(parts[0].value, str):
            yield parts[0].value


def part_of(module: str) -> str | None:
    """The part of the house that a module of ours belongs to; "" for the root, None if it is nobody's."""
    inside = module.removeprefix(PACKAGE).removeprefix(".").split(".")
    for size in range(len(inside), 0, -1):
        part = ".".join(inside[:size])
        if part in LAYERS or part in LEAVES:
            return part
    return "" if len(inside) == 1 else None


def may_import(importer: str, imported: str) -> bool:
    if importer == imported or imported == "":  # the root holds the version, and imports nothing (see below)
        return True
    if importer in LEAVES:
        return imported in LEAVES[importer] or imported.partition(".")[0] == importer.partition(".")[0]
    if imported in LEAVES:
        return imported == "simulator" and importer in ("fastapi", "cli", "__main__")
    return LAYERS[importer] > LAYERS[imported]


def breaches(path: Path, source: Path) -> list[str]:
    """What a file imports against the rule, each as ``file:line: why``."""
    name = name_of(path, source)
    importer = part_of(name)
    where = path.relative_to(source.parent) if path.is_relative_to(source.parent) else path
    found: list[str] = []
    if importer is None or (importer == "" and name != PACKAGE):
        return [f"{where}:1: {name} is in no part of the house: give it a place in LAYERS"]
    for line, module in imports_of(path, source):
        top = module.partition(".")[0]
        if top != PACKAGE:
            if importer in PURE and top in IMPURE:
                found.append(f"{where}:{line}: {importer} imports {top}, and has to be pure")
            continue
        imported = part_of(module)
        if importer == "":
            found.append(f"{where}:{line}: the root package imports {module}: it must cost nothing")
        elif imported is None:
            found.append(f"{where}:{line}: {module} is in no part of the house: give it a place in LAYERS")
        elif not may_import(importer, imported):
            found.append(f"{where}:{line}: {importer} imports {module}, and {imported} is not below it")
    return found


FILES = sorted((ROOT / "src" / PACKAGE).rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT / "src" / PACKAGE)))
def test_imports_run_downward_only(path: Path) -> None:
    assert breaches(path, ROOT / "src") == []


def test_the_whole_house_was_looked_at() -> None:
    names = {name_of(path, ROOT / "src") for path in FILES}
    assert {"tokenwire", "tokenwire.wire.sse", "tokenwire.engine.stream", "tokenwire.simulator.server"} <= names


# -- the checker itself


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """An empty house."""
    for folder in ("", "wire", "dialects", "engine", "simulator", "testing", "client", "gateway", "cli", "measure"):
        (tmp_path / PACKAGE / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / PACKAGE / folder / "__init__.py").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("wire/a.py", "import tokenwire.engine.hub"),
        ("wire/a.py", "from tokenwire import engine"),
        ("wire/a.py", "from tokenwire.engine import hub, log"),
        ("wire/a.py", "from ..engine import hub"),
        ("wire/__init__.py", "from ..engine.hub import Hub"),
        ("wire/a.py", "from .. import dialects"),
        ("wire/a.py", "def f():\n    from tokenwire.dialects import base"),
        ("wire/a.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tokenwire.dialects import base"),
        ("wire/a.py", "import importlib\nx = importlib.import_module('tokenwire.engine.hub')"),
        ("wire/a.py", "from importlib import import_module\nx = import_module(f'tokenwire.engine.{1}')"),
        ("wire/a.py", "x = __import__('tokenwire.cli')"),
        ("errors.py", "from tokenwire.wire import sse"),
        ("__init__.py", "from tokenwire import errors"),
        ("client/a.py", "from tokenwire.gateway import app"),
        ("gateway/a.py", "from tokenwire.client import follow"),
        ("gateway/a.py", "from tokenwire.measure.bench import run"),
        ("engine/a.py", "from tokenwire.testing.clock import ManualClock"),
        ("gateway/a.py", "from tokenwire.simulator import serve"),
        ("simulator/a.py", "from tokenwire.engine.clock import Clock"),
        ("simulator/a.py", "from tokenwire.testing import clock"),
        ("testing/a.py", "from tokenwire.gateway import app"),
        ("testing/rig.py", "from tokenwire.gateway import app"),
        ("cli/a.py", "from tokenwire.testing import clock"),
        ("engine/a.py", "from tokenwire.attic import thing"),
        ("attic/a.py", "import json"),
        ("attic.py", "import json"),
        ("wire/a.py", "import asyncio"),
        ("wire/a.py", "def f():\n    import os.path"),
        ("dialects/a.py", "from time import monotonic"),
        ("dialects/a.py", "import json, random"),
        ("dialects/a.py", "from socket import socket as s"),
        ("wire/a.py", "try:\n    import threading\nexcept ImportError:\n    pass"),
        ("wire/a.py", "import ssl"),
    ],
)
def test_the_checker_names_the_file_and_the_line_of_a_breach(house: Path, file: str, code: str) -> None:
    path = house / PACKAGE / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"# first line\n{code}\n")
    found = breaches(path, house)
    assert found
    line = 1 if "attic" in file else 1 + len(code.splitlines()) - code.endswith("pass") * 2
    assert all(one.startswith(f"{house.name}/{PACKAGE}/{file}:{line}: ") for one in found)


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("wire/a.py", "import json, re\nfrom tokenwire.errors import EventTooLarge\nfrom tokenwire.wire import sse"),
        ("wire/a.py", "from . import sse\nfrom .sse import Event"),
        ("wire/__init__.py", "from .sse import Event"),
        ("dialects/a.py", "from importlib import import_module\nx = import_module(f'tokenwire.dialects.{1}')"),
        ("dialects/a.py", "from importlib import import_module\ny = 'json'\nx = import_module(y)"),
        (
            "engine/a.py",
            "import asyncio, time\nfrom tokenwire import __version__, dialects\nfrom tokenwire.wire import sse",
        ),
        ("measure/bench.py", "from tokenwire.client import follow\nfrom tokenwire.measure import timing"),
        ("gateway/a.py", "from tokenwire.measure import timing"),
        ("simulator/a.py", "import asyncio\nfrom tokenwire.wire.sse import encode\nfrom tokenwire.simulator import x"),
        ("testing/a.py", "from tokenwire.engine.clock import Clock\nfrom tokenwire.testing import x, rig"),
        ("testing/rig.py", "from tokenwire.testing import a\nfrom tokenwire.upstream import pool"),
        ("cli/a.py", "from tokenwire.simulator import serve\nfrom tokenwire.gateway import app"),
        ("__main__.py", "from tokenwire.cli import main"),
        ("__init__.py", "__version__ = '1'"),
    ],
)
def test_the_checker_lets_the_right_imports_pass(house: Path, file: str, code: str) -> None:
    path = house / PACKAGE / file
    path.write_text(code)
    assert breaches(path, house) == []
