# Two commands for a newcomer: `make demo` and `make test`. Each makes .venv if it is missing.
PYTHON ?= python3
# What `make test` installs beside the program; `make test EXTRAS=dev,train` adds torch, and with
# it the tests of training, which are skipped otherwise.
EXTRAS ?= dev
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
comma := ,
DEV := $(VENV)/installed-$(subst $(comma),-,$(EXTRAS))

.PHONY: help demo test check-python check-map map bench proof constraints clean
help:
	@echo "make demo   scan a synthetic scene with known mines, and show where the map is"
	@echo "make test   style, types, layers and tests"
	@echo "make map    the map of \`sluice serve\`; a wheel has it inside"
	@echo "make bench  speed and memory, one table from one run"
	@echo "make proof  accuracy with intervals; takes an hour and a quarter"

$(VENV)/made:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25"
	touch $@

$(VENV)/installed: $(VENV)/made pyproject.toml constraints.txt
	$(PIP) -e .
	touch $@

$(DEV): $(VENV)/made pyproject.toml constraints.txt
	$(PIP) -e ".[$(EXTRAS)]"
	touch $@ $(VENV)/installed

demo: $(VENV)/installed
	$(BIN)/sluice demo --out demo --overwrite

# The tests start Python a hundred times, and each would compile the program anew.
test: export PYTHONDONTWRITEBYTECODE =
test: $(DEV)
	$(MAKE) --jobs=2 check-python check-map
	$(BIN)/pytest --numprocesses=auto --dist=worksteal

# mypy takes one core for a minute; the map's packages are fetched and built beside it.
check-python: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check-map: map
	$(BIN)/python web/build_map.py --types

# Needs npm's packages once; nothing is done where the map is up to date.
map: $(DEV)
	$(BIN)/python web/build_map.py

bench: $(DEV)
	$(PIP) -e ".[$(EXTRAS),bench]"
	$(BIN)/python -m bench

# Some sections train, so torch is needed.
proof: $(DEV)
	$(PIP) -e ".[$(EXTRAS),train]"
	$(BIN)/python -m proof

# Versions that were tested together; no addresses, no local version parts.
constraints:
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu//' > constraints.txt

clean:
	rm -rf $(VENV) demo
