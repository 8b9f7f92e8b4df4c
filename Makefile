# On a fresh clone, `make demo` sets up what the demo needs in .venv and runs it; `make test` sets everything up and runs all checks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Versions of torch and its companions that fit each other; only for this development environment, never for users.
TORCH := torch==2.11.0 torchvision==0.26.0 torchaudio==2.11.0
# Test processes side by side, each with one thread; three on two cores, because they often wait.
WORKERS ?= 3
# Compiled once, at installation: the tests start some hundred processes that import torch.
export UV_COMPILE_BYTECODE := 1
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo setup test long kills lint format workflows subgraphs locales animation clean

demo: $(VENV)/light
	$(BIN)/python -m rational_rewards demo

# What runs the pack without ComfyUI, and nothing for tests.
$(VENV)/light: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip uv setuptools
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(TORCH)
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

setup: $(VENV)/done

$(VENV)/done: $(VENV)/light pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group dev
	$(BIN)/python scripts/prepare_comfyui.py
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: setup lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not long"

# Minutes each: a taste taught on the canvas, a hundred runs without a leak, trainings that are killed and go on.
long: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long

# Longer than a test suite should be: training, and each data phase, killed fifty times.
kills: setup
	RR_TRAINING_KILLS=50 RR_PHASE_KILLS=50 $(BIN)/python -m pytest -k killed \
		tests/training/test_distillation.py tests/parrot/test_phases_killed.py tests/demo/test_generator.py \
		tests/demo/test_reinforcement.py

# What is made in ComfyUI's own page, from its description in scripts/: templates with their pictures, the blueprint, tables of texts,
# the README's moving picture.
workflows subgraphs locales animation: setup
	$(BIN)/python scripts/make_$@.py

clean:
	rm -rf $(VENV) artifacts
