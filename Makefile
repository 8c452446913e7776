# make demo and make test do all the set-up they need, in $(VENV).
VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test setup check golden docs bench

# Teach the bundled subject to the embedded base, draw it, and print where the contact sheet is.
demo: $(VENV)/booth.installed
	$(BIN)/booth demo

# Everything that has to pass: lint, format, types, tests.
test: check
	$(BIN)/python -m pytest -n auto

setup: $(VENV)/booth-dev.installed

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# Only when a number was meant to change; say why in the commit.
golden: setup
	$(BIN)/python tests/golden_numbers.py

# docs/reference, docs/methods.md with its diagrams, and the README's table of methods, from the code.
docs: setup
	$(BIN)/python scripts/write_reference.py
	$(BIN)/python scripts/write_methods.py
	$(BIN)/booth study $(filter-out experiments/arms.toml, $(wildcard experiments/*.toml)) --report
	$(BIN)/python scripts/write_measured.py

bench: setup
	$(BIN)/python benchmarks/step_share.py --out results/step_share.json

$(VENV)/booth.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/booth-dev.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable ".[dev]"
	touch $@ $(VENV)/booth.installed
