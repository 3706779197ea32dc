"""The processes that these tests run against: what happens when they do not start, or do not end."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import trustme

from tokenwire.testing import processes
from tokenwire.testing.processes import running_relay, running_simulator, wait_for, without_proxies


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_simulator_runs_for_as_long_as_it_is_wanted(tmp_path: Path) -> None:
    with running_simulator(tmp_path) as running:
        assert running.url == f"http://127.0.0.1:{running.port}"
        with urlopen(f"{running.url}/healthz", timeout=20) as answer:
            assert answer.status == 200
        assert alive(running.pid)
    assert not alive(running.pid)
    assert running.complaints == ""


def test_a_simulator_speaks_tls_or_fails_at_it(tmp_path: Path) -> None:
    ca = trustme.CA()
    issued = ca.issue_cert("127.0.0.1")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    trust = ssl.create_default_context()
    ca.configure_trust(trust)
    with running_simulator(tmp_path, tls=(cert, key)) as good, running_simulator(tmp_path, tls_fault="alert") as bad:
        assert good.url == f"https://127.0.0.1:{good.port}"
        with urlopen(f"{good.url}/healthz", timeout=20, context=trust) as answer:
            assert answer.status == 200
        with pytest.raises(URLError, match=r"(?i)handshake.failure"):
            urlopen(f"{bad.url}/healthz", timeout=20, context=trust)
        assert good.log != bad.log


def test_a_relay_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="unknown key"), running_relay("[sever]", tmp_path):
        pass


def test_an_exception_in_the_relay_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="Traceback"), running_relay("", tmp_path) as relay:
        relay.log.write_text("Traceback (most recent call last):")
    assert not alive(relay.pid)


@pytest.mark.parametrize("deafness", ["once", "for ever"])
def test_who_does_not_end_at_a_word_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deafness: str) -> None:
    monkeypatch.setattr(processes, "_PATIENCE_SECONDS", 0.2)
    handler = "signal.signal(signal.SIGTERM, signal.SIG_DFL)" if deafness == "once" else "None"
    script = f"""
import signal, threading
signal.signal(signal.SIGTERM, lambda *_: {handler})
print("here: http://127.0.0.1:1/", flush=True)
while True: threading.Event().wait(10)
"""
    with processes._running(["-c", script], tmp_path / "log") as running:
        assert running.url == "http://127.0.0.1:1"
    assert not alive(running.pid)


def test_waiting_ends_with_what_was_wanted_or_with_the_last_answer() -> None:
    answers = iter([0, 0, 3])
    assert wait_for(lambda: next(answers)) == 3
    with pytest.raises(AssertionError, match="the last answer was 5"):
        wait_for(lambda: 5, lambda answer: answer > 5, seconds=0)


@pytest.mark.parametrize("before", [None, "example.com"])
def test_the_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        if before is not None:
            monkeypatch.setenv(name, before)
    with without_proxies():
        assert "127.0.0.1" in os.environ["NO_PROXY"]
    assert (os.environ.get("NO_PROXY"), os.environ.get("no_proxy")) == (before, before)
