# Zero message loss with Django, PostgreSQL and Kafka. `make` lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
PIP := 26.3
ORDERS ?= 500
CLIENTS ?= 8
FORMAT ?= text
LINES := 20
SECONDS ?= 600
FAULTS_PER_MINUTE ?= 60
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup constraints demo up status env logs down reset test test-faults test-planted chaos test-compose bench

help:  ## list the targets
	@grep -E '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*  ## (.*)/  make \1\t\2/; s/\$$\$$/$$/' | expand -t 22

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 15) else "Python 3.11 to 3.14 is needed: make PYTHON=python3.12 …")'
	@echo "setting up .venv (once)" >&2
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet pip==$(PIP)
	@$(BIN)/python -m pip install --quiet -c constraints.txt '.[demo,devservices,dev]'
	@rm -rf build *.egg-info
	@touch $@

setup: .venv/.ready  ## make .venv with the pinned dependencies

constraints:  ## write constraints.txt anew: the newest that the pins of pyproject.toml allow
	@$(PYTHON) -m venv --clear var/constraints
	@var/constraints/bin/python -m pip install --quiet pip==$(PIP)
	@var/constraints/bin/python -m pip install --quiet '.[demo,devservices,dev]'
	@grep '^#' constraints.txt > var/constraints/new
	@var/constraints/bin/python -m pip freeze | grep == | tr _ - \
		| grep -vixFf <(grep -oE '"[^"]+==[^"]+"' pyproject.toml | tr -d '"' | sed -E 's/\[[^]]*\]//') >> var/constraints/new
	@mv var/constraints/new constraints.txt
	@rm -rf build *.egg-info var/constraints

demo: .venv/.ready  ## the whole flow and its proof: ORDERS=500 CLIENTS=8
	@$(BIN)/python -m demo run --orders $(ORDERS) --clients $(CLIENTS) --format $(FORMAT)

up: .venv/.ready  ## the same system, left running
	@$(BIN)/python -m demo up

status: .venv/.ready  ## what runs (FORMAT=json for machines)
	@$(BIN)/python -m demo status --format $(FORMAT)

env: .venv/.ready  ## addresses and credentials: eval "$$(make -s env)"
	@$(BIN)/python -m demo env

logs: .venv/.ready  ## the end of each process's log: ROLE=web LINES=20
	@$(BIN)/python -m demo logs $(if $(ROLE),--role $(ROLE)) --lines $(LINES)

down: .venv/.ready  ## stop everything started in this checkout
	@$(BIN)/python -m demo down

reset: .venv/.ready  ## make down, and delete the data of make up
	@$(BIN)/python -m demo down --remove

test: .venv/.ready  ## all tests, on servers of their own
	@$(BIN)/python -m devservices exec --ephemeral -- $(BIN)/python -m pytest $(ARGS)

test-faults: .venv/.ready  ## every crash point and fault of the servers, one by one (ARGS="-k kill")
	@$(BIN)/python -m devservices exec --ephemeral -- $(BIN)/python -m pytest -m faults $(or $(ARGS),tests)

test-planted: .venv/.ready  ## bugs and wrong rows planted on purpose: the checker must find each
	@$(BIN)/python -m devservices exec --ephemeral -- $(BIN)/python -m pytest -m planted $(or $(ARGS),tests/planted)

chaos: .venv/.ready  ## load and random faults by a seed: SECONDS=600 SEED= FAULTS_PER_MINUTE=60
	@$(BIN)/python -m devservices exec --ephemeral --proxied -- $(BIN)/python -m faults.chaos --seconds $(SECONDS) \
		$(if $(SEED),--seed $(SEED)) --faults-per-minute $(FAULTS_PER_MINUTE) $(ARGS)

test-compose:  ## the same system in docker compose, proven twice; needs only a Docker engine
	@ORDERS=$(ORDERS) $(PYTHON) -m tests.compose.run

bench: .venv/.ready  ## ratios, measured side by side (ONLY="relay consumer")
	@$(BIN)/python -m devservices exec --ephemeral -- $(BIN)/python -m benchmarks --format $(FORMAT) $(ONLY)
