# Everything is done in a virtual environment of the project's own; the first Python that is new enough makes it.
VENV   := .venv
BIN    := $(VENV)/bin
DATA   ?= data
HOST   ?= 127.0.0.1
PORT   ?= 8000
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

help:  ## say what there is
	@sed -nE 's/^([a-z]+):.*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

run: $(VENV)/run  ## serve the API with the movies example on http://127.0.0.1:8000 (DATA=, HOST=, PORT= change it)
	@$(BIN)/connectome serve $(DATA) --example data/examples/movies.json --host $(HOST) --port $(PORT)

test: $(VENV)/test  ## run the tests
	$(BIN)/python -m pytest --numprocesses auto --dist loadscope $(ARGS)

lint: $(VENV)/test  ## check style and formatting
	$(BIN)/ruff check --config .ci/ruff.toml
	$(BIN)/ruff format --check --config .ci/ruff.toml

types: $(VENV)/test  ## check types
	$(BIN)/mypy

bench: $(VENV)/bench  ## measure speed beside hand-written Python and the peers, in some 7 minutes (ARGS='--help' tells more)
	@$(BIN)/python -m benchmarks --json build/bench/results.json --svg build/bench $(ARGS)

docs: $(VENV)/test  ## make the tables of docs/query-language.md from the operators
	$(BIN)/python docs/build.py

clean:  ## remove the virtual environment and what the tools leave; data stays
	rm -rf $(VENV) benchmarks/peers/node_modules build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Connectome needs Python 3.11 or newer; set PYTHON=/path/to/one" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "Connectome needs Python 3.11 or newer, and $(PYTHON) is %d.%d" % v[:2])'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "Connectome needs Python's venv module; on Debian: apt install python3-venv" >&2; exit 1; }

$(VENV)/run: $(BIN)/python setup.cfg
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[fast]' || \
		{ echo "Without the extra 'fast', which is not to be had for this machine" >&2; \
		$(BIN)/python -m pip install -q --disable-pip-version-check -e .; }
	@touch $@

$(VENV)/test: $(BIN)/python setup.cfg
	@echo "Installing into $(VENV) ..." && $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[test]' && touch $@

$(VENV)/bench: $(BIN)/python setup.cfg benchmarks/peers/package.json
	@echo "Installing into $(VENV) ..." && $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[bench]'
	@if command -v npm >/dev/null; then npm install --prefix benchmarks/peers --silent --no-audit --no-fund --no-package-lock; \
		else echo "npm is not installed: the peers that run in Node are left out" >&2; fi && touch $@

.PHONY: help run test bench lint types docs clean
