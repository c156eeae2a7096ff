# Everything sets itself up: a virtual environment in .venv, the package in it, and what a target needs besides.
# Another interpreter: make PYTHON=python3.12 ...   More for pytest: make test PYTEST_ARGS="-k channel"

PYTHON ?= python3
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
BENCHMARKS = $(filter-out benchmarks/_%,$(wildcard benchmarks/*.py))

.PHONY: help demo test lint bench smoke clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

help:
	@echo "make demo    run an example flow, no broker needed"
	@echo "make test    linters, types, import direction, benchmarks in smoke form, tests, with other Pythons as well"
	@echo "make lint    only the linters, types and import direction"
	@echo "make bench   the benchmarks in full"
	@echo "make clean   remove .venv, caches and results"

# -- set-up ---------------------------------------------------------------------------------------------------------

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "oocana-async needs Python 3.11 or newer, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | head -1)." >&2; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.demo: pyproject.toml $(VENV)/.made
	$(PIP) install --editable ".[plots]"
	@touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.made
	$(PIP) install --editable ".[all]" --group test --group lint
	@touch $@ $(VENV)/.demo

# -- targets --------------------------------------------------------------------------------------------------------

demo: $(VENV)/.demo
	$(BIN)/oocana-async run examples/penguins/flows/penguins
	@echo
	@echo "The results are in out/penguins:"
	@ls out/penguins

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if command -v node >/dev/null; then $(BIN)/pyright --pythonpath $(BIN)/python; \
	else echo "pyright is skipped: it needs node"; fi

smoke: $(VENV)/.test
	@set -e; for benchmark in $(BENCHMARKS); do echo "== $$benchmark --smoke"; $(BIN)/python $$benchmark --smoke; done

bench: $(VENV)/.test
	@set -e; for benchmark in $(BENCHMARKS); do echo "== $$benchmark"; $(BIN)/python $$benchmark; done

# The tests come last, so that their closing line is the last one.
test: lint
	@tests/install-broker.sh; status=$$?; \
	case $$status in \
	  0) set -- ;; \
	  3) set -- -m "not broker" ;; \
	  *) exit $$status ;; \
	esac; \
	$(MAKE) --no-print-directory smoke || exit 1; \
	if [ -z "$$PYTEST_ARGS" ]; then tests/other-pythons.sh || exit 1; fi; \
	rm -f .coverage .coverage.*; \
	echo "$(BIN)/python -m coverage run -m pytest $$* $(PYTEST_ARGS)"; \
	$(BIN)/python -m coverage run -m pytest "$$@" $(PYTEST_ARGS)

clean:
	rm -rf $(VENV) .venv-3.* .benchmarks-venv out dist build *.egg-info .coverage*
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find oocana_async tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} +
