# The two that matter: `make run` and `make test`. Both set everything up first.
# Needs python3 (3.11 or newer) with venv, and make; nothing else.
# PYTHON=… names one; default: python3, or Debian's where that is much quicker.
PYTHON ?=
VENV   := .venv
BIN    := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export NO_PROXY := 127.0.0.1,localhost,::1
export no_proxy := $(NO_PROXY)

.PHONY: help setup run test test-quick check format bench fuzz live lock clean

help: ## what there is
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready ## the environment in .venv

$(VENV)/.ready: pyproject.toml requirements/run.txt requirements/dev.txt
	@test -x $(BIN)/python || $(or $(PYTHON),$$(./.ci/quickest-python)) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: setup ## the relay with the simulator, on http://127.0.0.1:8787
	$(BIN)/tokenwire serve

test: setup ## all tests, with coverage
	@./.ci/system-programs nginx caddy
	./.ci/node-packages
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

test-quick: setup ## the tests without processes and sockets
	$(BIN)/python -m pytest -q -m "not slow"

check: setup ## format, lint, strict types, import rules
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

format: setup ## format and fix what can be fixed
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: setup ## tokenwire, nginx and the tutorial relay side by side
	@./.ci/system-programs nginx gcc
	$(BIN)/python -m bench

fuzz: setup ## the SSE decoder against its oracle, for a minute
	$(BIN)/python fuzz/sse.py --seconds 60

live: setup ## ask the providers whose keys are in the environment, and record (costs cents; ARGS="--only openai")
	$(BIN)/python -m live $(ARGS)

lock: ## the lock files anew, from pyproject.toml and requirements/dev.in
	$(BIN)/pip-compile -q --generate-hashes --strip-extras --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --allow-unsafe -o requirements/run.txt pyproject.toml
	$(BIN)/pip-compile -q --generate-hashes --strip-extras --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --allow-unsafe -o requirements/dev.txt requirements/dev.in

clean: ## everything that is made
	rm -rf $(VENV) build dist node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
