# One command each. `make run` and `make test` set everything up first; a second call installs nothing.
.PHONY: run test test-slow setup format lint bench lock clean

PYTHON := $(shell for p in python3.12 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.12*/bin/python python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null && { echo "$$p"; break; }; done)
BIN := .venv/bin
UV := $(BIN)/python -m uv
WORKERS ?= 2
# This processor's instructions, but AMX: virtual machines announce it and then refuse it.
NATIVE := $(shell for f in "-march=native -mno-amx-tile -mno-amx-int8 -mno-amx-bf16" "-march=native"; do \
	echo | $${CC:-cc} $$f -E - >/dev/null 2>&1 && { echo "$$f"; break; }; done)

run: setup
	@$(BIN)/glide quickstart --out runs/quickstart $(ARGS)

test: setup .venv/dev.stamp
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-slow: setup .venv/dev.stamp
	@$(BIN)/python -m pytest -m slow $(ARGS)

setup: .venv/base.stamp .venv/glide.stamp

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.12 on this machine: install it, or 'pyenv install 3.12'" >&2; exit 2; }
	@echo "making .venv with $(PYTHON)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt

# llama-cpp-python compiles llama.cpp here, about 5 minutes on 2 cores; uv keeps the built wheel for the next venv.
.venv/base.stamp: requirements/base.txt | .venv/bin/python
	@echo "installing the pinned requirements (6 GB, once)"
	@CMAKE_ARGS="-DLLAVA_BUILD=OFF -DGGML_NATIVE=OFF -DCMAKE_C_FLAGS='$(NATIVE)' -DCMAKE_CXX_FLAGS='$(NATIVE)'" $(UV) pip install --no-deps --require-hashes -r requirements/base.txt
	@touch $@

# Compiles glide_nemo/cpu/kernels.cpp for this machine too, 40 seconds.
.venv/glide.stamp: pyproject.toml setup.py glide_nemo/cpu/kernels.cpp .venv/base.stamp
	@$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev.stamp: requirements/dev.txt .venv/base.stamp
	@$(UV) pip install --quiet --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

format: setup .venv/dev.stamp
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

lint: setup .venv/dev.stamp
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

bench: setup
	@for b in $(filter-out %/floors.py,$(wildcard benchmarks/*.py)); do $(BIN)/python $$b --json || exit 1; done

lock: .venv/bin/python
	@$(UV) pip compile requirements/base.in --override requirements/overrides.txt --python $(BIN)/python \
		--generate-hashes --no-emit-index-url --no-annotate --no-header -q -o requirements/base.txt
	@$(UV) pip compile requirements/dev.in --python $(BIN)/python \
		--generate-hashes --no-emit-index-url --no-annotate --no-header -q -o requirements/dev.txt

clean:
	@rm -rf .venv runs .cache
