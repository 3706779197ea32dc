"""What is shipped: the page within its budget, and in the wheel; lock files without addresses."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests import programs

from tokenwire.gateway.page import BUILT

ROOT = Path(__file__).parents[2]
#: Bytes, gzip, of everything that a first visit loads. Raise it knowingly.
BUDGET = 60_000


@pytest.fixture
def built() -> Path:
    if not (BUILT / "index.html").is_file():
        programs.missing("the page is not built (make page)")
    return BUILT


def test_the_page_is_within_its_budget(built: Path) -> None:
    sizes = {
        path.relative_to(built).as_posix(): len(gzip.compress(path.read_bytes(), 9))
        for path in sorted(built.rglob("*"))
        if path.is_file()
    }
    print("\n".join(f"{size:7,} {name}" for name, size in sizes.items()))
    assert 10_000 < sum(sizes.values()) <= BUDGET, sizes


@pytest.mark.slow
def test_the_wheel_holds_the_page(built: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    files = {path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file()}
    assert {f"tokenwire/gateway/static/{name}" for name in files} <= names
    assert not any("node_modules" in name or name.endswith(".ts") for name in names)


def test_the_lock_file_names_no_address() -> None:
    lock = json.loads((ROOT / "web" / "package-lock.json").read_text("utf-8"))
    for name, package in lock["packages"].items():
        where = package.get("resolved", "")
        assert where == "" or package.get("link"), (name, where)
        assert package.get("link") or name in ("", "client", "playground") or package["integrity"].startswith("sha512-")


def test_the_client_has_no_dependency() -> None:
    package = json.loads((ROOT / "web" / "client" / "package.json").read_text("utf-8"))
    assert not {"dependencies", "peerDependencies", "optionalDependencies"} & package.keys()
