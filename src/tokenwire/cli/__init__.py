"""The command line: a caller like any other. Parses, calls, prints; nothing is decided here."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tokenwire import __version__
from tokenwire.errors import ConfigError, StoreFailed

app = typer.Typer(
    name="tokenwire",
    help="The streaming backbone for LLM applications.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Config = Annotated[Path | None, typer.Option("--config", help="A tokenwire.toml; without it, the environment.")]


@app.command()
def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes; more than one needs a redis:// store.")] = 1,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page, if there is a display.")] = False,
) -> None:
    """Run the relay. Without --config: loopback only, upstreams from the environment, and the simulator as sim/…"""
    from tokenwire.cli.serving import run_serve

    run_serve(os.environ, config=config, host=host, port=port, workers=workers, open_browser=open_browser)


@app.command()
def chat(
    model: Annotated[str | None, typer.Argument(help="Whom to ask; without it, the first that is listed.")] = None,
    prompt: Annotated[str | None, typer.Option("-p", "--prompt", help="Ask this, print the answer, leave.")] = None,
    resume: Annotated[str | None, typer.Option(metavar="ST", help="Go on with a stream by its id (st_…).")] = None,
    url: Annotated[
        str | None, typer.Option(help="The relay, or TOKENWIRE_URL; else port 8787, or one of our own.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Its key; or TOKENWIRE_KEY.")] = None,
    thinking: Annotated[bool, typer.Option(help="Show what the model thinks, dimmed.")] = True,
    think: Annotated[bool, typer.Option("--think", help="Ask for thinking: many models think only then.")] = False,
) -> None:
    """Talk to a model: text as it comes, time to first token, tokens/s and cost. Ctrl-C stops the answer."""
    from tokenwire.cli.chatting import Wishes, run_chat

    wishes = Wishes(model=model, prompt=prompt, resume=resume, url=url, key=key, thinking=thinking, think=think)
    raise typer.Exit(run_chat(os.environ, wishes))


@app.command()
def simulate(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8789,
    tls_cert: Annotated[Path | None, typer.Option(help="Serve HTTPS with this certificate chain (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    tls_fault: Annotated[str | None, typer.Option(help="Let every handshake fail: see --faults.")] = None,
    faults: Annotated[
        bool, typer.Option("--faults", help="List routes, models, switches and faults, and end.")
    ] = False,
) -> None:
    """Run the simulator alone: providers' look-alikes with latency profiles and faults; GET / lists them."""
    from tokenwire.cli.simulating import run_simulate, show_faults

    if faults:
        show_faults()
        return
    run_simulate(host, port, cert=tls_cert, key=tls_key, fault=tls_fault)


@app.command()
def check(config: Config = None) -> None:
    """Read the settings as serve would, ask every upstream for its models, and say what is wrong."""
    from tokenwire.cli.checking import run_check

    raise typer.Exit(run_check(os.environ, config))


@app.command()
def version() -> None:
    """Print the version."""
    print(f"tokenwire {__version__}")


def main() -> None:
    """Entry point: what was wrong with the settings is one line on stderr and exit status 2; with the store, which may
    be well again in a moment, 1."""
    try:
        app()
    except (ConfigError, StoreFailed) as error:
        print(f"tokenwire: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
