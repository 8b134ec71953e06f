# `make run` and `make test` set themselves up; a stamp in .venv tells what is installed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run demo broker dashboard screenshots test chaos simulate hosts bench mutants lint services docs docs-serve wheel lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.run ## Rehearse 1,000 messages; needs only Python 3.11 or newer
	$(BIN)/sms-pipeline run

demo: $(VENV)/.dev ## Rehearse over RabbitMQ: broker, three workers, a run, the dashboard (MESSAGES=20000); Ctrl-C ends all
	@$(BIN)/python -m scripts.demo $(MESSAGES)

broker: $(VENV)/.dev ## Start RabbitMQ and tell what to export; Ctrl-C ends it
	@$(BIN)/python -m scripts.broker

dashboard: $(VENV)/.dashboard ## Serve the web page of all runs on http://127.0.0.1:8080 (ARGS: its options)
	$(BIN)/sms-pipeline dashboard $(ARGS)

test: $(VENV)/.dev ## Run the tests on all cores (JOBS=1: on one); those that need RabbitMQ or PostgreSQL skip without them
	$(BIN)/pytest --numprocesses $(or $(JOBS),auto) --dist worksteal $(ARGS)

chaos: $(VENV)/.dev ## Run the fault matrix and add it to docs/faults.md (SEED=7 or SEEDS=3; JOBS=5 at once; CASES='link or clock')
	CHAOS_RECORD=$(if $(ARGS),0,1) SEEDS=$(SEEDS) SEED=$(SEED) $(BIN)/pytest -m chaos tests/chaos \
		$(if $(CASES),-k '$(CASES)') $(if $(JOBS),--numprocesses $(JOBS) --maxschedchunk 1) $(ARGS)

simulate: $(VENV)/.dev ## Play runs under every fault in virtual time; add them to docs/faults.md (SEEDS=1000; JOBS=2; SEED=7: one)
	$(BIN)/python -m tests.simulation $(if $(SEEDS),--seeds $(SEEDS)) $(if $(JOBS),--jobs $(JOBS)) \
		$(if $(SEED),--seed $(SEED)) $(ARGS)

hosts: $(VENV)/.dev ## Run the tests with several hosts and clusters; needs root, RabbitMQ and PostgreSQL
	$(BIN)/pytest -m hosts tests/hosts $(ARGS)

bench: $(VENV)/.dev ## Run all benchmarks; write benchmarks/results, figures and tables (ARGS=--tiny: write nothing)
	$(BIN)/python -m benchmarks $(ARGS)

screenshots: $(VENV)/.dev ## Make the images of the documentation, from a real run
	$(BIN)/python -m scripts.screenshots

mutants: $(VENV)/.mutants ## Break the code in one place at a time; write docs/mutants.md
	$(BIN)/python -m scripts.mutants $(ARGS)

lint: $(VENV)/.dev ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv-docs/.docs ## Make a site of the documentation, in the folder site; checks every link
	PYTHONPATH=. .venv-docs/bin/mkdocs build --quiet

docs-serve: .venv-docs/.docs ## Show the site on http://127.0.0.1:8000 while you write
	PYTHONPATH=. .venv-docs/bin/mkdocs serve

wheel: $(VENV)/.dev ## Build wheel and sdist in the folder dist, and try them in an empty environment
	PYTHON=$(BIN)/python scripts/wheel

services: ## Install RabbitMQ, PostgreSQL and Chromium from Debian's packages
	@scripts/services

lock: $(VENV)/.dev ## Renew the lock files from pyproject.toml
	$(BIN)/pip-compile $(COMPILE) --upgrade --output-file requirements.lock pyproject.toml
	$(BIN)/pip-compile $(COMPILE) --upgrade --extra dashboard \
		--constraint requirements.lock --output-file requirements-dashboard.lock pyproject.toml
	$(BIN)/pip-compile $(COMPILE) --upgrade --extra dev --extra dashboard --extra parquet --allow-unsafe \
		--constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	$(BIN)/pip-compile $(COMPILE) --upgrade --extra docs \
		--constraint requirements.lock --output-file requirements-docs.lock pyproject.toml
	$(BIN)/pip-compile $(COMPILE) --upgrade --extra mutants --allow-unsafe \
		--constraint requirements-dev.lock --output-file requirements-mutants.lock pyproject.toml

COMPILE := --quiet --generate-hashes --strip-extras --no-header --no-emit-index-url \
	--no-emit-trusted-host --no-emit-find-links --no-emit-options

clean: ## Remove the environment, builds and caches
	rm -rf $(VENV) .venv-docs site mutants build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "This needs Python 3.11 or newer. Name it with: make PYTHON=python3.12 run"; exit 2; }
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "This needs Python's venv module. On Debian: apt-get install python3-venv"; exit 2; }
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

# In an environment of its own: nothing else needs it.
.venv-docs/.docs: requirements-docs.lock
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements-docs.lock
	@touch $@

$(VENV)/.mutants: $(VENV)/.dev requirements-mutants.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements-mutants.lock
	@touch $@
