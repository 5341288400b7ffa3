# Each target starts from a fresh checkout: Python >= 3.11, a C compiler, make and a package index.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := setup.py pyproject.toml $(shell find nncore_ext -name '*.p[yx]?' -o -name '*.h')
# The packages of an extra of pyproject.toml, without nncore itself, which is there and would be compiled again.
EXTRA = $(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["$(1)"], sep="\n")' \
    | $(BIN)/python -m pip install -q -r /dev/stdin

.PHONY: demo test test-all test-dist test-sanitized lint bench bench-peers clean

demo: $(VENV)/.built
	$(BIN)/nncore train digits --hidden 64 --activation relu --iterations 3000 --out demo

test: $(VENV)/.test
	$(BIN)/python -m pytest -q

# With PyTorch, ONNX and the other peers installed, at each level this CPU has: nothing is skipped for want of a package.
test-all:
	NNCORE_LEVELS=all $(MAKE) $(VENV)/.all
	$(MAKE) $(VENV)/.test $(VENV)/.bench
	for level in $$($(BIN)/python -c 'from nncore.core.dispatch import USABLE; print(*USABLE)'); do \
	    NNCORE_LEVEL=$$level NNCORE_TEST_ALL=1 $(BIN)/python -m pytest -q || exit 1; \
	done

# Users have no source tree: build sdist and, from it, a wheel; test what is installed.
test-dist:
	rm -rf build/dist && mkdir -p build/dist
	$(PYTHON) -m venv build/dist/build-env
	build/dist/build-env/bin/python -m pip install -q build
	build/dist/build-env/bin/python -m build --outdir build/dist .
	for kind in whl tar.gz; do \
	    rm -rf build/dist/env build/dist/run && $(PYTHON) -m venv build/dist/env && mkdir build/dist/run \
	    && build/dist/env/bin/python -m pip install -q "$$(ls build/dist/*.$$kind)[test]" \
	    && cp -r README.md CONTRIBUTING.md docs pyproject.toml nncore_ext tests examples benchmarks build/dist/run \
	    && (cd build/dist/run && ../env/bin/python -m pytest -q) || exit 1; \
	done

# The whole suite under AddressSanitizer and UndefinedBehaviorSanitizer, with bounds checks; Python itself leaks. Little of
# what was freed is held back, as one test measures memory.
test-sanitized:
	rm -rf build/sanitized && mkdir -p build/sanitized
	git ls-files | tar -cf - -T - | tar -xf - -C build/sanitized
	$(PYTHON) -m venv build/sanitized/env
	cd build/sanitized && NNCORE_DEBUG=1 NNCORE_SANITIZE=1 env/bin/python -m pip install -q -e '.[test]' \
	&& LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
	   ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=16 env/bin/python -m pytest -q

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(abspath $(BIN)):$$PATH" cython-lint nncore_ext  # it calls pycodestyle
	$(BIN)/mypy

bench: $(VENV)/.built
	$(BIN)/python -m benchmarks

# With the peers installed first; the page, the pictures and the figures go to docs/benchmarks.
bench-peers: $(VENV)/.bench
	$(BIN)/python -m benchmarks --write docs/benchmarks
	$(BIN)/python -m benchmarks.scaling --write docs/benchmarks

# Installed with build isolation and editable: the Python sources are the ones in src, the core is compiled once.
define INSTALL
	$(PYTHON) -m venv $(VENV)
	@echo "Installing nncore into $(VENV) and compiling its core: a minute or two on two cores ..."
	$(BIN)/python -m pip install -q -e .
	touch $(VENV)/.built
endef

$(VENV)/.built: $(SOURCES)
	$(INSTALL)

# Every level, not only the best of this machine.
$(VENV)/.all: $(SOURCES)
	$(INSTALL)
	touch $@

$(VENV)/.test: $(VENV)/.built
	$(call EXTRA,test)
	touch $@

$(VENV)/.bench: $(VENV)/.built
	$(call EXTRA,bench)
	touch $@

$(VENV)/.lint: $(VENV)/.built
	$(BIN)/python -m pip install -q 'ruff~=0.17.5' 'cython-lint~=0.22.0' 'mypy~=2.4.1'
	touch $@

clean:
	rm -rf $(VENV) build dist demo src/nncore.egg-info
	find src -name '*.so' -delete
