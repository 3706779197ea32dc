# The two that matter: `make run` and `make test`. Both set everything up first.
# Needs python3 (3.11 or newer) with venv, and make; nothing else.
# PYTHON=… names one; default: python3, or Debian's where that is much quicker.
PYTHON ?=
VENV   := .venv
BIN    := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export NO_PROXY := 127.0.0.1,localhost,::1
export no_proxy := $(NO_PROXY)

# The page: what it is made of, and where it is put for the relay (and the wheel).
PAGE   := src/tokenwire/gateway/static/index.html
WEB    := $(shell find web/client/src web/playground/src -type f) web/playground/index.html web/playground/vite.config.ts
# Playwright would fetch a browser of its own; the tests use Debian's.
export PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD := 1

.PHONY: help setup run test test-web test-long test-quick check format docs bench fuzz chaos live lock clean page screenshot

help: ## what there is
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready ## the environment in .venv

$(VENV)/.ready: pyproject.toml requirements/run.txt requirements/dev.txt
	@test -x $(BIN)/python || $(or $(PYTHON),$$(./.ci/quickest-python)) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

page: $(PAGE) ## the playground, built if its sources changed

$(PAGE): $(WEB) web/node_modules/.ready
	cd web && npm run --silent build

web/node_modules/.ready: web/package-lock.json web/package.json $(VENV)/.ready
	cd web && npm ci --silent --no-audit --no-fund --ignore-scripts
	@touch $@

run: setup ## the relay with the simulator and the page, on http://127.0.0.1:8787
	@$(MAKE) --no-print-directory page || echo "The page could not be built (above); the relay serves without it." >&2
	$(BIN)/tokenwire serve

test: setup page ## all tests, with coverage; the page's, too
	@./.ci/system-programs nginx caddy chromium curl gcc
	./.ci/node-packages
	./.ci/tests

test-web: setup page ## the page and its client: types, units, and in a real Chromium
	cd web && npm run --silent types && npm run --silent test && npm run --silent e2e

screenshot: setup page ## docs/playground.png anew
	cd web && SCREENSHOT=1 npm run --silent e2e

test-long: setup ## the rest of the matrices of which `make test` plays a sample
	@./.ci/system-programs nginx
	./.ci/tests long

test-quick: setup ## the tests without processes and sockets
	$(BIN)/python -m pytest -q -m "not slow"

check: setup web/node_modules/.ready ## format, lint, strict types, import rules
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py
	cd web && npm run --silent types

format: setup ## format and fix what can be fixed
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: setup ## docs/reference anew, from the docstrings
	$(BIN)/python -m tests.docs.reference

bench: setup ## tokenwire, nginx and the tutorial relay side by side
	@./.ci/system-programs nginx gcc
	$(BIN)/python -m bench

fuzz: setup ## the SSE decoder against its oracle, for a minute
	$(BIN)/python fuzz/sse.py --seconds 60

COUNT ?= 1000000
chaos: setup ## simulated schedules of everything that can go wrong (COUNT=1000000; ARGS="--seed 7" plays one again)
	PYTHONPATH=. $(BIN)/python -m tests.simulation.play --count $(COUNT) $(ARGS)

live: setup ## ask the providers whose keys are in the environment, and record (costs cents; ARGS="--only openai")
	$(BIN)/python -m live $(ARGS)

lock: ## the lock files anew, from pyproject.toml and requirements/dev.in
	$(BIN)/pip-compile -q --generate-hashes --strip-extras --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --allow-unsafe -o requirements/run.txt pyproject.toml
	$(BIN)/pip-compile -q --generate-hashes --strip-extras --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --allow-unsafe -o requirements/dev.txt requirements/dev.in

clean: ## everything that is made
	rm -rf $(VENV) build dist node_modules web/node_modules src/tokenwire/gateway/static .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
