# `make repro` runs the default experiment, `make test` the tests. Both set everything up first.
PYTHON ?= python3
VENV   ?= .venv
# Quoted wherever it is used: the path may hold spaces (which $(abspath) would split).
BIN    := $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))/bin

.PHONY: repro test test-slow lint docs lock ui clean

repro: $(VENV)/installed
	git rev-parse --git-dir > /dev/null 2>&1 || "$(BIN)/dvc" config --local core.no_scm true
	PATH="$(BIN):$$PATH" dvc repro

test: lint
	OMP_NUM_THREADS=1 "$(BIN)/python" -m pytest -m "not slow" -n auto --maxprocesses 8 --dist loadfile $(COVERAGE)
	"$(BIN)/python" -m pytest --doctest-modules src/saliencymixplus/mixing

test-slow: $(VENV)/installed
	OMP_NUM_THREADS=1 "$(BIN)/python" -m pytest -m slow -n auto --maxprocesses 4 --dist loadfile

lint: $(VENV)/installed
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"
	"$(BIN)/lint-imports" --no-logo

# The documentation as a site that needs no server and no network: open site/index.html.
docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 "$(BIN)/mkdocs" build --strict  # with --quiet it would count no warning

ui: $(VENV)/installed
	"$(BIN)/mlflow" ui --backend-store-uri "sqlite:///$(CURDIR)/mlflow.db" --host 127.0.0.1

# The newest versions that pyproject.toml allows, for every Python and platform.
lock: $(VENV)/installed
	"$(BIN)/uv" pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade \
		--no-annotate --quiet --custom-compile-command "make lock" --output-file requirements.lock

clean:
	rm -rf "$(VENV)"

# uv finds the build of torch that fits this machine: without an NVIDIA driver the CPU's, which
# spares gigabytes of CUDA libraries. Where it cannot reach the index of those builds, pip installs
# the default one.
$(VENV)/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv "$(VENV)"
	"$(BIN)/python" -m pip install --quiet uv
	"$(BIN)/uv" pip install --quiet --python "$(BIN)/python" --torch-backend auto \
		--constraints requirements.lock --editable '.[dev]' 2>/dev/null \
	|| "$(BIN)/python" -m pip install --quiet --constraint requirements.lock --editable '.[dev]'
	touch $@
