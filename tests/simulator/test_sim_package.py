"""Promises of the package as a whole."""

from __future__ import annotations

import ast
from pathlib import Path

import tokenwire.simulator as package

ROOT = Path(package.__file__).parent


def test_the_simulator_imports_nothing_else_of_tokenwire() -> None:
    # It is the relay's witness: with a parser or an encoder in common it would share their bugs.
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, path
                names = [node.module or ""]
            for name in names:
                assert not name.startswith("tokenwire") or name.startswith("tokenwire.simulator"), (path, name)


def test_public_names() -> None:
    assert package.__all__ == ["Simulator", "Stats", "run", "serve"]
