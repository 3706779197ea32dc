"""Log-probabilities, both ways: Gemini has the chosen tokens in one list and the alternatives in another; everybody
else, and this house, has OpenAI's entries, each with its alternatives."""

from __future__ import annotations

from typing import Any


def read(result: Any) -> list[Any]:
    """``logprobsResult`` as entries."""
    fields = result if isinstance(result, dict) else {}
    chosen, top = fields.get("chosenCandidates"), fields.get("topCandidates")
    rows = top if isinstance(top, list) else []
    entries: list[Any] = []
    for position, token in enumerate(chosen if isinstance(chosen, list) else ()):
        if not isinstance(token, dict):
            continue
        row = rows[position] if position < len(rows) else None
        others = row.get("candidates") if isinstance(row, dict) else None
        alternatives = [_entry(other) for other in others or () if isinstance(other, dict)]
        entries.append({**_entry(token), "top_logprobs": alternatives})
    return entries


def write(entries: list[Any]) -> dict[str, Any]:
    """Entries as ``logprobsResult``."""
    known = [entry for entry in entries if isinstance(entry, dict)]
    rows = [[_token(other) for other in entry.get("top_logprobs") or () if isinstance(other, dict)] for entry in known]
    result: dict[str, Any] = {"chosenCandidates": [_token(entry) for entry in known]}
    if any(rows):
        result["topCandidates"] = [{"candidates": row} for row in rows]
    return result


def _entry(token: dict[str, Any]) -> dict[str, Any]:
    entry = {"token": token.get("token", ""), "logprob": token.get("logProbability", 0.0), "bytes": None}
    return {**entry, "token_id": token["tokenId"]} if "tokenId" in token else entry


def _token(entry: dict[str, Any]) -> dict[str, Any]:
    token = {"token": entry.get("token", ""), "logProbability": entry.get("logprob", 0.0)}
    return {**token, "tokenId": entry["token_id"]} if "token_id" in entry else token
