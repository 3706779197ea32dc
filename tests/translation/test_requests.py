"""What the tables say of requests is what happens to them, for every dialect that requests are written in."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import Raw
from tests.translation.page import prompts
from tests.translation.samples import WHERE, meaning, sample

from tokenwire.dialects.prompt.fit import CARRIED, FEATURES, Feature, Prompts, check, features
from tokenwire.dialects.prompt.vocabulary import Prompt
from tokenwire.dialects.request_body import GenerateRequest
from tokenwire.errors import RequestRefused

WRITTEN = {name: each for name, each in prompts().items() if each.write is not None}


def written(prompt: Prompt, prompts: Prompts) -> GenerateRequest:
    """*prompt* as a request of the dialect that *prompts* are."""
    assert prompts.write is not None
    body = prompts.write(prompt, "some-model", True)
    return GenerateRequest("some-model", True, True, msgspec.json.decode(body, type=dict[str, Raw]))


def test_both_dialects_of_old_are_read_and_written() -> None:
    assert {"anthropic", "openai.chat"} <= set(WRITTEN)


@pytest.mark.parametrize("feature", FEATURES)
def test_every_sample_uses_its_feature_under_its_name(feature: Feature) -> None:
    used = dict(features(sample(feature, "x"), "x"))
    assert used[feature] in (WHERE, WHERE + ".name", "the.name")


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("name", WRITTEN)
def test_what_a_table_says_of_a_feature_is_what_happens(name: str, feature: Feature) -> None:
    prompts = WRITTEN[name]
    verdict = prompts.table.get(feature, CARRIED)
    prompt = sample(feature, name)
    named = dict(features(prompt, name))[feature]
    if verdict.fate == "refused":
        with pytest.raises(RequestRefused) as caught:
            check(prompt, prompts.table, name)
        assert (caught.value.status, caught.value.param) == (400, named)
        assert f"speaks {name}: {verdict.why}" in str(caught.value)
        return
    before = meaning(prompt, feature)
    again = prompts.read(written(prompt, prompts))
    notes = [note for note in check(prompt, prompts.table, name) if (note.where, note.why) == (named, verdict.why)]
    assert again.rest == {}
    if verdict.fate == "carried":
        assert meaning(again, feature) == before
        return
    assert [note.fate for note in notes] == [verdict.fate]
    if verdict.fate == "dropped":
        assert meaning(again, feature) != before
        assert feature not in dict(features(again, name))


@pytest.mark.parametrize("name", WRITTEN)
def test_tables_speak_of_features_only_and_say_why(name: str) -> None:
    table = WRITTEN[name].table
    assert set(table) <= set(FEATURES)
    assert all(verdict.why for verdict in table.values() if verdict.fate != "carried")
