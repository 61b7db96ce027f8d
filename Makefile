# `make` lists the targets. All builds use the committed Cargo.lock.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Cargo uses all cores by itself, and two runs of Cargo would wait for each other.
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules

# Folder of rustup's cargo, for shells without it in PATH.
export PATH := $(PATH):$(HOME)/.cargo/bin

CARGO ?= cargo
# The demo, the tests, the lints and the documentation use the same packages, features and profile: cargo then compiles each
# dependency once to run it and once to check against it. Another selection would compile most of them again.
BUILD := $(CARGO) build --locked --workspace --bin landfall --example demo
RELEASE := $(CARGO) build --release --locked -p landfall --bin landfall
# Time for each fuzz target.
FUZZ_SECONDS ?= 600

PHONY := help demo test check e2e e2e-fleet bench bench-cluster simulate crds fuzz deps fmt clippy doc check-crds check-chart check-fuzz unit
.PHONY: $(PHONY)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-][a-z0-9-]*:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: deps ## Run three clusters from files: published and measured split, then a failure
	@$(BUILD)
	@target/debug/examples/demo

test: deps check unit ## Run all that needs no cluster: check, then the tests of the workspace

check: fmt clippy doc check-crds check-chart check-fuzz ## Check format, lints, documentation, CRDs, charts and fuzz targets

e2e: deps ## Test the behaviour on real API servers with real clients
	@bash scripts/deps-e2e.sh
	@bin=$$(bash scripts/controlplane.sh all); \
	$(BUILD); \
	RUST_BACKTRACE=0 LANDFALL_E2E_BIN=$$bin LANDFALL_BIN=$$PWD/target/debug/landfall \
	  $(CARGO) test --locked --workspace --no-fail-fast --test behaviour

e2e-fleet: deps ## Test several clusters around a broker, and faults between them; takes minutes
	@bash scripts/deps-e2e.sh
	@bin=$$(bash scripts/controlplane.sh fleet); \
	$(RELEASE); \
	RUST_BACKTRACE=0 LANDFALL_E2E_BIN=$$bin $(CARGO) test --locked -p landfall-e2e --no-fail-fast --test fleet -- --nocapture --test-threads=1

bench: deps ## Run the benchmarks that need no cluster
	@$(CARGO) bench --locked --workspace --exclude landfall-e2e --bench '*'

bench-cluster: deps ## Run the benchmarks with a real API server: start, propagation, memory
	@bash scripts/deps-e2e.sh
	@bin=$$(bash scripts/controlplane.sh all); \
	$(RELEASE); \
	LANDFALL_E2E_BIN=$$bin $(CARGO) bench --locked -p landfall-e2e --bench '*'

simulate: deps ## Compare the optimizer and simpler policies with the optimum on recorded scenarios
	@$(RELEASE)
	@for scenario in crates/sim/tests/scenarios/*.yaml; do \
	  trace=$${scenario%/*}/traces/$$(basename $$scenario .yaml).json; \
	  target/release/landfall simulate $$scenario --trace $$trace; echo; \
	done

crds: deps ## Generate the CRDs in deploy/crds and in the charts from the Rust types
	@$(with_fresh_crds); \
	for pair in $(crd_folders); do \
	  folder=$${pair#*:}; mkdir -p $$folder; rm -f $$folder/*.yaml; \
	  cp $$fresh/$${pair%%:*}/*.yaml $$folder; echo "wrote $$folder"; \
	done

fuzz: ## Fuzz the parsers for FUZZ_SECONDS each (default 600); needs cargo-fuzz and a nightly toolchain
	@targets=$$($(CARGO) +nightly fuzz list); \
	for target in $$targets; do \
	  mkdir -p fuzz/corpus/$$target; \
	  mkdir -p fuzz/seeds/$$target; \
	  $(CARGO) +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
	    -dict=fuzz/dns.dict -max_len=2048 -timeout=10 -max_total_time=$(FUZZ_SECONDS); \
	done

deps: ## Install missing build dependencies, or name them
	@bash scripts/deps.sh

fmt: ## Check the format; cargo fmt fixes it
	@$(CARGO) fmt --all --check

clippy: ## Run the lints of all targets; warnings are errors
	@$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings

doc: ## Build the documentation for contributors, with private items
	@RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --locked --workspace --no-deps --document-private-items --lib --bins --examples

check-crds: ## Check that the committed CRDs match the Rust types
	@$(with_fresh_crds); \
	for pair in $(crd_folders); do \
	  folder=$${pair#*:}; \
	  diff --unified --recursive $$folder $$fresh/$${pair%%:*} || { echo "$$folder does not match the Rust types; run make crds"; exit 1; }; \
	done

check-chart: ## Lint and render the charts with default and with other values
	@bin=$$(bash scripts/controlplane.sh helm); \
	for chart in charts/landfall charts/landfall-broker; do $$chart/ci/check.sh $$bin/helm; done

# The fuzz targets are a workspace of their own. A check does not link, so any file stands for the library.
check-fuzz: ## Check that the fuzz targets compile
	@CUSTOM_LIBFUZZER_PATH=fuzz/Cargo.toml $(CARGO) check --locked --manifest-path fuzz/Cargo.toml --bins --target-dir target

unit: ## Run the tests of the workspace except those on real API servers
	@$(CARGO) test --locked --workspace

# Sets of CRDs and their folders. A broker has only ClusterFacts.
crd_folders := all:deploy/crds all:charts/landfall/crds broker:charts/landfall-broker/crds

# Sets $fresh to a temporary folder with the folders "all" and "broker". Each has one file per CRD: <group>_<plural>.yaml.
with_fresh_crds = fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; mkdir $$fresh/all $$fresh/broker; \
	$(BUILD) --quiet; target/debug/landfall crds | awk -v folder="$$fresh/all" "$$SPLIT_CRDS"; \
	cp $$fresh/all/landfall.dev_clusterfacts.yaml $$fresh/broker

define SPLIT_CRDS
function flush() { if (file) printf "%s", text > (folder "/" file); file = text = "" }
/^---$$/ { flush(); next }
/^  name: / && !file { dot = index($$2, "."); file = substr($$2, dot + 1) "_" substr($$2, 1, dot - 1) ".yaml" }
{ text = text $$0 "\n" }
END { flush() }
endef
export SPLIT_CRDS
