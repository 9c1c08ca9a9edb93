# `make demo` and `make test` do everything; both make the virtual environment they need.

PYTHON ?= python3
VENV ?= .venv
SERVE ?= 1
PORT ?= 6006

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STATIC := tb_plugin/sparsight_tensorboard/static

.DEFAULT_GOAL := help
.PHONY: help demo test lint types unit frontend format benchmarks clean

help:
	@echo "make demo   train two networks, record, export, analyse, and open TensorBoard (SERVE=0: no TensorBoard)"
	@echo "make test   lint, types, frontend, and all tests"
	@echo "make format mend the formatting    make benchmarks print the performance tables    make clean"

# One environment for both, made anew only when what it is made from changes. An environment made for the
# tests also serves the demo.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e '.[demo,cpu]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml reproduction/pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e '.[dev,cpu]' -e reproduction
	@touch $@ $(VENV)/demo.stamp

demo: $(VENV)/demo.stamp
	$(BIN)/sparsight demo --port $(PORT) $(if $(filter 0,$(SERVE)),--no-serve)

test: lint types frontend unit

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy

unit: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile

# Node is needed by nobody who installs or runs Sparsight: the bundle is committed. Where Node is
# present, it is built again and must not differ.
ifneq ($(shell command -v npm 2>/dev/null),)
frontend/node_modules/.package-lock.json: frontend/package.json frontend/package-lock.json
	cd frontend && npm ci --no-audit --no-fund
	@touch $@

frontend: frontend/node_modules/.package-lock.json
	cd frontend && npm run check && npm run build -- --outDir ../.build/static --emptyOutDir
	@diff -r .build/static $(STATIC) || \
	    { echo "The committed bundle in $(STATIC) is not what the sources build: cd frontend && npm run build"; exit 1; }
else
frontend:
	@echo "no npm here: the frontend is neither checked nor built again"
	@test -z "$$CI" || { echo "CI needs Node 20"; exit 1; }
endif

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

benchmarks: $(VENV)/dev.stamp
	@for script in benchmarks/*.py reproduction/benchmark.py; do echo "== $$script"; $(BIN)/python $$script; done

clean:
	rm -rf $(VENV) frontend/node_modules runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
