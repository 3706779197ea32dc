"""Ask the real providers, by hand: what they send now is recorded, and what differs from our reference is said.

    make live                                   with keys in the environment, as `tokenwire serve` reads them
    make live ARGS="--config tokenwire.toml --only openai --model openai=gpt-4o"

Each provider is asked for a text, a tool call, and a long text that is cancelled after a few tokens: a few cents at
most. Recordings have the form of ``tests/fixtures`` and hold no secrets; ``recordings/`` is no part of the repository.
"""
