# Every target sets up what it needs; a fresh machine needs Python 3.11, Go, make and git. `make help` lists them.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

RUN := .venv/bin
CLUSTER := PYTHONPATH=tests/e2e $(RUN)/python -m cluster
IMAGE ?= firebreak:dev
ARGS ?=

.PHONY: help demo demo-clean test unit crash fuzz e2e lint format crds policies image image-twice score bench bench-detect soak cluster-up cluster-down cluster-info

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.venv/.ready: pyproject.toml uv.lock tools/bootstrap
	@tools/bootstrap
	touch $@

demo: image ## a real cluster, an attack, an Incident, and what Firebreak does about it
	@$(RUN)/python -m demo $(ARGS)

demo-clean: .venv/.ready ## remove what the demo left, and the cluster if nothing else is in it
	@$(RUN)/python -m demo --clean

test: lint unit crash e2e ## everything: gates, unit tests, the crash matrix, end-to-end tests on a real cluster

unit: .venv/.ready ## unit tests, in seconds
	@$(RUN)/pytest tests/unit tests/contract $(ARGS)

crash: .venv/.ready ## the crash matrix: each call of a response goes wrong in turn, in each way
	@PYTHONHASHSEED=0 $(RUN)/pytest -n 2 --dist worksteal tests/crash $(ARGS)

fuzz: fuzz-input .venv/.ready ## the whole crash matrix, pairs of faults, many random stories (FIREBREAK_CRASH_SEED for others), and fuzz-input
	@PYTHONHASHSEED=0 FIREBREAK_CRASH=all $(RUN)/pytest -n 2 --dist worksteal tests/crash $(ARGS)

fuzz-input: .venv/.ready ## hostile input to the adapters of alerts, the decoder of audit events and the loader of rules, for minutes
	@FIREBREAK_FUZZ=40 $(RUN)/pytest -n 2 --dist worksteal -m hostile tests/unit $(ARGS)

e2e: image ## end-to-end tests on a real cluster, against the deployed image
	@PYTHONPATH=tests/e2e $(RUN)/pytest tests/e2e $(ARGS)

lint: .venv/.ready ## ruff, strict types, the layers
	@$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	for tests in unit contract crash e2e; do $(RUN)/mypy --config-file tests/mypy.ini tests/$$tests; done
	$(RUN)/lint-imports

format: .venv/.ready ## format the code
	@$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

crds: .venv/.ready ## write crds/ from the models
	@$(RUN)/firebreak crds --output-dir crds

policies: .venv/.ready ## write the digests of the admission policies into the package
	@$(RUN)/python tools/policies.py > .build/shipped.py
	mv .build/shipped.py operator/firebreak/model/shipped.py

image: cluster-up ## build the image and load it into the cluster
	@tools/image $(IMAGE)

image-twice: cluster-up ## build the image twice from nothing, and compare
	@tools/image-twice

score: .venv/.ready ## a strict policy check of the manifests
	@PYTHONPATH=tests/e2e $(RUN)/pytest tests/e2e/test_manifests_score.py $(ARGS)

bench: image ## speed on the test cluster, as ratios against the floor
	@PYTHONPATH=tests/e2e:tests/unit $(RUN)/python -m benchmarks $(ARGS)

bench-detect: .venv/.ready ## speed of detection on audit events, as a ratio against the bare decoder; needs no cluster
	@PYTHONPATH=tests/e2e:tests/unit $(RUN)/python -m benchmarks $(or $(ARGS),--only detect)

soak: image ## many incidents one after another, and nothing that grows (about an hour; ARGS="--incidents 200" for less)
	@PYTHONPATH=tests/e2e:tests/unit $(RUN)/python -m benchmarks.soak $(ARGS)

cluster-up: .venv/.ready ## start the real cluster (about 5 minutes the first time: it is built)
	@$(CLUSTER) up >/dev/null

cluster-down: .venv/.ready ## stop the cluster and remove its state
	@$(CLUSTER) down --purge

cluster-info: .venv/.ready ## where the cluster is, as JSON
	@$(CLUSTER) info
