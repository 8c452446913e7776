# make demo and make test do all the set-up they need, in $(VENV).
VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
# The lock's versions without its hashes, which pip cannot ask of a folder or of another build of torch.
VERSIONS = sed -nE 's/^([A-Za-z0-9][^ ;]*==[^ ;]+)( ; [^\\]*[^\\ ])? *\\?$$/\1\2/p'

.PHONY: browser demo test test-all setup check style types suite suite-all golden docs bench coverage site lock dist sbom audit

# Teach the bundled subject to the embedded base, draw it, and print where the contact sheet is.
demo: $(VENV)/booth.installed
	$(BIN)/booth demo

# Everything that has to pass: lint, format, types, tests. pyright keeps one core busy for a minute or two, so that it
# runs beside the tests.
test: style
	@$(MAKE) --no-print-directory --jobs=2 types suite

# With every test, of which the suite leaves out what takes long: tests/tiers.py.
test-all: style
	@$(MAKE) --no-print-directory --jobs=2 types suite-all

setup: $(VENV)/booth-dev.installed browser

# The studio's pages are tested in the system's own browser; without one those tests skip, and say so.
browser:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  { apt-get update -qq; apt-get install -y -qq chromium >/dev/null; }; } || \
	  echo "No chromium here: apt-get install chromium to test the studio in a browser."

check: style types

style: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/pyright --pythonpath $(BIN)/python

suite: setup
	$(BIN)/python -m pytest -n auto --dist loadgroup

suite-all: setup
	$(BIN)/python -m pytest -n auto --dist loadgroup -m ""

# Only when a number was meant to change; say why in the commit.
golden: setup
	$(BIN)/python tests/golden_numbers.py

# docs/reference, docs/methods.md with its diagrams, and the README's table of methods, from the code.
docs: setup
	$(BIN)/python scripts/write_reference.py
	$(BIN)/python scripts/write_methods.py
	$(BIN)/booth study $(filter-out experiments/arms.toml, $(wildcard experiments/*.toml)) --report
	$(BIN)/python scripts/write_measured.py

# Where the time of a step goes, and whether a ratio got worse since it was last recorded.
bench: setup
	$(BIN)/python benchmarks/step_share.py --out results/step_share.json
	$(BIN)/python benchmarks/history.py --check

# Which lines the tests run; the pages are in build/coverage.
coverage: setup
	$(BIN)/python -m pytest -n auto --dist loadgroup --cov --cov-report=term:skip-covered --cov-report=html:build/coverage

# The pages under docs/ with the repository's own, in build/site; fails on a link that leads nowhere.
site: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# After a change of dependencies: every version with its hashes, for users and for CI.
lock: setup
	$(BIN)/python scripts/write_lock.py

# What is published: the wheel and the source distribution in dist/, checked.
dist: setup
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/python scripts/check_dist.py dist

# What a user's installation is made of, in CycloneDX.
sbom: setup
	mkdir -p build
	$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --mc-type library \
	  --output-reproducible --output-file build/sbom.cdx.json

# Known vulnerabilities among the locked versions; asks an advisory service, so that it needs a network.
audit: setup
	$(BIN)/pip-audit --require-hashes --disable-pip --requirement requirements.lock

$(VENV)/booth.installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(VERSIONS) requirements.lock > $(VENV)/versions.txt
	$(PIP) --constraint $(VENV)/versions.txt --editable .
	touch $@

$(VENV)/booth-dev.installed: pyproject.toml requirements-dev.lock
	$(PYTHON) -m venv $(VENV)
	$(VERSIONS) requirements-dev.lock > $(VENV)/versions.txt
	$(PIP) --constraint $(VENV)/versions.txt --editable ".[dev]"
	touch $@ $(VENV)/booth.installed
