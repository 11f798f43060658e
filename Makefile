# `make repro` runs the digits experiment, `make test` the tests. Both set everything up first.
PYTHON ?= python3
VENV   ?= .venv
# Quoted wherever it is used: the path may hold spaces (which $(abspath) would split).
BIN    := $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))/bin

.PHONY: repro test test-slow lint ui clean

repro: $(VENV)/installed
	git rev-parse --git-dir > /dev/null 2>&1 || "$(BIN)/dvc" config --local core.no_scm true
	PATH="$(BIN):$$PATH" dvc repro

test: lint
	"$(BIN)/python" -m pytest -m "not slow"
	"$(BIN)/python" -m pytest --doctest-modules src/saliencymixplus/mixing

test-slow: $(VENV)/installed
	"$(BIN)/python" -m pytest -m slow

lint: $(VENV)/installed
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"

ui: $(VENV)/installed
	"$(BIN)/mlflow" ui --backend-store-uri "sqlite:///$(CURDIR)/mlflow.db" --host 127.0.0.1

clean:
	rm -rf "$(VENV)"

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv "$(VENV)"
	"$(BIN)/python" -m pip install --quiet --editable '.[dev]'
	touch $@
