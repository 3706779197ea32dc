"""Reading /proc, and ending a family of processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench import processes

LINE = (
    "4711 ({name}) S 12 4711 4700 0 -1 4194560 1000 2000 0 0 150 50 30 20 20 0 3 0 12345 1000000 500 "
    "18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
)


@pytest.mark.parametrize("name", ["nginx", "a b", "x) S 1 2 3", "((", "tokenwire: worker (1)"])
def test_stat_fields_are_found_behind_any_name(name: str) -> None:
    assert processes.parse_stat(LINE.format(name=name)) == processes.Stat(
        pid=4711, ended=False, parent=12, session=4700, own_ticks=200, reaped_ticks=50
    )


def test_a_zombie_has_ended() -> None:
    assert processes.parse_stat(LINE.format(name="x").replace(" S ", " Z ")).ended


def test_pss_is_read_from_the_rollup() -> None:
    text = "00400000-7fff [rollup]\nRss:            2000 kB\nPss:            1234 kB\nPss_Anon:       99 kB\n"
    assert processes.parse_pss_kib(text) == 1234
    assert processes.parse_pss_kib("") == 0


def test_a_machine_is_busy_with_all_but_waiting() -> None:
    text = "cpu  100 20 30 99999 888 4 5 6 70 80\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 1 2 3\n"
    assert processes.parse_busy_ticks(text) == 100 + 20 + 30 + 4 + 5 + 6
    before = processes.machine_seconds()
    assert 0 < before <= processes.machine_seconds()


def start(script: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


def test_time_of_an_ended_child_stays_with_its_family() -> None:
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    process = start(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])\nprint()\ninput()")
    try:
        assert process.stdout is not None
        process.stdout.readline()  # the child has ended and was waited for
        assert processes.cpu_seconds(process.pid) >= 0.19
        assert processes.pss_kib(process.pid) > 1000
    finally:
        processes.end(process)
        close(process)


def test_end_takes_the_stubborn_child_too() -> None:
    stubborn = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(flush=True)\nsignal.pause()"
    process = start(
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {stubborn!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\nprint(child.pid, flush=True)\ninput()"
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    assert {process.pid, child} == {s.pid for s in processes.family(process.pid)}
    processes.end(process)
    close(process)
    assert process.poll() is not None
    left = Path(f"/proc/{child}/stat")  # nobody may have reaped the orphan yet: a zombie is over too
    assert not left.exists() or processes.parse_stat(left.read_text()).ended


def test_a_stubborn_process_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_END_SECONDS", 0.05)
    process = start("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(flush=True)\ninput()")
    assert process.stdout is not None
    process.stdout.readline()
    processes.end(process)
    close(process)
    assert process.returncode == -9


def test_end_accepts_what_has_ended() -> None:
    process = start("pass")
    process.wait()
    processes.end(process)
    close(process)
    assert process.returncode == 0
