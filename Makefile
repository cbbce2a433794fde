# Two targets to begin with: `make demo` and `make test`. Both create .venv and install what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-slow check docs clean

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev,tensorboard]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/morphospace demo

# one process for each core, one thread in each
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

test-slow: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n auto --dist loadfile

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python docs/make_cli.py --check
	$(BIN)/python docs/make_api.py --check

# writes the pages that are made from the code
docs: $(STAMP)
	$(BIN)/python docs/make_cli.py
	$(BIN)/python docs/make_api.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
