"""How many tokens a text is, learned per model from what its provider told of earlier answers.

A model's rule is a weight for each count of ``measure.characters``; the tokens of a text are their sum. It begins as
the static rule and is corrected by each answer whose tokens are known: recursive least squares, that is, Bayesian
linear regression one sample at a time, where the static rule is the prior and ``DOUBT`` its spread. So the first answer
in a language already moves the weights of its script, and leaves those of the others alone.

What spoils such a fit are counts that are not those of the text (thoughts that nobody sees and nobody counts apart).
So an answer that is absurd by the static rule is not taken, a surprise counts only as far as three standard deviations
go, and after one the rule is held for less certain: should surprises go on, it follows them within a few answers.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from math import sqrt
from operator import mul
from typing import TYPE_CHECKING, Final

from tokenwire.measure.characters import DOUBT, RULE, RUNS, SCRIPTS, SIGNS, SIZE, WORDS, profile

if TYPE_CHECKING:
    from collections.abc import Callable

#: Models and families remembered, the ones used last: 4 KiB each.
MOST_MODELS: Final = 128
#: Answers of fewer tokens teach nothing: what vendors add to each (an end mark, a role) weighs too much.
LEAST_TOKENS: Final = 32
#: Told and counted by the static rule differ by more: then something else was counted than this text. Real vocabularies
#: are within a factor of two of it, old ones within three for Indic scripts.
ABSURD: Final = 3.5
#: How well a linear rule can fit one answer, relative: 2 %, and a token and a half.
_NOISE: Final = 0.02
_EXTRA: Final = 1.5
_SURPRISE: Final = 3.0
#: The first answers are held for so much less exact: one of them may be odd, and what it taught must not stick.
_FIRST: Final = 4.0
#: What an answer moves at most, however uncertain the rule still is.
_LARGEST: Final = 0.5
#: The spread grows by so much per answer, so that a model that changes is followed; and by so much after a surprise.
_FORGET: Final = 1.02
_SHAKEN: Final = 1.5
#: A weight whose spread is still nearly what it was at first was never asked for.
_UNSEEN: Final = 0.8
#: No estimate is further from the static rule, whatever was learned.
_TRUST: Final = 4.0
#: Text that waits to be counted, in pieces: then it is. Bounds what a stream that nobody asks holds.
_MOST_WAITING: Final = 4096


class Rule:
    """One model's weights, and how certain they are. ``fit`` takes 0.1 ms; it is called once an answer at most."""

    __slots__ = ("_answers", "_spread", "weights")

    def __init__(self) -> None:
        self.weights: tuple[float, ...] = RULE
        self._answers = 0
        self._spread = array("d", [0.0]) * (SIZE * SIZE)  # the covariance, row by row
        for at, doubt in enumerate(DOUBT):
            self._spread[at * SIZE + at] = doubt * doubt

    def beside(self, others: tuple[float, ...]) -> tuple[float, ...]:
        """Its weights, and of the scripts that it has not seen those of *others*, where they are no fluke."""
        weights = list(self.weights)
        for at in range(SCRIPTS, SIZE):
            unseen = self._spread[at * SIZE + at] > _UNSEEN * DOUBT[at] * DOUBT[at]
            if unseen and 1 / ABSURD < others[at] / RULE[at] < ABSURD:
                weights[at] = others[at]
        return tuple(weights)

    def fit(self, counts: list[int], tokens: int) -> None:
        """Correct the weights by an answer of *counts* that was *tokens* long."""
        share = [count / tokens for count in counts] + [0.0] * (SIZE - len(counts))
        spread = self._spread
        rows = [spread[at : at + SIZE] for at in range(0, SIZE * SIZE, SIZE)]
        gain = [sum(map(mul, row, share)) for row in rows]
        self._answers += 1
        noise = (_NOISE * (1 + _FIRST / self._answers)) ** 2 + (_EXTRA / tokens) ** 2
        variance = max(0.0, sum(map(mul, gain, share))) + noise
        error = 1 - sum(map(mul, self.weights, share))
        most = min(_SURPRISE * sqrt(variance), _LARGEST)
        surprised = abs(error) > most
        error = max(-most, min(most, error))
        self.weights = tuple(
            [weight + each / variance * error for weight, each in zip(self.weights, gain, strict=True)]
        )
        grow = _SHAKEN if surprised else _FORGET
        for at, row in enumerate(rows):
            factor = gain[at] / variance
            spread[at * SIZE : (at + 1) * SIZE] = array(
                "d", [(old - factor * each) * grow for old, each in zip(row, gain, strict=True)]
            )
        for at, doubt in enumerate(DOUBT):  # kinds that never come must not grow uncertain without end
            if spread[at * SIZE + at] > doubt * doubt:
                scale = doubt / sqrt(spread[at * SIZE + at])
                for other in range(SIZE):
                    spread[at * SIZE + other] *= scale
                    spread[other * SIZE + at] *= scale


def weigh(weights: tuple[float, ...], counts: list[int]) -> float:
    """The tokens of *counts* by *weights*, within ``_TRUST`` of the static rule."""
    static: float = sum(map(mul, RULE, counts))
    if weights is RULE:
        return static
    learned: float = sum(map(mul, weights, counts))
    return max(static / _TRUST, min(static * _TRUST, learned))


def twice(weights: tuple[float, ...], before: str, after: str) -> float:
    """What is counted twice where a text is cut between the characters *before* and *after*."""
    if before.isascii() and after.isascii():
        if before.isalpha() and after.isalpha():
            return weights[WORDS]
        if before in SIGNS and after in SIGNS and before:
            return weights[RUNS]
    return 0.0


class Count:
    """The tokens of one text that grows. Made by ``Estimator.begin``; not safe for concurrent use.

    ``add`` only keeps the piece: it is counted when ``tokens`` is asked for, all that came since at once.
    """

    __slots__ = ("_last", "_tokens", "_waiting", "_weights")

    def __init__(self, weights: tuple[float, ...] = RULE) -> None:
        self._weights = weights
        self._tokens = 0.0
        self._waiting: list[str] = []
        self._last = ""  # a word or a run may go on in the next piece: it is one all the same

    def add(self, text: str) -> None:
        """*text* was said after what was added before."""
        self._waiting.append(text)
        if len(self._waiting) > _MOST_WAITING:
            self._fold()

    def told(self, tokens: float) -> None:
        """All so far is *tokens* long: that replaces the estimate, and what follows adds up."""
        self._tokens = tokens
        if self._waiting:
            self._last = self._waiting[-1][-1:]
            self._waiting.clear()

    @property
    def tokens(self) -> float:
        """About how many tokens all of it is. 0.05 us a token of what came since it was last asked, and 5 us."""
        if self._waiting:
            self._fold()
        return self._tokens

    def _fold(self) -> None:
        text = "".join(self._waiting)
        self._waiting.clear()
        if text:
            self._tokens += weigh(self._weights, profile(text)) - twice(self._weights, self._last, text[0])
            self._last = text[-1]


class Estimator:
    """The rules of all models that answered here. One per core; deterministic, bounded, without a clock."""

    def __init__(self, most_models: int = MOST_MODELS) -> None:
        self._rules: OrderedDict[str, Rule] = OrderedDict()
        self._most = most_models

    def begin(self, model: str) -> Count:
        """A count of what *model* says from now on, by what is known of it now."""
        return Count(self.weights(model))

    def weights(self, model: str) -> tuple[float, ...]:
        """The tokens of each of ``measure.characters``' counts. What a model has not said yet is known by the others of
        its family (vendors have few vocabularies), else by the static rule."""
        known = [self._rules[name] for name in (model, _family(model)) if name in self._rules]
        for name in (model, _family(model)):
            if name in self._rules:
                self._rules.move_to_end(name)
        if not known:
            return RULE
        return known[0].weights if len(known) == 1 else known[0].beside(known[1].weights)

    def counter(self, model: str) -> Callable[[str], float]:
        """The same as ``count``, by what is known now. May be called in another thread."""
        weights = self.weights(model)
        return lambda text: weigh(weights, profile(text))

    def count(self, model: str, text: str) -> float:
        """About how many tokens *text* is to *model*; adds up over the parts of a text."""
        return weigh(self.weights(model), profile(text))

    def learn(self, model: str, text: str, tokens: int) -> bool:
        """*model* gave *text* as a whole answer, and its provider counts it, without reasoning and calls, as *tokens*.

        False where that was too little to learn from, or cannot be.
        """
        if tokens < LEAST_TOKENS:
            return False
        counts = profile(text)
        if not 1 / ABSURD < tokens / max(weigh(RULE, counts), 1.0) < ABSURD:
            return False
        begin = self.weights(model)
        for name in filter(None, (_family(model), model)):
            rule = self._rules.get(name)
            if rule is None:
                rule = self._rules[name] = Rule()
                if len(self._rules) > self._most:
                    self._rules.popitem(last=False)
            if name == model:
                rule.weights = begin
            self._rules.move_to_end(name)
            rule.fit(counts, tokens)
        return True

    def __len__(self) -> int:
        """How many models are known; a family counts as one more."""
        return len(self._rules)


def _family(model: str) -> str:
    """What its name begins with: ``openai/`` of ``openai/gpt-4o``; "" for a name without that."""
    family, slash, _ = model.rpartition("/")
    return family + slash
