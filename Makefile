# Two commands set everything up: `make demo` and `make test`.
PYTHON ?= python3.11
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test torture lint bench clean

demo: $(VENV)/ready
	$(BIN)/genfarm demo

test: $(VENV)/ready
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# The long tests, then ten seeds on each database: the better part of an hour.
torture: $(VENV)/ready
	$(BIN)/pytest -m torture
	set -e; for store in sqlite postgresql; do for seed in 1 2 3 4 5 6 7 8 9 10; do \
		$(BIN)/genfarm torture --seed $$seed --store $$store --json; done; done

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/ready
	$(BIN)/genfarm bench

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

# torch first and by its exact pin: left to the resolver it brings gigabytes of CUDA packages.
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
