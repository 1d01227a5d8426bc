# Everything runs in .venv, made from the lock file; nothing else of the machine is touched.
PYTHON ?= python3
CORES ?= all
VENV := .venv
READY := $(VENV)/.ready
SNAKEMAKE := $(VENV)/bin/snakemake
LOCK := envs/lock.txt

.DEFAULT_GOAL := help
.PHONY: help environment demo test lint format docs reference bench mutants lock clean-demo

help: ## This list.
	@echo "Audio Neurons. Usage: make TARGET [CORES=n] [PYTHON=python3.12]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' \
	  || { echo "error: Python 3.11 to 3.14 is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1); set PYTHON=..."; exit 1; }
	@echo "Creating $(VENV) (about 5 GB, a few minutes, in which pip says nothing) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	@touch $@

environment: $(READY) ## Create .venv from the hashed lock file.

demo: $(READY) ## Run the embedded demo (some minutes); nothing is downloaded but Python packages.
	@$(SNAKEMAKE) --cores $(CORES) --configfile config/demo.yaml --directory demo

test: $(READY) ## Run all tests, in two processes.
	@$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: $(READY) ## Check style, types, who imports whom, the workflow, and that configurations and schema agree.
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-cache --no-logo
	@$(VENV)/bin/snakefmt --check Snakefile workflow/rules
	@$(SNAKEMAKE) --lint
	@$(SNAKEMAKE) --lint --configfile config/demo.yaml --directory demo

format: $(READY) ## Rewrite sources in the project's style.
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/snakefmt Snakefile workflow/rules

docs: $(READY) ## Build the site of docs/ into site/; a warning, such as a broken link, is an error.
	@$(VENV)/bin/python -m sphinx -b html -q -W --keep-going -E -c docs . site
	@echo "The site is $(CURDIR)/site/index.html"

reference: $(READY) ## Write anew what is generated: config/README.md, docs/{tables,command-line,cost}.md, docs/datasets/.
	@$(VENV)/bin/python -m audio_neurons.reference
	@$(VENV)/bin/python -m benchmarks.cost

bench: $(READY) ## Measure speed, memory and growth against the bare work (45 min on two cores).
	@$(VENV)/bin/python -m benchmarks

mutants: $(READY) ## Ask of every line that decides what is found whether a test would notice a fault in it.
	@HYPOTHESIS_PROFILE=mutants OMP_NUM_THREADS=1 $(VENV)/bin/mutmut run $(MUTMUT_ARGS)
	@$(VENV)/bin/mutmut results --all true | awk -F '[.:] *' \
	  'NF > 3 {n[$$2 ": " $$NF]++} END {for (what in n) print what, n[what]}' | sort

lock: ## Write the lock file anew (needs uv).
	@uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --all-extras pyproject.toml -o $(LOCK)

clean-demo: ## Remove the demo's results.
	@rm -rf demo
