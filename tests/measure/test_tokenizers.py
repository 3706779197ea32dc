"""measure/tokenizers and worker: exact counts, never in the caller's thread; and estimates until they are there."""

from __future__ import annotations

import builtins
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import tiktoken

from tokenwire.errors import ConfigError
from tokenwire.measure import tokenizers, worker
from tokenwire.measure.estimator import Count
from tokenwire.measure.tokenizers import ExactCount, tokenizer
from tokenwire.measure.worker import Worker

#: Every byte is a token, and so are the pairs of blank and letter.
ENCODING = tiktoken.Encoding(
    "tiny",
    pat_str=r" ?\p{L}+| ?[^\s\p{L}]+|\s+",
    mergeable_ranks={bytes([byte]): byte for byte in range(256)}
    | {b" " + bytes([97 + at]): 256 + at for at in range(26)},
    special_tokens={},
)


class Threads:
    """A tokenizer that notes in which threads, and with what, it is called."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.texts: list[str] = []

    def __call__(self, text: str) -> int:
        self.seen.add(threading.get_ident())
        self.texts.append(text)
        return len(ENCODING.encode_ordinary(text))


@pytest.fixture
def thread() -> Any:
    made = Worker()
    yield made
    made.close()


def test_all_but_the_newest_word_is_exact_and_counted_elsewhere(thread: Worker) -> None:
    noting = Threads()
    count = ExactCount(Count, noting, thread)
    said = ""
    for part in ["Tell me", " of the s", "ea, and of", " the wind."] * 5:
        count.add(part)
        said += part
        rough = count.tokens
        assert rough > 0
        thread.drain()
        head = said[: said.rfind(" ")]
        assert count.tokens == pytest.approx(len(ENCODING.encode_ordinary(head)), abs=4)
    assert "".join(noting.texts) == said[: said.rfind(" ")]
    assert threading.get_ident() not in noting.seen
    assert len(noting.seen) == 1


def test_until_a_batch_is_counted_it_is_estimated(thread: Worker) -> None:
    wait, go_on = threading.Event(), threading.Event()

    def slow(text: str) -> int:
        wait.set()
        go_on.wait(10)
        return 1000

    count = ExactCount(Count, slow, thread)
    count.add("abcd" * 11 + " and")
    assert count.tokens == pytest.approx(48 / 4.4)
    wait.wait(10)
    count.add("abcd" * 10)
    assert count.tokens == pytest.approx(88 / 4.4), "one batch at a time"
    go_on.set()
    thread.drain()
    assert count.tokens == pytest.approx(1000 + 44 / 4.4)


def test_the_providers_figure_replaces_all_of_it(thread: Worker) -> None:
    count = ExactCount(Count, Threads(), thread)
    count.add("one two three")
    assert count.tokens > 0
    count.told(7)
    thread.drain()
    assert count.tokens == 7


def test_text_without_blanks_is_cut_all_the_same(thread: Worker) -> None:
    noting = Threads()
    count = ExactCount(Count, noting, thread)
    for _ in range(3):
        count.add("海" * 1000)
        assert count.tokens > 0
        thread.drain()
    assert noting.texts == ["海" * 2000]
    assert count.tokens == pytest.approx(6000 + 1000 / 1.2)


def test_a_tokenizer_that_fails_leaves_the_estimate(thread: Worker, caplog: pytest.LogCaptureFixture) -> None:
    def broken(text: str) -> int:
        raise OSError("no network")

    count = ExactCount(Count, broken, thread)
    count.add("abcd " * 11)
    assert count.tokens > 0
    thread.drain()
    assert count.tokens == pytest.approx(55 / 4.4)
    count.add("abcd " * 11)
    assert count.tokens == pytest.approx(110 / 4.4)
    assert "counting tokens failed" in caplog.text
    assert caplog.text.count("no network") == 1


def test_a_program_ends_though_a_vocabulary_never_comes() -> None:
    program = (
        "import threading; from tokenwire.measure.worker import Worker\n"
        "worker = Worker(); go = threading.Event(); worker.submit(lambda: go.set() or threading.Event().wait())\n"
        "go.wait(); worker.close(); print('over')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=20, check=True)
    assert ended.stdout == b"over\n"


def test_the_worker_is_bounded_and_ends(monkeypatch: pytest.MonkeyPatch, thread: Worker) -> None:
    monkeypatch.setattr(worker, "MOST_WAITING", 2)
    go_on = threading.Event()
    jobs = [thread.submit(go_on.wait, 10) for _ in range(3)]
    assert [job is None for job in jobs] == [False, False, True]
    count = ExactCount(Count, Threads(), thread)
    count.add("one two")
    assert count.tokens > 0
    go_on.set()
    thread.drain()
    assert thread.submit(len, "abc") is not None
    assert count.tokens > 0
    thread.close()
    thread.close()
    assert thread.submit(len, "abc") is None
    count.add(" three")
    assert count.tokens > 0


def test_a_job_that_was_dropped_leaves_the_estimate(thread: Worker) -> None:
    go_on = threading.Event()
    thread.submit(go_on.wait, 10)
    count = ExactCount(Count, Threads(), thread)
    count.add("abcd abcd")
    before = count.tokens
    thread.close()
    go_on.set()
    assert count.tokens == pytest.approx(before)


def test_tiktokens_encodings(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(tokenizers, "_encoding", _noting(asked))
    count = tokenizer("tiktoken:o200k_base")
    assert asked == [], "its vocabulary is loaded in the thread"
    assert count("a b <|endoftext|>") == len(ENCODING.encode_ordinary("a b <|endoftext|>"))
    assert asked == ["o200k_base"]


def test_a_vocabulary_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(tiktoken, "get_encoding", _noting(loaded))
    tokenizers._encoding.cache_clear()
    assert [tokenizer("tiktoken:cl100k_base")("a b") for _ in range(3)] == [2] * 3
    assert loaded == ["cl100k_base"]
    tokenizers._encoding.cache_clear()


@pytest.mark.parametrize(("name", "hint"), [
    ("o200k_base", "tiktoken:o200k_base is one"),
    ("tiktoken:", "tiktoken:o200k_base is one"),
    ("tiktoken:o200k", "o200k_base"),
])  # fmt: skip
def test_names_that_are_none(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        tokenizer(name)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == "tiktoken":
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'tokenwire\[tokenizer\]'"):
        tokenizer("tiktoken:o200k_base")


def _noting(names: list[str]) -> Callable[[str], Any]:
    def load(name: str) -> Any:
        names.append(name)
        return ENCODING

    return load
