# Everything a person or CI does here, by one name each. `make` alone lists them.

VENV ?= .venv
# Options for the command behind demo, test, bench and faults: make demo ARGS="--seconds 30"
ARGS ?=
# The first of these that is Python 3.11 or newer makes the virtualenv.
PYTHON ?= python3 python3.13 python3.12 python3.11

# What the tests run beside Java 17, as command=package of Debian.
PARTS := chromium=chromium mvn=maven redis-server=redis-server promtool=prometheus prometheus-alertmanager=prometheus-alertmanager kcat=kcat faketime=faketime

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Prints Debian's names of the missing packages, then installs them or says how to.
define LOOK_FOR_PARTS
missing() {
  release=$$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p') || true
  [ "$${release:-0}" -ge 17 ] || printf ' openjdk-17-jre-headless'
  for part in $$PARTS; do
    command -v "$${part%%=*}" >/dev/null || printf ' %s' "$${part#*=}"
  done
}
packages=$$(missing)
[ -n "$$packages" ] || exit 0
if [ "$$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "The tests run real programs, and these packages are missing:$$packages. On Debian or Ubuntu:" >&2
  echo "  sudo apt-get update && sudo apt-get install --yes --no-install-recommends$$packages" >&2
  echo "Elsewhere, put java (17 or newer) and these commands into PATH: $$(sed 's/=[^ ]*//g' <<<"$$PARTS")" >&2
  exit 1
fi
echo "Installing what the tests need:$$packages" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# Newer Debian has newer Java only; any from 17 on will do.
apt-cache show openjdk-17-jre-headless >/dev/null 2>&1 || packages=$${packages/openjdk-17-jre-headless/default-jre-headless}
apt-get install --yes -qq --no-install-recommends $$packages >/dev/null
# The tests start their own, on free loopback ports; what Debian starts would listen on everything for ever.
if [ -d /run/systemd/system ]; then
  for service in redis-server prometheus prometheus-alertmanager; do
    case "$$packages " in *" $$service "*) systemctl disable --now "$$service" ;; esac
  done
fi
packages=$$(missing)
[ -z "$$packages" ] || { echo "Still missing after the installation:$$packages (is an older java first in PATH?)" >&2; exit 1; }
endef

.PHONY: help setup demo test search check docs system bench faults clean

help: ## List what make can do
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make the virtualenv .venv with the project in it

# An editable install: only a change of pyproject.toml needs another one.
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

demo: setup ## Run it all here: broker, synthetic company, worker, table
	$(BIN)/vitals demo $(ARGS)

# Tests without a broker on all cores; then tests with one, which mostly wait, and tests with a browser, three files at a
# time. `pytest` alone runs all of them in one process. Status 5: ARGS select none of them.
test: system setup check ## Everything CI runs: check, then tests, with a real Kafka and browser
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal tests/unit tests/property tests/golden tests/bench $(ARGS) || [ $$? -eq 5 ]
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile tests/broker tests/faults $(ARGS) || [ $$? -eq 5 ]
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile tests/browser $(ARGS) || [ $$? -eq 5 ]

search: setup ## Look for new failures of the properties, by other examples each time
	HYPOTHESIS_PROFILE=search $(BIN)/python -m pytest --numprocesses auto --dist worksteal tests/property $(ARGS)

check: setup docs ## Format, lint, types, layers and the documentation site
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Strict: a broken link, or a page that the navigation does not name, is an error; --quiet would switch that off. The
# variable silences an advertisement.
docs: setup ## Build the documentation site into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The benchmark compiles its rival, which wants a whole JDK.
bench: PARTS += javac=default-jdk-headless
bench: system setup ## Measure speed (minutes; leave the machine alone)
	$(BIN)/python -m tests.bench $(ARGS)

# An empty -m runs the quick faults of CI too, so that the table is whole.
faults: system setup ## Inject every fault, the long ones too (some 20 minutes)
	$(BIN)/python -m pytest -m "" --numprocesses 3 --dist loadfile tests/faults tests/broker $(ARGS)

system: export LOOK_FOR_PARTS := $(LOOK_FOR_PARTS)
system: ## Look for java, chromium, redis and others (root: install them)
	@PARTS="$(PARTS)" $(SHELL) -eu -o pipefail -c "$$LOOK_FOR_PARTS"

clean: ## Remove all that make and the tests have made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .cache
	find agents schemas stream tests deploy -depth -type d -name __pycache__ -exec rm -rf {} +
