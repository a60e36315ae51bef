# `make repro` and `make test` do all set-up themselves; it costs nothing the second time.
PYTHON ?= python3
VENV := .venv
JOBS ?= 2
export PATH := $(abspath $(VENV))/bin:$(PATH)
export DVC_NO_ANALYTICS := 1

.PHONY: help setup repro test check bench slow clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(VENV)/done: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; name another one, e.g. make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

setup: $(VENV)/done ## create .venv with the pinned packages

repro: setup ## images -> reports/index.html for the embedded digits
	@began=$$(date +%s); ddpipe check && ddpipe run --jobs $(JOBS) report@digits && ddpipe run --single-item page && \
	  echo "done in $$(($$(date +%s) - began)) s; open $(CURDIR)/reports/index.html"

test: setup ## the default tests
	python -m pytest

slow: setup ## the long tests as well
	python -m pytest -m "not gpu and not bench and not device"

check: setup ## style, types, every row of the grid
	ruff format --check .
	ruff check .
	mypy
	ddpipe check

bench: setup ## time and memory against straight-line references
	python -m pytest -m bench -s tests/bench

clean: ## remove the environment, never data
	rm -rf $(VENV)
