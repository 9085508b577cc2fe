# What a newcomer runs: `make demo`, `make test`.  `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLI := .cluster/cli
SOURCES := api cli crds operator runner
PLAIN_PYTHON := PYTHONPATH=cluster:demo:bench $(PYTHON)
SHELL := /bin/bash

export CLUSTER REGISTRY

.DEFAULT_GOAL := help
.PHONY: help demo test test-unit test-cluster test-cluster-together test-chaos-short test-chaos test-large browser promtool lint \
	cluster-up cluster-down cluster-status images \
	bench-dump bench-api bench-operator bench-download bench-cli crds docs lock audit lint-workflows schemathesis

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: $(CLI)/ready ## everything in one go: cluster, PostgreSQL, chart, exports, restores
	@$(PLAIN_PYTHON) -m local_cluster images --demo
	@$(PLAIN_PYTHON) demo/run_demo.py

# What is begun side by side is told when it is over.
SIDE_BY_SIDE := $(MAKE) --no-print-directory --jobs=2 --output-sync=target

# The chart is tested with the helm that comes with the cluster.  The unit tests run while the short
# chaos waits; all that needs an API server which nobody kills comes after them.
test: $(VENV)/ready ## all checks and tests
	@$(SIDE_BY_SIDE) lint images
	@$(MAKE) --no-print-directory promtool browser
	@$(SIDE_BY_SIDE) -o images -o promtool test-unit test-chaos-short
	@$(MAKE) --no-print-directory -o images -o browser test-cluster-together

lint: $(VENV)/ready ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(SOURCES:%=%/backupexport_*) cluster/local_cluster demo bench tests
	PYTHONPATH=api:cli:crds:operator:runner $(BIN)/lint-imports

test-unit: $(VENV)/ready promtool ## what needs no cluster, in a minute
	$(BIN)/pytest -q -n 3 tests/unit tests/component

# Kills the API server, of which the others need one.
CHAOS_SHORT := tests/cluster/test_chaos_short.py
test-cluster: test-cluster-together ## on a real cluster, with real PostgreSQL and real pods
	@$(MAKE) --no-print-directory -o images test-chaos-short

test-cluster-together: $(VENV)/ready images browser
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=25 tests/cluster \
		--ignore=$(CHAOS_SHORT)

test-chaos-short: $(VENV)/ready images
	$(BIN)/pytest $(CHAOS_SHORT)

SEED ?= 1
test-chaos: $(VENV)/ready images ## exports while everything is killed; SEED=n, CHAOS_FAULTS=all|pods
	CHAOS_SEED=$(SEED) $(BIN)/pytest -s tests/chaos

test-large: $(VENV)/ready images ## 20,000 tables, one of 8 GiB, 10,000 large objects: out and back
	$(BIN)/pytest -s tests/large

browser: $(VENV)/ready ## a Chromium for the web page's tests, from Debian unless there is one
	@PYTHONPATH=cluster:tests/support $(BIN)/python -m browser

promtool: $(VENV)/ready ## promtool for the tests of alerts, from Debian unless there is one
	@PYTHONPATH=cluster:tests/support $(BIN)/python -m promtool

cluster-up: ## a local one-node cluster (CLUSTER=native|kind|current)
	@$(PLAIN_PYTHON) -m local_cluster up

cluster-status: ## whether it runs
	@$(PLAIN_PYTHON) -m local_cluster status

cluster-down: ## take the cluster away (PURGE=1: what was built for it, too)
	@$(PLAIN_PYTHON) -m local_cluster down $(if $(PURGE),--purge)

images: ## cluster-up, and side by side the images (REGISTRY= with CLUSTER=current)
	@$(PLAIN_PYTHON) -m local_cluster images

SCHEMATHESIS_SECONDS ?= 1800
schemathesis: $(VENV)/ready images ## Schemathesis for long, with other requests each time
	SCHEMATHESIS_SECONDS=$(SCHEMATHESIS_SECONDS) $(BIN)/pytest -s tests/cluster/test_schemathesis.py

# SHORT=1: small numbers, to see that a benchmark runs.
FORM := $(if $(SHORT),--short)
BENCH_PATH := PYTHONPATH=api:crds:demo:bench:cluster

bench-dump: images ## the runner against pg_dump, and a job's fixed overhead
	@$(PLAIN_PYTHON) bench/bench_dump.py $(FORM)

# With the programs' own libraries, which a plain Python lacks.
bench-api: $(VENV)/ready cluster-up ## the API against a bare FastAPI route and a bare create call
	@$(BENCH_PATH) $(BIN)/python bench/bench_api.py $(FORM)

bench-operator: $(VENV)/ready cluster-up ## the operator against a bare kopf handler, and with 10,000 exports
	@$(BENCH_PATH) $(BIN)/python bench/bench_operator.py $(FORM)

bench-download: $(VENV)/ready cluster-up ## an export's download from the API against nginx's
	@$(BENCH_PATH) $(BIN)/python bench/bench_download.py $(FORM)

# On loopback alone.
bench-cli: $(VENV)/ready ## a download by the command line against curl's, and how soon it answers
	@PYTHONPATH=cli:crds:demo:bench:cluster $(BIN)/python bench/bench_cli.py $(FORM)

crds: $(VENV)/ready ## write the CRDs from the models
	PYTHONPATH=crds $(BIN)/python -m backupexport_contract.crd_manifests

docs: $(VENV)/ready ## write docs/reference.md from the code
	PYTHONPATH=api:crds:operator $(BIN)/python docs/generate_reference.py

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command 'make lock' pyproject.toml

AUDITED := requirements/dev.txt requirements/api-operator.txt requirements/runner.txt requirements/build.txt \
	requirements/cli.txt
audit: $(VENV)/ready ## known vulnerabilities of what the lock files pin, by pip-audit
	$(BIN)/uvx --quiet pip-audit@2.10.1 --strict --disable-pip --require-hashes $(AUDITED:%=-r %)

lint-workflows: ## the workflows of GitHub Actions, by actionlint
	go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

# The others are parts of the first: what two of them have, they have in one version.
lock: $(VENV)/ready ## bring the lock files up to date
	$(LOCK) --upgrade --all-extras -o requirements/dev.txt
	$(LOCK) -c requirements/dev.txt --extra api --extra operator -o requirements/api-operator.txt
	$(LOCK) -c requirements/dev.txt --extra build -o requirements/build.txt
	$(LOCK) -c requirements/dev.txt --extra runner -o requirements/runner.txt
	$(LOCK) -c requirements/dev.txt --extra cli -o requirements/cli.txt

$(CLI)/installed: requirements/cli.txt requirements/build.txt
	@$(PYTHON) -m venv --clear $(CLI) \
		|| { echo "Python's venv is missing: on Debian, apt-get install python3-venv"; exit 1; }
	@$(CLI)/bin/pip install --quiet --disable-pip-version-check --require-hashes \
		--requirement requirements/cli.txt --requirement requirements/build.txt
	@touch $@

# The command line from a wheel of its own, with what it needs and nothing else.
$(CLI)/ready: $(CLI)/installed $(shell find cli crds/backupexport_contract -name '*.py' -o -name '*.toml')
	@$(CLI)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--force-reinstall ./cli
	@rm -rf cli/build cli/*.egg-info
	@touch $@

$(VENV)/ready: requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=python3.13 ..."; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) \
		|| { echo "Python's venv is missing: on Debian, apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes \
		--requirement requirements/dev.txt
	@touch $@
