# `make test` on a fresh clone sets everything up in .venv and runs all checks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Versions of torch and its companions that fit each other; only for this development environment, never for users.
TORCH := torch==2.11.0 torchvision==0.26.0 torchaudio==2.11.0

.PHONY: setup test lint check clean

setup: $(VENV)/done

$(VENV)/done: requirements.txt tests/requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip uv setuptools
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(TORCH)
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.txt -r tests/requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	$(BIN)/python tests/prepare_comfyui.py
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

test: setup lint
	$(BIN)/python -m pytest

clean:
	rm -rf $(VENV) artifacts
