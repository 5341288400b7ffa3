# Each target starts from a fresh checkout: Python >= 3.11, a C compiler, make and a package index.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := setup.py pyproject.toml $(wildcard nncore_ext/*.pyx nncore_ext/*.pxd nncore_ext/*.h)

.PHONY: demo test test-all lint bench clean

demo: $(VENV)/.built
	$(BIN)/nncore train digits --hidden 64 --activation relu --iterations 3000 --out demo

test: $(VENV)/.test
	$(BIN)/python -m pytest -q

test-all: $(VENV)/.test
	NNCORE_TEST_ALL=1 $(BIN)/python -m pytest -q

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/cython-lint nncore_ext
	$(BIN)/mypy

bench: $(VENV)/.built
	$(BIN)/python -m benchmarks moons mnist

# Installed with build isolation and editable: the Python sources are the ones in src, the core is compiled once.
$(VENV)/.built: $(SOURCES)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -e .
	touch $@

$(VENV)/.test: $(SOURCES)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -e '.[test]'
	touch $(VENV)/.built $@

$(VENV)/.lint: $(VENV)/.built
	$(BIN)/python -m pip install -q 'ruff>=0.6' 'cython-lint>=0.16' 'mypy>=1.11'
	touch $@

clean:
	rm -rf $(VENV) build dist demo src/nncore.egg-info
	find src -name '*.so' -delete
