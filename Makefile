# `make run` and `make test` do all their own set-up; a stamp in .venv tells what is installed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run dashboard screenshots test chaos bench lint services lock clean

help: ## List what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.run ## Rehearse 1,000 messages; needs Python >= 3.11 and nothing else
	$(BIN)/sms-pipeline run

dashboard: $(VENV)/.dashboard ## Open the web page of all runs on http://127.0.0.1:8080
	$(BIN)/sms-pipeline dashboard $(ARGS)

test: $(VENV)/.dev ## Run the tests; those that need RabbitMQ or PostgreSQL skip without them
	$(BIN)/pytest $(ARGS)

chaos: $(VENV)/.dev ## Run the fault matrix, JOBS=1 runs at once, SEEDS=1 seeds or one SEED; add to docs/faults.md
	CHAOS_RECORD=$(if $(ARGS),0,1) SEEDS=$(SEEDS) SEED=$(SEED) $(BIN)/pytest -m chaos tests/chaos \
		$(if $(JOBS),--numprocesses $(JOBS) --maxschedchunk 1) $(ARGS)

bench: $(VENV)/.dev ## Run all benchmarks; write benchmarks/results, figures and tables (ARGS=--tiny: none of these)
	$(BIN)/python -m benchmarks $(ARGS)

screenshots: $(VENV)/.dev ## Make the images of the documentation from a real run
	$(BIN)/python -m scripts.screenshots

lint: $(VENV)/.dev ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

services: ## Install RabbitMQ, PostgreSQL and Chromium where that is possible
	@scripts/services

lock: $(VENV)/.dev ## Renew the lock files from pyproject.toml
	$(BIN)/pip-compile $(COMPILE) --upgrade --output-file requirements.lock pyproject.toml
	$(BIN)/pip-compile $(COMPILE) --upgrade --extra dashboard \
		--constraint requirements.lock --output-file requirements-dashboard.lock pyproject.toml
	$(BIN)/pip-compile $(COMPILE) --upgrade --extra dev --extra dashboard --allow-unsafe \
		--constraint requirements.lock --output-file requirements-dev.lock pyproject.toml

COMPILE := --quiet --generate-hashes --strip-extras --no-header --no-emit-index-url \
	--no-emit-trusted-host --no-emit-find-links --no-emit-options

clean: ## Remove what was made
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name it with: make PYTHON=python3.12 run"; exit 2; }
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "Python's venv module is needed; on Debian: apt-get install python3-venv"; exit 2; }
	@touch $@

$(VENV)/.run: $(VENV)/.venv requirements.lock pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/.dashboard: $(VENV)/.run requirements-dashboard.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements-dashboard.lock
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@
