"""Finds the programs that the rig needs, and compiles its own two. The missing are named by package."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = Path(__file__).resolve().parent / "wire"
_FLAGS = ("-std=gnu99", "-O2", "-Wall", "-Wextra", "-Werror")


class MissingProgramError(Exception):
    """A program is not on this machine. ``remedy`` says how to get it."""

    def __init__(self, program: str, remedy: str) -> None:
        self.program = program
        self.remedy = remedy
        super().__init__(f"{program} is not on this machine: {remedy}")


@dataclass(frozen=True)
class Programs:
    """The compiled programs."""

    paced: Path
    load: Path


def find(program: str, package: str) -> str:
    """The path of *program*, which the Debian *package* has.

    Raises:
        MissingProgramError: It is not on the PATH, nor in the places where a distribution puts daemons.
    """
    places = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    found = shutil.which(program, path=places)
    if found is None:
        raise MissingProgramError(program, f"apt-get install {package}")
    return found


def build(directory: Path = ROOT / "build" / "bench") -> Programs:
    """Compile ``wire/paced.c`` and ``wire/load.c`` into *directory*, unless these very sources were before.

    Raises:
        MissingProgramError: There is no C compiler.
        subprocess.CalledProcessError: It refused the sources.
    """
    compiler = find("cc", "gcc libc6-dev")
    digest = hashlib.sha256(" ".join(_FLAGS).encode())
    for source in sorted(SOURCES.glob("*.[ch]")):
        digest.update(source.read_bytes())
    target = directory / digest.hexdigest()[:16]
    target.mkdir(parents=True, exist_ok=True)
    programs = Programs(paced=target / "paced", load=target / "load")
    for program in (programs.paced, programs.load):
        if not program.exists():
            # Renamed into place: two rigs that build at once never run half a program.
            unfinished = program.with_suffix(f".{os.getpid()}")
            subprocess.run([compiler, *_FLAGS, "-o", unfinished, SOURCES / f"{program.name}.c"], check=True)
            unfinished.replace(program)
    return programs
