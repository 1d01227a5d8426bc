# Everything runs in .venv, which is created from the lock file.
PYTHON ?= python3
CORES ?= all
VENV := .venv
SNAKEMAKE := $(VENV)/bin/snakemake
LOCK := envs/lock.txt
UV_LOCK := envs/uv.txt
# What .venv takes on a disk: 6.2 GB, of which 0.4 GB are bytecode.
GIGABYTES := 6.5
# An environment of another version of Python is kept, unless one is asked for.
ANY_PYTHON := $(if $(filter file,$(origin PYTHON)),--any-python)
COMPILE := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-header

# Modules of clusters set these, which would put packages of another Python before those of .venv.
ifneq ($(PYTHONPATH)$(PYTHONHOME),)
$(info PYTHONPATH and PYTHONHOME are set; they are ignored here.)
endif
unexport PYTHONPATH PYTHONHOME

.DEFAULT_GOAL := help
.PHONY: help environment demo test lint format docs reference bench bench-gpu mutants lock clean-demo

help: ## This list.
	@echo "Audio Neurons. Usage: make TARGET [CORES=n] [PYTHON=python3.12]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

environment: ## Create .venv from the lock file, or repair it.
	@command -v $(PYTHON) > /dev/null || { echo "error: there is no $(PYTHON); set PYTHON=python3.12, say"; exit 1; }
	@$(PYTHON) envs/install.py "$(VENV)" --lock "$(LOCK)" --uv-lock "$(UV_LOCK)" --gigabytes $(GIGABYTES) $(ANY_PYTHON)

demo: environment ## Run the embedded demo (seven minutes on two idle cores); nothing is downloaded but Python packages.
	@$(SNAKEMAKE) --cores $(CORES) --configfile config/demo.yaml --directory demo

test: environment ## Run all tests in three processes.
	@$(VENV)/bin/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: environment ## Check style, types, imports between rooms, and the workflow.
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-cache --no-logo
	@$(VENV)/bin/snakefmt --check Snakefile workflow/rules
	@$(SNAKEMAKE) --lint
	@$(SNAKEMAKE) --lint --configfile config/demo.yaml --directory demo

format: environment ## Format sources.
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/snakefmt Snakefile workflow/rules

docs: environment ## Build the documentation into site/; a warning is an error.
	@$(VENV)/bin/python -m sphinx -b html -q -W --keep-going -E -c docs . site
	@echo "The site is $(CURDIR)/site/index.html"

reference: environment ## Regenerate the schema, config/README.md, docs/{tables,command-line,cost}.md, docs/datasets/, the README's hours.
	@$(VENV)/bin/python -m audio_neurons.reference
	@$(VENV)/bin/python -m benchmarks.cost

bench: environment ## Measure speed, memory and growth against the bare work (45 min on two cores).
	@$(VENV)/bin/python -m benchmarks

# Without .venv: a machine with a GPU often has PyTorch and no network.
bench-gpu: ## Measure a GPU in at most ten minutes with PYTHON's own packages; results and a table go to OUT.
	@$(PYTHON) -m benchmarks.gpu --minutes 9 --out $(or $(OUT),benchmarks/results/gpu)

mutants: environment ## Run mutation tests on the modules that decide the findings (about 2 hours).
	@HYPOTHESIS_PROFILE=mutants OMP_NUM_THREADS=1 $(VENV)/bin/mutmut run $(MUTMUT_ARGS)
	@$(VENV)/bin/mutmut results --all true | awk -F '[.:] *' \
	  'NF > 3 {n[$$2 "." $$3 ": " $$NF]++} END {for (what in n) print what, n[what]}' | sort

lock: environment ## Update the lock files and the conda environments.
	@$(COMPILE) --fork-strategy fewest --all-extras pyproject.toml -o $(LOCK)
	@echo uv | $(COMPILE) --no-annotate - -o $(UV_LOCK)
	@$(VENV)/bin/python envs/conda.py

clean-demo: ## Remove the demo's results.
	@rm -rf demo
