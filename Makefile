# agentmarket: `make run` shows it, `make test` proves it. Both set up whatever
# is missing on a fresh Linux machine with Go, root and apt.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

DEV := .dev
BIN := $(DEV)/bin
# Where `make run` keeps its state, and `make test` its own, so that both can be
# used at the same time.
RUN_STATE  := $(DEV)
TEST_STATE := $(DEV)/test

GOLANGCI_LINT_VERSION := v2.15.0
WORKFLOWCHECK_VERSION := v0.6.0

# make run KUBE_CONTEXT=docker-desktop IMAGE_PREFIX=registry.example/agents
KUBE_CONTEXT  ?=
IMAGE_PREFIX  ?=
API_PORT      ?= 3000
UI_PORT       ?= 8233
TEMPORAL_PORT ?= 7233
TEMPORAL_HTTP_PORT ?= 7243

# Without the race detector in the C of SQLite, which is translated to Go, has
# locks of its own, and is five times as slow with it.
TEST_FLAGS ?= -race -gcflags=modernc.org/sqlite/lib=-race=false -timeout 25m -parallel 3

.PHONY: help
help: ## what there is to make
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: setup build ## start everything, show two runs, stay until Ctrl-C
	@exec $(BIN)/devstack up -dir $(RUN_STATE) -bin $(BIN) \
	  -api-port $(API_PORT) -ui-port $(UI_PORT) -temporal-port $(TEMPORAL_PORT) \
	  -temporal-http-port $(TEMPORAL_HTTP_PORT) \
	  $(if $(KUBE_CONTEXT),-kube-context $(KUBE_CONTEXT) -image-prefix "$(IMAGE_PREFIX)") $(RUN_FLAGS)

.PHONY: test
test: setup build ## every test, on a real Kubernetes, Temporal and PostgreSQL
	@deploy/test.sh "$(BIN)" "$(TEST_STATE)" $(TEST_FLAGS)

.PHONY: lint
lint: ## formatting, linters, determinism of workflows
	@deploy/lint.sh "$(BIN)" "$(GOLANGCI_LINT_VERSION)" "$(WORKFLOWCHECK_VERSION)"

.PHONY: bench
bench: setup build ## latency of a run against a bare Pod and a bare Job
	@deploy/bench.sh "$(BIN)" "$(TEST_STATE)"

.PHONY: bench-scale
bench-scale: setup build ## 5000 waiting runs, and runs beside bare Jobs, on simulated nodes
	@"$(BIN)/devcluster" down --purge --state .dev/scale/cluster
	@DEVCLUSTER_FLAGS=--default-rates deploy/test.sh "$(BIN)" .dev/scale -run '^$$' -bench '^BenchmarkScaleThroughput' -benchtime 1x -timeout 30m ./bench
	@"$(BIN)/devcluster" down --purge --state .dev/scale/cluster
	@deploy/test.sh "$(BIN)" .dev/scale -run '^$$' -bench '^BenchmarkScaleWaiting' -benchtime 1x -timeout 90m ./bench

.PHONY: chaos
chaos: setup build ## 300 runs while everything is killed again and again; into docs/reliability.md
	@AGENTMARKET_CHAOS_RUNS=$${AGENTMARKET_CHAOS_RUNS:-300} AGENTMARKET_CHAOS_RECORD=1 \
	  deploy/test.sh "$(BIN)" "$(TEST_STATE)" -timeout 40m -v -run 'TestChaos$$' ./e2e

.PHONY: failures
failures: setup build ## provoke every failure and every attack again; into docs/failures.md, docs/security.md and infra/kube/testdata/pods
	@AGENTMARKET_FAILURES_RECORD=1 deploy/test.sh "$(BIN)" "$(TEST_STATE)" -timeout 10m -v -run 'Test(Failures|Hostile)$$' ./e2e

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME, a minute if it is not named
	@deploy/fuzz.sh "$${FUZZTIME:-1m}"

.PHONY: golden
golden: ## rewrite the golden files after an intended change
	go test ./infra/kube ./api -update

.PHONY: histories
histories: setup build ## record another SET= of the workflow histories that the tests replay
	@AGENTMARKET_RECORD_HISTORIES="$(SET)" deploy/test.sh "$(BIN)" "$(TEST_STATE)" -run TestRecord ./e2e/...

.PHONY: clean
clean: ## stop what is left and remove all state and everything built
	@for state in $(RUN_STATE)/cluster $(TEST_STATE)/cluster; do \
	  if [[ -x $(BIN)/devcluster && -d $$state ]]; then $(BIN)/devcluster down --state $$state --purge; fi; done
	rm -rf $(DEV)

.PHONY: setup
setup: ## install what is missing on this machine
	@KUBE_CONTEXT="$(KUBE_CONTEXT)" deploy/setup.sh

.PHONY: build
build: ## build every program into .dev/bin
	@KUBE_CONTEXT="$(KUBE_CONTEXT)" deploy/build.sh "$(BIN)"
