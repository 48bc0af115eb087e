# The one list of commands. `make demo` and `make test` set up their own environment in .venv first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DEMO   ?=
SIM    ?=

.PHONY: help setup demo sim test lint types unit slow soak experiments bench docs clean

help:            ## Show the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

setup: $(VENV)/.installed  ## Create .venv and install everything that demo and test need

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Murmuration needs Python 3.11 or newer; this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@sh deploy/system-packages.sh
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[demo,sim,optimal,hpc]' --group dev
	@# libp2p brings trio-typing: stubs of the trio of 2022, which hide trio's own types from mypy.
	@rm -rf $(VENV)/lib/python3*/site-packages/trio-stubs
	@touch $@

demo: setup      ## Eight real daemons on this machine learn digits together (options: DEMO="--kill-one")
	$(BIN)/murmuration demo $(DEMO)

sim: setup       ## A hundred peers in virtual time lose their hubs; a report at the end (options: SIM="--seed 2")
	$(BIN)/murmuration sim demo $(SIM)

test: setup lint types unit  ## Lint, types, tests

lint: setup      ## ruff and flake8-async
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# Left out: rules that flake8-async has off by default; polling in tests, of what happens behind real sockets.
	$(BIN)/flake8 --select ASYNC --ignore ASYNC9,ASYNC114,ASYNC124 --per-file-ignores 'tests/*:ASYNC110' \
		peer netsim tests benchmarks

types: setup     ## mypy strict
	$(BIN)/mypy

unit: setup      ## pytest
	$(BIN)/pytest

slow: setup      ## The papers' experiments (minutes); writes what they measured to docs/methods.md
	$(BIN)/pytest -m slow tests/acceptance --figures docs/methods.md
	$(BIN)/pytest -m slow tests --ignore tests/acceptance

soak: setup      ## A thousand random worlds against the invariants (minutes)
	$(BIN)/python -m tests.netsim.soak 1000

experiments: setup ## The simulated experiments again (many minutes; MNIST=folder of its files); writes docs/experiments.md
	$(BIN)/python -m netsim.experiments.findings $(if $(MNIST),--mnist $(MNIST))

bench: setup     ## Speed and memory: one table and one JSON line each
	$(BIN)/python -m benchmarks.daemon
	$(BIN)/python -m benchmarks.transfer
	$(BIN)/python -m benchmarks.mixing --repeats 2 --file-width 25000000
	$(BIN)/python -m benchmarks.core_events
	$(BIN)/python -m benchmarks.simulation

docs: setup      ## Write the pages that are generated from the code (settings, metrics, pieces)
	$(BIN)/python -m peer.reference docs
	$(BIN)/python -m netsim.reference docs

clean:           ## Remove what the targets above made
	rm -rf $(VENV) demo-output runs .mypy_cache .pytest_cache .ruff_cache
