# The commands of this project, for people and CI. `make` alone lists them.

VENV ?= .venv
# Options for the command behind demo, test, bench, faults and torture: make demo ARGS="--seconds 30"
ARGS ?=
# The first of these that is Python 3.11 or newer creates the virtualenv.
PYTHON ?= python3 python3.13 python3.12 python3.11

# The tests start hundreds of processes: without files of bytecode each compiles the project again, for 0.4 s.
unexport PYTHONDONTWRITEBYTECODE

# Programs that the tests run beside Java 17 and cargo, as command=Debian package.
PROGRAMS := chromium-headless-shell=chromium-headless-shell mvn=maven npm=npm redis-server=redis-server promtool=prometheus prometheus-alertmanager=prometheus-alertmanager kcat=kcat faketime=faketime

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
BIN := $(VENV)/bin
READY := $(VENV)/.ready
NATIVE := schemas/native/vitals_native.lib

# Prints the Debian names of missing packages, then installs them or prints the command that does.
define CHECK_PROGRAMS
# The first cargo in PATH may be that of a rustup without a toolchain; deploy/wheel/native.py tries each, too.
cargo_works() {
  local cargo
  for cargo in $$(type -ap cargo); do
    if PATH="$${cargo%/*}:$$PATH" cargo --version >/dev/null 2>&1; then return; fi
  done
  return 1
}
missing() {
  release=$$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p') || true
  [ "$${release:-0}" -ge 17 ] || printf ' openjdk-17-jre-headless'
  cargo_works || printf ' cargo'
  for program in $$PROGRAMS; do
    command -v "$${program%%=*}" >/dev/null || printf ' %s' "$${program#*=}"
  done
}
packages=$$(missing)
[ -n "$$packages" ] || exit 0
if [ "$$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "The tests run real programs, and these packages are missing:$$packages. On Debian or Ubuntu:" >&2
  echo "  sudo apt-get update && sudo apt-get install --yes --no-install-recommends$$packages" >&2
  echo "Elsewhere, put java (17 or newer), cargo (1.63 or newer) and these commands into PATH: $$(sed 's/=[^ ]*//g' <<<"$$PROGRAMS")" >&2
  exit 1
fi
echo "Installing what the tests need:$$packages" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# Newer Debian has newer Java only; any from 17 on will do.
apt-cache show openjdk-17-jre-headless >/dev/null 2>&1 || packages=$${packages/openjdk-17-jre-headless/default-jre-headless}
apt-get install --yes -qq --no-install-recommends $$packages >/dev/null
# The tests start their own servers on free loopback ports; the services of Debian would listen on every interface.
if [ -d /run/systemd/system ]; then
  for service in redis-server prometheus prometheus-alertmanager; do
    case "$$packages " in *" $$service "*) systemctl disable --now "$$service" ;; esac
  done
fi
packages=$$(missing)
[ -z "$$packages" ] || { echo "Still missing after the installation:$$packages (is an older java first in PATH?)" >&2; exit 1; }
endef

.PHONY: help setup demo test search check docs system bench perf-gate faults simulate soak torture clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) $(NATIVE) ## Create the virtualenv .venv, install the project into it and build its native decoder

# An editable install: only a change of pyproject.toml requires a new one.
$(READY): pyproject.toml
	@python=""; \
	for candidate in $(PYTHON); do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python="$$candidate"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "account-vitals needs Python 3.11 or newer, and none of these is: $(PYTHON)." >&2; \
	  echo "Install one, or name it: make setup PYTHON=/path/to/python3" >&2; \
	  exit 1; \
	fi; \
	if [ ! -x $(BIN)/python ]; then "$$python" -m venv $(VENV); fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# Without cargo there is no library, and what it does is done in Python.
$(NATIVE): deploy/wheel/native.py schemas/native/Cargo.toml $(wildcard schemas/native/src/*.rs) | $(READY)
	@$(BIN)/python deploy/wheel/native.py

demo: setup ## Run the demo: a broker, a synthetic company, a worker and a live table
	$(BIN)/vitals demo $(ARGS)

# Tests that share a broker or a browser stay in one process (tests/conftest.py); they mostly wait, hence two processes a
# core. Every process may start a broker: 12 of them need some 10 GB.
# `pytest` alone runs everything in one process.
PROCESSES ?= $$($(BIN)/python -c 'import os; print(min(12, 2 * (os.cpu_count() or 1)))')
PARALLEL = --numprocesses $(PROCESSES) --dist loadgroup --no-loadscope-reorder

# Sets are in the same order in every run: Hypothesis then draws the same examples, and a red build comes from what was
# changed. `make search` draws others.
test: export PYTHONHASHSEED = 0
test: system setup check ## Run what CI runs: make check, then every test, with a real Kafka and a browser
	@[ -e $(NATIVE) ] || { echo "The tests need $(NATIVE): make setup says why it was not built." >&2; exit 1; }
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

search: setup ## Run the property tests with new random examples
	HYPOTHESIS_PROFILE=search $(BIN)/python -m pytest --numprocesses auto --dist worksteal tests/property $(ARGS)

check: setup docs ## Check format, lint, types and import contracts, and build the documentation site
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --num-workers auto
	$(BIN)/lint-imports

# Strict: a broken link, or a page that the navigation does not name, is an error; --quiet would switch that off. The
# variable silences an advertisement.
docs: setup ## Build the documentation site into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The benchmark compiles the Kafka Streams program that it compares with, so it needs a JDK.
bench: PROGRAMS += javac=default-jdk-headless
bench: system setup ## Run the benchmark (takes up to two hours; use an idle machine)
	$(BIN)/python -m tests.bench $(ARGS)

perf-gate: export PYTHONHASHSEED = 0
perf-gate: setup ## Compare what the engine does for fixed work with the committed figures
	$(BIN)/python -m tests.perf_gate $(ARGS)

# An empty -m runs the quick faults of CI too, so that the table is complete.
faults: PROGRAMS += psql=postgresql javac=default-jdk-headless go=golang-go node=nodejs
faults: system setup ## Run every fault injection test, the long ones too (use an idle machine)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,faults]'
	$(BIN)/python -m pytest -m "" $(PARALLEL) tests/faults tests/broker tests/torture $(ARGS)

torture: system setup ## Inject random faults for 10 minutes, from a seed (ARGS="--seconds 600 --seed 7")
	$(BIN)/python -m tests.torture $(ARGS)

SECONDS ?= 7200

soak: system setup ## Run a worker for SECONDS (2 hours), and fail if its memory grows
	$(BIN)/python -m tests.soak --seconds $(SECONDS) $(ARGS)

simulate: setup ## Simulate workers, broker, network and clock in one process, with new seeds: ARGS="--seconds 600 --seed 1"
	$(BIN)/python -m tests.simulation $(ARGS)

system: export CHECK_PROGRAMS := $(CHECK_PROGRAMS)
system: ## Check for the programs that tests run, such as java and chromium (root: install them)
	@PROGRAMS="$(PROGRAMS)" $(SHELL) -eu -o pipefail -c "$$CHECK_PROGRAMS"

clean: ## Remove everything that make and the tests created
	rm -rf $(VENV) $(NATIVE) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .cache
	find account_vitals agents schemas stream tests deploy -depth -type d -name __pycache__ -exec rm -rf {} +
