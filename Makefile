# Everything a person does with this tree. Needs Python >= 3.11, make and git; `make` alone lists the targets.
#
# One virtual environment, .venv, in two steps: what `foedus` needs to run (.venv/runs), and beside it the tools
# and test libraries (.venv/tested). Both are redone when pyproject.toml or the C code changes.

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
ROOMS := ledger consensus fl genesis node foedus examples
.DEFAULT_GOAL := help
.SUFFIXES:

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/runs ## four hospitals train on real data under attack; options by ARGS="--json --rounds 10 ..."
	@$(BIN)/foedus demo $(ARGS)

.PHONY: test
test: $(VENV)/tested ## run the tests; options for pytest by ARGS="-k merkle"
	@$(BIN)/python -m pytest -q -n 2 --dist loadgroup $(ARGS)

.PHONY: check
check: $(VENV)/tested ## format, lint, types, and who may import whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(VENV)/tested ## write the format and the safe fixes of `check`
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: soak
soak: $(VENV)/fuzzed $(VENV)/judged ## the long tests: simulations and restarts, minutes to hours
	@$(BIN)/python -m pytest -q -m soak $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/fuzzed ## feed every decoder hostile bytes, a minute each; ARGS="--seconds 600 --target frame"
	@$(BIN)/python -m tests.fuzz $(or $(ARGS),--seconds 60)

.PHONY: spec
spec: $(VENV)/tested ## check the specification of consensus, and consensus against it; needs npm; ARGS="--only mistake"
	@command -v npm >/dev/null || { echo "spec: skipped, since there is no npm to install its simulator with"; exit 0; }; \
	  $(MAKE) --no-print-directory $(VENV)/specified && $(BIN)/python -m tests.specification $(ARGS)

SEEDS ?= 300
N ?= 4,7,10
.PHONY: simulate
simulate: $(VENV)/tested ## whole nodes on virtual time under faults; SEEDS=300 N=4,7,10, more options by ARGS="--help"
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) --n $(N) $(ARGS)

.PHONY: clean
clean: ## remove the environment, caches and what a demo left behind
	rm -rf $(VENV) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find $(ROOMS) tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  found=$$($(PYTHON) --version 2>/dev/null) || found=missing; \
	  echo "foedus needs Python 3.11 or newer; '$(PYTHON)' is $$found." >&2; \
	  echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' has no venv module (on Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/runs: pyproject.toml hatch_build.py $(wildcard fl/kernels/*.[ch]) | $(BIN)/python
	@echo "Installing foedus into $(VENV) (once; about half a minute)"
	@$(PIP) install -e .
	@touch $@

$(VENV)/tested: $(VENV)/runs
	@echo "Installing the tools and test libraries (once; about a minute)"
	@$(PIP) install -e ".[dev]"
	@touch $@

$(VENV)/fuzzed: $(VENV)/tested
	@echo "Installing the fuzzer and Ray (once; where there is none for this Python, what needs it is skipped)"
	@$(PIP) install -e ".[fuzz]" || echo "no fuzzer: atheris could not be installed" >&2
	@$(PIP) install -e ".[ray]" || echo "no Ray: the test of a cluster is skipped" >&2
	@touch $@

$(VENV)/judged: $(VENV)/tested
	@echo "Installing other implementations to compare with (once; where there are none, they are not asked)"
	@$(PIP) install -e ".[judges]" || echo "no judges: cel-expr-python or dp-accounting could not be installed" >&2
	@touch $@

$(VENV)/specified: docs/spec/package-lock.json | $(BIN)/python
	@echo "Installing the specification's simulator (once)"
	@mkdir -p $(VENV)/spec && cp docs/spec/package.json docs/spec/package-lock.json $(VENV)/spec
	@npm ci --prefix $(VENV)/spec --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
