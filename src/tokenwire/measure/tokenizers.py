"""Exact counts, by the model's own tokenizer: an option, for it costs 1 us a token and is never run in the event loop.

Texts are counted in batches, in a thread; until a batch is counted, it is estimated. A batch ends before a blank, where
all usual tokenizers cut, so that the counts of the batches add up to that of the whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tokenwire.errors import ConfigError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from tokenwire.measure.estimator import Count
    from tokenwire.measure.worker import Worker

log = logging.getLogger(__name__)

#: Text -> how many tokens it is. Called in a thread, one call at a time.
Tokenizer: TypeAlias = Callable[[str], int]

_TIKTOKEN: Final = "tiktoken"
#: A text without blanks (Chinese, base64) is cut anywhere from here on: one token in hundreds.
_LONGEST_WORD: Final = 1024


def tokenizer(name: str) -> Tokenizer:
    """The tokenizer called *name*: ``tiktoken:ENCODING``. Its vocabulary is loaded with the first count, in the thread.

    Raises ``ConfigError``: no such kind or encoding, or its package is not installed.
    """
    kind, _, encoding = name.partition(":")
    if kind != _TIKTOKEN or not encoding:
        raise ConfigError(f"{name!r} is no tokenizer; tiktoken:o200k_base is one")
    try:
        import tiktoken
    except ImportError as error:
        raise ConfigError(f"{name!r} needs a package: pip install 'tokenwire[tokenizer]'") from error
    known = tiktoken.list_encoding_names()
    if encoding not in known:
        raise ConfigError(f"tiktoken has no encoding {encoding!r}, but {', '.join(sorted(known))}")

    def count(text: str) -> int:
        return len(_encoding(encoding).encode_ordinary(text))

    return count


@lru_cache(maxsize=8)
def _encoding(name: str) -> Any:
    import tiktoken

    return tiktoken.get_encoding(name)


class ExactCount:
    """An ``estimator.Count`` of which all but the newest text is counted by *tokenizer*, in *worker*'s thread."""

    __slots__ = ("_begin", "_exact", "_job", "_new", "_text", "_tokenizer", "_under_way", "_worker")

    def __init__(self, begin: Callable[[], Count], tokenizer: Tokenizer, worker: Worker) -> None:
        self._begin = begin
        self._tokenizer: Tokenizer | None = tokenizer
        self._worker = worker
        self._exact = 0.0
        self._job: Future[int] | None = None
        self._under_way = 0.0  # what the job is estimated to give
        self._new = begin()
        self._text: list[str] = []

    def add(self, text: str) -> None:
        """*text* was said after what was added before."""
        self._new.add(text)
        if self._tokenizer is not None:
            self._text.append(text)

    def told(self, tokens: float) -> None:
        """All so far is *tokens* long: that replaces every count."""
        self._exact, self._job, self._under_way = tokens, None, 0.0
        self._new = self._begin()
        self._text.clear()

    @property
    def tokens(self) -> float:
        """How many tokens all of it is: counted as far as that came, and estimated. Asking begins the next batch."""
        self._collect()
        if self._job is None and self._text and self._tokenizer is not None:
            self._submit(self._tokenizer)
        return self._exact + self._under_way + self._new.tokens

    def _collect(self) -> None:
        job = self._job
        if job is None or not job.done():
            return
        self._job = None
        error = None if job.cancelled() else job.exception()
        if error is None and not job.cancelled():
            self._exact += job.result()
        else:  # a vocabulary that cannot be had, mostly: it will not come with the next batch
            self._exact += self._under_way
            self._tokenizer = None
            self._text.clear()
            log.warning("counting tokens failed, they are estimated: %s", error)
        self._under_way = 0.0

    def _submit(self, tokenizer: Tokenizer) -> None:
        text = "".join(self._text)
        at = text.rfind(" ")
        if at <= 0:
            at = len(text) if len(text) > _LONGEST_WORD else 0
        self._text = [text[at:]] if at < len(text) else []
        job = self._worker.submit(tokenizer, text[:at]) if at else None
        if job is None:  # nothing to count yet, or no room: with the next batch
            self._text = [text]
            return
        estimate = self._begin()
        estimate.add(text[:at])
        self._job, self._under_way = job, estimate.tokens
        self._new = self._begin()
        self._new.add(text[at:])
