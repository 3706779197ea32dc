"""SIGKILL at any moment: what a write has answered is there, once and in order."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("store_killed.py")


def kill(path: Path, kills: int, seed: int) -> None:
    command = [sys.executable, str(PROGRAM), str(path), str(kills), str(seed)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ})
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"{kills} kills, ")
    assert int(ended.stdout.split()[2]) > kills, "it did write"


@pytest.mark.slow
def test_nothing_is_lost_doubled_or_reordered_by_kills(tmp_path: Path) -> None:
    kill(tmp_path / "t.db", 20, 1)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 6))
def test_nor_by_many(tmp_path: Path, seed: int) -> None:
    kill(tmp_path / "t.db", 150, seed)
