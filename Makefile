# Everything is installed into .venv inside this checkout, from the hashes in requirements*.lock.
#
#   make demo    restore a database on an embedded stack and verify it (no root, no Docker)
#   make test    lint, types, import contracts, generated files, then every test
#   make lint    the first four of these
#   make sweep   the long kill and fault sweeps      make bench   the measurements
#   make matrix  every fault, bad input and threat: tried, held, and red without its defence
#   make lock    pin the dependencies anew           make clean   remove what these made
#
# PYTHON chooses the interpreter (3.11 or newer); PYTEST_FLAGS replaces how the tests are spread.

PYTHON ?= python3
# Most tests wait for servers, so five workers keep two cores busy (with four, the same tests took three minutes more). The longest
# files come first (tests/fixtures/longest_first.py; `make test PYTEST_FLAGS="… --write-seconds"` measures them anew), not those
# with the most tests, which are quick.
PYTEST_FLAGS ?= -n 5 --dist loadfile --no-loadscope-reorder

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
RUN_STAMP := $(VENV)/run.stamp
DEV_STAMP := $(VENV)/dev.stamp

.PHONY: demo test lint ruff types contracts generated sweep matrix bench lock clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

demo: $(RUN_STAMP)
	$(BIN)/runbook demo

test: lint
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

lint: ruff types contracts generated

ruff: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV_STAMP)
	$(BIN)/mypy runbook tests

contracts: $(DEV_STAMP)
	$(BIN)/lint-imports

generated: $(DEV_STAMP)
	$(BIN)/runbook schema --check

sweep: $(DEV_STAMP)
	$(BIN)/python -m tests.sweep
	$(BIN)/python -m tests.sweep.plans
	$(BIN)/python -m tests.sweep.plans --there
	$(BIN)/python -m tests.sweep.syncs
	$(BIN)/python -m tests.sweep.moments

matrix: $(DEV_STAMP)
	$(BIN)/python -m tests.matrix

bench: $(DEV_STAMP)
	$(BIN)/python -m benchmarks

define make-venv
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
  echo "runbook needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo not there)." >&2; \
  echo "  next: make $(or $(MAKECMDGOALS),demo) PYTHON=python3.11   (or install it: apt-get install python3 python3-venv)" >&2; exit 1; }
@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
  echo "'$(PYTHON)' can't make virtual environments: its venv module is missing." >&2; \
  echo "  next: apt-get install python3-venv" >&2; exit 1; }
@$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
endef

$(RUN_STAMP): pyproject.toml requirements.lock
	$(make-venv)
	$(PIP) install --quiet --require-hashes -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV_STAMP): pyproject.toml requirements-dev.lock
	$(make-venv)
	$(PIP) install --quiet --require-hashes -r requirements-dev.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $(RUN_STAMP) $@

# One resolution for every supported Python; the second file adds the tools to the first one's versions.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-emit-find-links --custom-compile-command "make lock" --extra sandbox
lock:
	@test -x build/lock/bin/uv || { $(PYTHON) -m venv build/lock && build/lock/bin/python -m pip install --quiet uv; }
	build/lock/bin/$(LOCK) $(LOCK_FLAGS) pyproject.toml requirements-build.in -o requirements.lock
	build/lock/bin/$(LOCK) $(LOCK_FLAGS) --extra dev -c requirements.lock pyproject.toml requirements-build.in \
	  -o requirements-dev.lock

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
