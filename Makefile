# One word each. `make run` and `make test` work as the first command on a machine with python3 and make.
PYTHON ?= $(shell bench/quickest-python)
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: setup run test lint bench simulate soak fuzz docs deb clean

setup: $(VENV)/.program

run: setup
	$(BIN)/twistd -n --pidfile= mta start --config etc/mta.yml

# Hundreds of processes are started from the same files, which are compiled once, whatever the environment says.
test soak: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/.tests
	tests/install-peers
	$(BIN)/python -m pytest -n auto $(ARGS)

# SEEDS lives of a relay, from seed FIRST on, in a process for each core.
SEEDS ?= 1000
FIRST ?= 0
simulate: $(VENV)/.tests
	cd tests/simulation && ../../$(BIN)/python -m simulated.lives.harvest --seeds $(SEEDS) --first $(FIRST)

soak: $(VENV)/.tests
	tests/install-peers --soak
	$(BIN)/python -m pytest -m soak $(ARGS)

MINUTES ?= 10
fuzz: $(VENV)/.fuzz
	tests/fuzz/fuzz --minutes $(MINUTES) $(TARGETS)

lint: $(VENV)/.lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg

# What is made from the program: the reference of the configuration, its schema, and manual pages (in build/man).
docs: setup
	$(BIN)/python -m docs.generate

# A package for the Debian that is here (12 or 13), in dist. CONSTRAINTS=FILE has the versions of what it brings.
deb: setup
	$(BIN)/python debian/build.py $(if $(VERSION),--version $(VERSION)) $(if $(CONSTRAINTS),--constraints $(CONSTRAINTS))

bench: setup
	bench/run $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .fuzz .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

# compat: Twisted finds its plugins through a folder on sys.path, which the default editable install is not.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat

$(BIN)/python:
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null && export DEBIAN_FRONTEND=noninteractive && \
	  { apt-get install -y -qq python3-venv || { apt-get update -qq && apt-get install -y -qq python3-venv; }; } && \
	  $(PYTHON) -m venv $(VENV); } || \
	  { echo "make: Python's venv module is missing; install the package python3-venv" >&2; exit 1; }

$(VENV)/.program: $(BIN)/python setup.cfg
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.tests: $(VENV)/.program
	$(INSTALL) --editable '.[test]'
	@touch $@

$(VENV)/.fuzz: $(VENV)/.tests
	$(INSTALL) --editable '.[fuzz]'
	@touch $@

$(VENV)/.lint: $(VENV)/.program
	$(INSTALL) --editable '.[lint]'
	@touch $@
