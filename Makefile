# Everything a developer does here, by name. `make help` lists it. All of it installs itself into .venv from the locks
# in requirements/; nothing else of the machine is touched.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
# An installation is named by what it was made from: another lock, another stamp.
fingerprint = $(shell cat requirements/$(1).lock pyproject.toml 2>/dev/null | cksum | cut -d ' ' -f 1)
DEV := .venv/.dev-$(call fingerprint,dev)
CLI := .venv/.cli-$(call fingerprint,cli)

# How many tests at once; what else pytest is told.
PYTEST_WORKERS ?= auto
PYTEST_ARGS ?=
# What the benchmark is told: make bench BENCH=--help
BENCH ?=
PYTEST = $(BIN)/pytest -n $(PYTEST_WORKERS) --dist worksteal $(PYTEST_ARGS)
# The slow ones wait most of the time, so that one more than there are cores goes along.
SLOW_WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1) + 1)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# ------------------------------------------------------------------------------------------------------- installation

# The first Python that is new enough; PYTHON=… chooses another.
define find_python
python="$(PYTHON)"; \
for candidate in $${python:-python3 python3.13 python3.12 python3.11 python}; do \
  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$candidate; break; fi; \
done; \
if [ -z "$${found:-}" ]; then \
  echo "FlowWeaver needs Python 3.11 or newer, and $${python:-python3} is older or not there: install one, or name it: make PYTHON=/path/to/python3" >&2; \
  exit 2; \
fi
endef

.venv/bin/python:
	@$(find_python); \
	"$$found" -m venv .venv || { rm -rf .venv; echo "$$found could not make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }

define install
@echo "Installing requirements/$(1).lock into .venv …"
@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/$(1).lock
@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
@rm -f .venv/.$(1)-* && touch $@
endef

$(DEV): | .venv/bin/python
	$(call install,dev)

$(CLI): | .venv/bin/python
	$(call install,cli)

.PHONY: install
install: $(DEV) ## Install the package and everything that development needs into .venv

.PHONY: lock
lock: ## Write requirements/*.lock again from pyproject.toml (UPGRADE=1: to the newest versions)
	@test -x $(BIN)/uv || $(MAKE) $(DEV)
	@requirements/compile $(if $(UPGRADE),--upgrade)

# --------------------------------------------------------------------------------------------------------------- shows

.PHONY: demo
demo: $(CLI) ## Run a real ETL against a local server, twice: the second time nothing is left to do
	@$(BIN)/python examples/demo.py

# --------------------------------------------------------------------------------------------------------------- tests

.PHONY: test
test: $(DEV) ## All tests that take seconds; without a control plane it says what it skipped
	@$(PYTEST) -m "not slow and not node"

.PHONY: test-slow
test-slow: $(DEV) ## The tests that take minutes: kill -9, API outages, a thousand random graphs
	@$(PYTEST) -n $(SLOW_WORKERS) -m "slow and not node" --timeout 1200

.PHONY: compat
compat: $(DEV) ## Whether programs for 0.2.2 run, asked of that version too (it gets an environment of its own in .cache)
	@$(PYTEST) tests/compat

.PHONY: mutation
mutation: $(DEV) ## Whether the tests notice small wrong changes of the core, one at a time (MUTATION_ARGS="drafts --every 10")
	@$(BIN)/python -m tests.mutation $(MUTATION_ARGS)

.PHONY: control-plane
control-plane: ## Find or build a kube-apiserver for the tests (under ten minutes, once)
	@hack/control-plane

.PHONY: checkov
checkov: ## Install checkov, which looks at the rendered chart in the slow tests (half a minute, once)
	@hack/checkov

.PHONY: test-cluster
test-cluster: $(DEV) ## The tests against a real kube-apiserver alone; fails where there is none
	@CI=true $(PYTEST) -m "control_plane and not slow and not node"

# The revision that an image is labelled with, and the time that its files are said to be from.
REVISION = $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
EPOCH = $(shell git log -1 --format=%ct 2>/dev/null || echo 1580601600)
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
IMAGE ?= flowweaver/flowweaver-operator:$(VERSION)
BUILD_ARGS ?= --network=host

.PHONY: image
image: ## Build the image, with the labels that a release has (IMAGE, BASE_IMAGE, BUILD_ARGS)
	@docker build $(BUILD_ARGS) $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) --build-arg VERSION=$(VERSION) \
	  --build-arg REVISION=$(REVISION) --build-arg SOURCE_DATE_EPOCH=$(EPOCH) --tag $(IMAGE) .

.PHONY: sbom
sbom: $(DEV) ## Write what the operator is made of to dist/sbom.cdx.json (SBOM=FILE), from the lock
	@mkdir -p $(dir $(or $(SBOM),dist/))
	@$(BIN)/python hack/sbom --extras operator,tracing >$(or $(SBOM),dist/sbom.cdx.json)

.PHONY: e2e
e2e: $(DEV) ## Image, chart and a killed pod on the cluster that KUBECONFIG names
	@PYTEST_ARGS="tests/docs $(PYTEST_ARGS)" hack/e2e

.PHONY: kind-e2e
kind-e2e: $(DEV) ## The same on a cluster that kind makes (KIND_IMAGE, KIND_CONFIG, KIND_LOAD)
	@PYTEST_ARGS="tests/docs $(PYTEST_ARGS)" hack/kind-e2e

.PHONY: bench
bench: $(CLI) ## Every workload beside the bar, bare threads and other engines (BENCH=--help)
	@$(BIN)/python benchmarks/run.py $(BENCH)

.PHONY: bench-cluster
bench-cluster: $(DEV) ## The operator beside a real API server: memory, requests, writes a second (BENCH=--help)
	@$(BIN)/python benchmarks/cluster.py $(BENCH)

# ------------------------------------------------------------------------------------------------------------- hygiene

.PHONY: lint
lint: $(DEV) ## Style, format and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

.PHONY: fmt
fmt: $(DEV) ## Format, and mend what can be mended by rule
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

.PHONY: types
types: $(DEV) ## mypy --strict
	@$(BIN)/mypy

.PHONY: crds
crds: $(DEV) ## Write the CRDs again from the models
	@$(BIN)/flowweaver crds --write

.PHONY: docs
docs: $(DEV) ## Write again what the docs draw from the code
	@$(BIN)/python docs/generate.py

.PHONY: pictures
pictures: $(DEV) ## Run a workflow, and write the pictures of the command line in docs/images again
	@$(BIN)/python docs/pictures.py

.PHONY: check
check: $(DEV) ## Whether every generated file is what the code would write now
	@$(BIN)/flowweaver crds --check
	@$(BIN)/python docs/generate.py --check
	@requirements/compile --check

.PHONY: clean
clean: ## Remove .venv and every cache
	@rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
