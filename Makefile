# One entry for people and for CI. `make help` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.8
ENGINE ?= llamacpp
IMAGES := kaito-controllers kaito-serving-llamacpp kaito-serving-transformers kaito-serving-vllm kaito-tuning kaito-rag
DEMO := $(BIN)/python -m localcluster.demo
STAMP := $(VENV)/.ready-$(shell cat requirements-dev.lock pyproject.toml | sha256sum | cut -c1-16)

.PHONY: help setup system binaries assets test test-unit test-integration test-e2e lint format lock generate demo demo-down docs images bench charts clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with everything the project needs, console scripts included

$(STAMP): requirements-dev.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip sync --quiet requirements-dev.lock
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --editable . uv==$(UV_VERSION)
	@rm -f $(VENV)/.ready-* && touch $@

system: setup ## install the system packages the local cluster needs (root, apt) where they are missing
	@$(BIN)/python -m localcluster.requirements --install

binaries: setup ## fetch or build the Kubernetes programs (minutes, once)
	@$(BIN)/python -m localcluster binaries >/dev/null

assets: binaries system ## and the images and the model that the tests on the local cluster need
	@$(BIN)/python -m localcluster.requirements --install --tests
	@$(BIN)/python -m localcluster images build $(IMAGES)
	@$(BIN)/python -m localcluster models --hf --embedder

test: assets ## run all tests: unit, integration (real API server), conformance, e2e (real kubelets)
	@$(BIN)/python -m pytest tests

test-unit: setup ## run the unit tests alone: seconds, no root
	@$(BIN)/python -m pytest tests/unit

test-integration: binaries ## run the tests against a real kube-apiserver: no root
	@$(BIN)/python -m pytest tests/integration tests/conformance

test-e2e: assets ## run the tests on the local cluster: root
	@$(BIN)/python -m pytest tests/e2e

lint: setup ## ruff, mypy --strict, import contracts, generated files up to date, audit of the locks (AUDIT=required)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PYTHONPATH=images $(BIN)/lint-imports --config .importlinter
	@$(BIN)/python -m apis.generate --check
	@$(BIN)/python -m observability.generate --check
	@$(BIN)/python -m localcluster.audit $(if $(filter required,$(AUDIT)),--required)
	@$(BIN)/python -m docs.generators --check

format: setup ## format and mend what ruff can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

generate: setup ## write the CRDs from the models, copy them into the charts, write the reference pages
	@$(BIN)/python -m apis.generate
	@$(BIN)/python -m observability.generate
	@$(BIN)/python -m docs.generators
	@$(BIN)/python -m localcluster.chartdocs

COMPILE = $(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	--custom-compile-command "make lock"
SERVING := images/serving
EXTRAS := --extra aws --extra azure --extra gcp --extra tracing
X86 := --python-platform x86_64-manylinux_2_28

lock: setup ## resolve the locks anew, one per role, without registry addresses
	@$(COMPILE) --universal --group dev $(EXTRAS) pyproject.toml -o requirements-dev.lock
	@$(COMPILE) --universal --override images/controllers/overrides.txt \
		$(EXTRAS) pyproject.toml -o images/controllers/requirements.lock
	@$(COMPILE) --universal images/controllers/build.in -o images/controllers/build.lock
	@$(COMPILE) --universal $(SERVING)/llamacpp/requirements.in -o $(SERVING)/llamacpp/requirements.lock
	@$(COMPILE) $(X86) $(SERVING)/transformers/requirements.in -o $(SERVING)/transformers/requirements.lock
	@$(COMPILE) $(X86) --override images/overrides-cpu.txt \
		$(SERVING)/transformers/requirements-cpu.in -o $(SERVING)/transformers/requirements-cpu.lock
	@$(COMPILE) $(X86) $(SERVING)/vllm/requirements.in -o $(SERVING)/vllm/requirements.lock
	@$(COMPILE) $(X86) --override images/overrides-cpu.txt \
		$(SERVING)/vllm/requirements-cpu.in -o $(SERVING)/vllm/requirements-cpu.lock
	@$(COMPILE) $(X86) images/tuning/requirements.in -o images/tuning/requirements.lock
	@$(COMPILE) $(X86) --override images/overrides-cpu.txt \
		images/tuning/requirements-cpu.in -o images/tuning/requirements-cpu.lock
	@$(COMPILE) $(X86) images/rag/requirements.in -o images/rag/requirements.lock
	@$(COMPILE) $(X86) --override images/overrides-cpu.txt \
		images/rag/requirements-cpu.in -o images/rag/requirements-cpu.lock

demo: setup system ## the main job on this machine: cluster, charts, Workspace, node, model, answer (ENGINE=llamacpp|vllm, RAG=1)
	@$(DEMO) up --engine $(ENGINE) $(if $(RAG),--rag)

demo-down: setup ## delete the Workspace, see node and claim go, take the cluster down
	@$(DEMO) down

docs: setup ## build the documentation site into build/site
	@$(BIN)/python -m sphinx --fresh-env --fail-on-warning --keep-going --quiet -c docs -d build/doctrees -b html . build/site
	@echo build/site/index.html

images: setup system ## build the images into the cache
	@$(BIN)/python -m localcluster images build $(IMAGES)

bench: setup ## measure, and print the figures with their targets
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script; done

clean: ## remove the environment; caches outside the tree stay
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build/site build/doctrees
