"""Settings: what is taken, and what is refused with which words."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tokenwire.errors import ConfigError
from tokenwire.gateway.settings import (
    DeadlineSettings,
    LimitSettings,
    RetrySettings,
    ServerSettings,
    Settings,
    StoreSettings,
    from_environment,
    from_mapping,
    load,
)
from tokenwire.gateway.settings_check import loopback

WHOLE = """
[server]
host = "127.0.0.1"
port = 9000
[store]
url = "memory://"
[limits]
linger = inf
drain = 0
hold = 0
heartbeat = 5
[upstreams.openai]
base_url = "https://api.openai.com/v1"
api_key = "${KEY}"
headers = { "OpenAI-Organization" = "org-${ORG}" }
models = ["gpt-4o"]
usage = false
[upstreams.openai.deadlines]
connect = 1
[upstreams.openai.retry]
attempts = 3
base_delay = 0
[upstreams.local]
base_url = "http://127.0.0.1:8000/v1"
dialect = "openai.chat"
[models.smart]
route = ["openai/gpt-4o", "local/meta/llama"]
[models."openai/o1".deadlines]
first_token = 600
"""


def test_everything_at_once(tmp_path: Path) -> None:
    path = tmp_path / "tokenwire.toml"
    path.write_text(WHOLE, "utf-8")
    settings = load(path, {"KEY": "sk-1", "ORG": "x"})
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 9000)
    assert settings.limits.linger == float("inf")
    assert (settings.limits.drain, settings.limits.hold, settings.limits.heartbeat) == (0, 0, 5)
    upstream = settings.upstreams["openai"]
    assert (upstream.api_key, upstream.headers, upstream.usage) == ("sk-1", {"OpenAI-Organization": "org-x"}, False)
    assert upstream.deadlines.connect == 1
    assert upstream.deadlines.total == 3600
    assert upstream.retry == RetrySettings(attempts=3, base_delay=0)
    assert settings.models["openai/o1"].deadlines.over(upstream.deadlines) == DeadlineSettings(
        connect=1, first_token=600
    )
    assert settings.models["smart"].deadlines.over(upstream.deadlines) == DeadlineSettings(connect=1)
    assert settings.upstreams["local"].models is None
    assert settings.models["smart"].route == ["openai/gpt-4o", "local/meta/llama"]


def test_nothing_at_all_is_enough() -> None:
    assert from_mapping({}, {}) == Settings()


def test_the_defaults_are_those_of_the_interface() -> None:
    limits = LimitSettings()
    assert (limits.request_body, limits.upstream_event) == (32 << 20, 16 << 20)
    assert (limits.stream_bytes, limits.total_bytes) == (16 << 20, 256 << 20)
    assert (limits.reader_timeout, limits.heartbeat, limits.linger, limits.drain) == (60, 10, 15, 30)
    assert (limits.hold, limits.ended_seconds) == (10, 600)
    assert (limits.unread_cost_usd, limits.unread_tokens) == (1, 100_000)
    deadlines = Settings.__struct_fields__
    assert deadlines == ("server", "store", "limits", "upstreams", "models", "prices")
    upstream = from_mapping({"upstreams": {"a": {"base_url": "http://x"}}}, {}).upstreams["a"]
    assert upstream.deadlines.connect == 5
    assert (upstream.deadlines.headers, upstream.deadlines.first_token) == (60, 120)
    assert (upstream.deadlines.between_tokens, upstream.deadlines.total) == (60, 3600)
    assert upstream.retry == RetrySettings(attempts=2, base_delay=0.5, max_delay=8, max_retry_after=10)


def test_the_limits_reach_the_engine() -> None:
    limits = LimitSettings(heartbeat=1, reader_timeout=2, stream_bytes=3, total_bytes=4, ended_seconds=5, streams=6)
    policy = limits.policy(7.0)
    assert (policy.linger, policy.heartbeat, policy.reader_timeout, policy.max_bytes) == (7, 1, 2, 3)
    unread = from_mapping({"limits": {"unread_cost_usd": 2, "unread_tokens": float("inf")}}, {}).limits.policy(7.0)
    assert (unread.unread_usd, unread.unread_tokens) == (2, float("inf"))
    store = StoreSettings(hard_seconds=7, hot_bytes=8, rest_seconds=9)
    retention = limits.retention(store)
    assert (retention.max_bytes, retention.ended_seconds, retention.max_streams) == (4, 5, 6)
    assert (retention.hard_seconds, retention.hot_bytes, retention.rest_seconds) == (7, 8, 9)


UP = '[upstreams.a]\nbase_url = "http://127.0.0.1/v1"\n'


@pytest.mark.parametrize(
    ("toml", "where", "words"),
    [
        # unknown keys, with the nearest known one
        ("[sever]", "sever", "did you mean 'server'?"),
        ("[server]\nprot = 1", "server.prot", "did you mean 'port'?"),
        ("[server]\ndefault_model = 'x'", "server.default_model", "neither one of [models] nor UPSTREAM/MODEL"),
        (UP + "[server]\ndefault_model = 'b/x'", "server.default_model", "'b/x'"),
        (UP + "[server]\ndefault_model = 'a/'", "server.default_model", "'a/'"),
        ("[server]\nxyz = 1", "server.xyz", "known here: host, port"),
        ("[upstreams.a]\nbase_ulr = 'x'", "upstreams.a.base_ulr", "did you mean 'base_url'?"),
        (UP + "deadlines = { conect = 1 }", "upstreams.a.deadlines.conect", "did you mean 'connect'?"),
        ("[models.m]\nroutes = []", "models.m.routes", "did you mean 'route'?"),
        ("[limits]\nheart_beat = 1", "limits.heart_beat", "did you mean 'heartbeat'?"),
        ("[keys.a]\nsha256 = 'x'", "keys", "known here"),
        # types
        ("[server]\nport = 'x'", "server.port", "Expected int, got str"),
        ("[upstreams]\na = 1", "upstreams.a", "Expected object, got int"),
        ("upstreams = 1", "upstreams", "Expected object, got int"),
        ("[upstreams.a]\napi_key = 'x'", "upstreams.a", "missing required field base_url"),
        ("[upstreams.a]\nbase_url = 1", "upstreams.a.base_url", "Expected str, got int"),
        (UP + "models = ['x', 1]", "upstreams.a.models[1]", "Expected str, got int"),
        (UP + "headers = { a = 1 }", "upstreams.a.headers[...]", "Expected str, got int"),
        ("[models.m]\nroute = 'a/b'", "models.m.route", "Expected array, got str"),
        # values
        ("[server]\nport = 70000", "server.port", "70000 is no port"),
        ("[server]\nport = -1", "server.port", "-1 is no port"),
        ("[server]\nhost = '0.0.0.0'", "server.host", "can be reached by others"),
        ("[server]\nhost = '::'", "server.host", "can be reached by others"),
        ("[server]\nhost = ''", "server.host", "can be reached by others"),
        ("[server]\nhost = '192.168.0.7'", "server.host", "no keys"),
        ("[store]\nurl = 'mongo://x'", "store.url", "no store"),
        ("[limits]\nheartbeat = 0", "limits.heartbeat", "above 0"),
        ("[limits]\nheartbeat = -1", "limits.heartbeat", "above 0"),
        ("[limits]\nheartbeat = nan", "limits.heartbeat", "above 0"),
        ("[limits]\nheartbeat = inf", "limits.heartbeat", "finite"),
        ("[limits]\nlinger = -1", "limits.linger", "0 or more"),
        ("[limits]\nlinger = nan", "limits.linger", "0 or more"),
        ("[limits]\nunread_cost_usd = 0", "limits.unread_cost_usd", "above 0"),
        ("[limits]\nunread_tokens = nan", "limits.unread_tokens", "above 0"),
        ("[limits]\nstreams = 0", "limits.streams", "above 0"),
        (UP + "deadlines = { total = 0 }", "upstreams.a.deadlines.total", "above 0"),
        (UP + "deadlines = { total = inf }", "upstreams.a.deadlines.total", "finite"),
        (UP + "retry = { atempts = 1 }", "upstreams.a.retry.atempts", "did you mean 'attempts'?"),
        (UP + "retry = { attempts = 1.5 }", "upstreams.a.retry.attempts", "Expected int"),
        (UP + "retry = { attempts = 0 }", "upstreams.a.retry.attempts", "above 0"),
        (UP + "retry = { base_delay = -1 }", "upstreams.a.retry.base_delay", "0 or more"),
        (UP + "retry = { max_retry_after = inf }", "upstreams.a.retry.max_retry_after", "finite"),
        (UP + "[models.'a/x'.deadlines]\nfirst = 1", "models.a/x.deadlines.first", "did you mean 'first_token'?"),
        (UP + "[models.'a/x'.deadlines]\nfirst_token = 0", "models.a/x.deadlines.first_token", "above 0"),
        (UP + "[models.'a/x'.deadlines]\ntotal = 'x'", "models.a/x.deadlines.total", "Expected float | null"),
        (UP + "[models.m.deadlines]\ntotal = 1", "models.m.route", "at least one UPSTREAM/MODEL"),
        (UP + "[models.'b/x'.deadlines]\ntotal = 1", "models.b/x.route", "'b/x' is no UPSTREAM/MODEL"),
        ("[upstreams.'a/b']\nbase_url = 'http://x'", "upstreams.a/b", "letters, digits"),
        ("[upstreams.a]\nbase_url = 'ftp://x'", "upstreams.a.base_url", "must begin with http://"),
        ("[upstreams.a]\nbase_url = 'http://'", "upstreams.a.base_url", "names no host"),
        ("[upstreams.a]\nbase_url = 'http://u:p@x'", "upstreams.a.base_url", "use api_key"),
        (UP + "dialect = 'smoke'", "upstreams.a.dialect", "no dialect 'smoke'; there are"),
        (UP + "dialect = 'native'", "upstreams.a.dialect", "no provider speaks it"),
        (UP + "dialect = ['openai.chat', 'smoke']", "upstreams.a.dialect", "no dialect 'smoke'; there are"),
        (UP + "dialect = []", "upstreams.a.dialect", "at least one"),
        (UP + "dialect = ['anthropic', 'anthropic']", "upstreams.a.dialect", "once"),
        (UP + "dialect = 7", "upstreams.a.dialect", "Expected str | array"),
        (UP + "api_key = ''", "upstreams.a.api_key", "printable ASCII"),
        (UP + 'api_key = "sk-1\\n"', "upstreams.a.api_key", "line ends"),
        (UP + "api_key = 'sk-é'", "upstreams.a.api_key", "printable ASCII"),
        (UP + "headers = { 'a b' = 'x' }", "upstreams.a.headers", "'a b' is no header name"),
        (UP + 'headers = { a = "x\\r\\nb: c" }', "upstreams.a.headers.a", "no header may hold"),
        (UP + "headers = { a = '☃' }", "upstreams.a.headers.a", "no header may hold"),
        (UP + "[models.m]\nroute = []", "models.m.route", "at least one UPSTREAM/MODEL"),
        (UP + "[models.m]\nroute = ['b/x']", "models.m.route", "'b/x' is no UPSTREAM/MODEL"),
        (UP + "[models.m]\nroute = ['a']", "models.m.route", "(there are: a)"),
        (UP + "[models.m]\nroute = ['a/']", "models.m.route", "(there are: a)"),
        ("[models.m]\nroute = ['a/x']", "models.m.route", "(there are: none)"),
        # the environment
        (UP + "api_key = '${NOT_THERE}'", "upstreams.a.api_key", "the environment has no NOT_THERE"),
        (UP + "models = ['${NOT_THERE}']", "upstreams.a.models", "the environment has no NOT_THERE"),
    ],
)
def test_what_cannot_work_is_refused_by_name(toml: str, where: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping(tomllib.loads(toml), {})
    assert caught.value.where == where
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{where}: ")
    assert "\n" not in str(caught.value)
    assert "`" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"[server", "is not TOML"),
        (b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "tokenwire.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as caught:
        load(path, {})
    assert str(path) in str(caught.value)


def test_the_whole_of_a_settings_table_must_be_one() -> None:
    with pytest.raises(ConfigError, match="Expected object, got int") as caught:
        from_mapping({"server": 1}, {})
    assert caught.value.where == "server"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("${A}", "1"), ("x${A}y${B}", "x1y2"), ("$A", "$A"), ("${1A}", "${1A}"), ("${A", "${A"), ("${C}", "${A}")],
)
def test_the_environment_is_put_in_once(text: str, expected: str) -> None:
    raw = {"upstreams": {"a": {"base_url": "http://x", "headers": {"h": text}}}}
    settings = from_mapping(raw, {"A": "1", "B": "2", "C": "${A}"})
    assert settings.upstreams["a"].headers["h"] == expected


# ---------------------------------------------------------------------- without a file


def test_an_empty_environment_has_the_simulator() -> None:
    settings = from_environment({}, "http://127.0.0.1:1/v1")
    assert {name: upstream.base_url for name, upstream in settings.upstreams.items()} == {
        "sim": "http://127.0.0.1:1/v1"
    }
    assert settings.server == ServerSettings(default_model="sim/gpt-4o"), "who names no model spends nothing"
    assert from_environment({"OPENAI_API_KEY": "sk-1"}, None).server.default_model is None
    assert from_environment({}, None).upstreams == {}


@pytest.mark.parametrize(
    ("environ", "name", "url", "key"),
    [
        ({"OPENAI_API_KEY": "k"}, "openai", "https://api.openai.com/v1", "k"),
        ({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://h/v1"}, "openai", "http://h/v1", "k"),
        ({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": ""}, "openai", "https://api.openai.com/v1", "k"),
        ({"ANTHROPIC_API_KEY": "k"}, "anthropic", "https://api.anthropic.com", "k"),
        ({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "http://h"}, "anthropic", "http://h", "k"),
        ({"GEMINI_API_KEY": "k"}, "gemini", "https://generativelanguage.googleapis.com", "k"),
        ({"GROQ_API_KEY": "k"}, "groq", "https://api.groq.com/openai/v1", "k"),
        ({"OPENROUTER_API_KEY": "k"}, "openrouter", "https://openrouter.ai/api/v1", "k"),
        ({"DEEPSEEK_API_KEY": "k"}, "deepseek", "https://api.deepseek.com/v1", "k"),
        ({"MISTRAL_API_KEY": "k"}, "mistral", "https://api.mistral.ai/v1", "k"),
        ({"XAI_API_KEY": "k"}, "xai", "https://api.x.ai/v1", "k"),
        ({"OLLAMA_HOST": "127.0.0.1:11434"}, "ollama", "http://127.0.0.1:11434/v1", None),
        ({"OLLAMA_HOST": "127.0.0.1"}, "ollama", "http://127.0.0.1:11434/v1", None),
        ({"OLLAMA_HOST": "box:80/"}, "ollama", "http://box:80/v1", None),
        ({"OLLAMA_HOST": ":5000"}, "ollama", "http://127.0.0.1:5000/v1", None),
        ({"OLLAMA_HOST": "[::1]"}, "ollama", "http://[::1]:11434/v1", None),
        ({"OLLAMA_HOST": "[::1]:5000"}, "ollama", "http://[::1]:5000/v1", None),
        ({"OLLAMA_HOST": "https://ollama.example/"}, "ollama", "https://ollama.example/v1", None),
    ],
)
def test_the_usual_variables(environ: dict[str, str], name: str, url: str, key: str | None) -> None:
    upstreams = from_environment(environ, None).upstreams
    assert list(upstreams) == [name]
    assert (upstreams[name].base_url, upstreams[name].api_key) == (url, key)
    spoken = {
        "openai": ("openai.chat", "openai.responses"),
        "anthropic": ("anthropic",),
        "gemini": ("gemini",),
        "ollama": ("openai.chat", "ollama"),
    }
    assert upstreams[name].dialects == spoken.get(name, ("openai.chat",))


def test_what_an_upstream_speaks() -> None:
    up = {"base_url": "http://x"}
    given = {"a": up, "b": {**up, "dialect": "anthropic"}, "c": {**up, "dialect": ["anthropic", "openai.chat"]}}
    upstreams = from_mapping({"upstreams": given}, {}).upstreams
    assert [each.dialects for each in upstreams.values()] == [
        ("openai.chat",), ("anthropic",), ("anthropic", "openai.chat")
    ]  # fmt: skip
    everything = ("openai.chat", "anthropic", "openai.responses", "gemini", "ollama")
    assert from_environment({}, "http://127.0.0.1:1/v1").upstreams["sim"].dialects == everything


@pytest.mark.parametrize("environ", [{"OPENAI_API_KEY": ""}, {"OLLAMA_HOST": ""}, {"OPENAI_BASE_URL": "http://h"}])
def test_an_empty_variable_is_none(environ: dict[str, str]) -> None:
    assert from_environment(environ, None).upstreams == {}


def test_a_bad_variable_is_refused_as_well() -> None:
    with pytest.raises(ConfigError, match=r"upstreams\.openai\.base_url"):
        from_environment({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "nonsense"}, None)


# ---------------------------------------------------------------------- loopback


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.255.0.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("LocalHost", True),
        ("a.localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.org", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_what_only_this_machine_can_reach(host: Any, expected: bool) -> None:
    assert loopback(host) is expected
