# mpic-appliance: `make` alone lists what there is.
SHELL := /bin/bash
PYTHON := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help setup demo test unit lint lab lab-down hostile bench soak deb oci clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

setup: root ## install what is needed: Debian packages and the virtual environment (root)
	@$(SHELL) .ci/setup

demo: setup ## the main job: an emulated Internet, six perspectives, a BGP hijack refused; writes build/demo.json (root)
	@$(PYTHON) -m tests.demo

# What failed because the machine was busy elsewhere may be run once more, alone; a failure of safety may not.
test: setup ## everything: lint, types, unit, system and end-to-end tests (root)
	@$(MAKE) --no-print-directory lint-only
	@$(PYTHON) -m tests.second_try -m "not soak" tests/unit tests

unit: ## tests without root and without network
	@$(SHELL) .ci/setup --python-only
	@$(PYTHON) -m pytest -q -m "not soak" tests/unit

lint: ## ruff, strict mypy, import-linter
	@$(SHELL) .ci/setup --python-only
	@$(MAKE) --no-print-directory lint-only

lint-only:
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-cache

lab: setup ## leave the lab and the appliance running in the background, and say how to use them (root)
	@$(PYTHON) -m tests.lab up --appliance

lab-down: root ## remove all of the lab (root)
	@if [ -x $(PYTHON) ]; then $(PYTHON) -m tests.lab down; else echo "lab-down: nothing was ever set up here"; fi

hostile: setup ## servers that misbehave in every way, and what the checks make of them (root)
	@$(PYTHON) -m pytest -v tests/e2e/test_hostile.py

bench: setup ## decisions per second, latency and CPU per decision, beside the floor (root)
	@$(PYTHON) -m tests.bench

soak: setup ## what is too long for make test: full counts (root)
	@$(PYTHON) -m pytest -v -m soak --timeout 7200

deb: ## the two Debian packages, in build/deb
	@$(SHELL) .ci/setup --python-only
	@packaging/deb/build

oci: root deb ## an OCI image of mpicd --perspective-only, in build/oci, from a debootstrap tree (root)
	@packaging/oci/build.py

clean: ## remove what was built, and the virtual environment
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

root:
	@[ "$$(id -u)" -eq 0 ] || { echo "this needs root: it makes network namespaces (try: sudo make $(MAKECMDGOALS))" >&2; exit 1; }
.PHONY: root lint-only
