# `make demo` and `make test` need Python 3.11 or newer, make, and nothing else: they set up .venv by themselves.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
BLOCKSKIM := $(VENV)/bin/blockskim
PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Stamps: an environment is set up again only when one of these two files is newer.
REQUIREMENTS := pyproject.toml constraints.txt
BASE := $(VENV)/.ready-base
TORCH := $(VENV)/.ready-torch
DEV := $(VENV)/.ready-dev
# An environment of its own without PyTorch, in which answering must work as well.
LIGHT_VENV := .venv-light
LIGHT := $(LIGHT_VENV)/.ready
# The frameworks that have an adapter, and Ray, which bring much: apart from everything else.
FRAMEWORKS_VENV := .venv-integrations
FRAMEWORKS := $(FRAMEWORKS_VENV)/.ready
# The oldest versions of everything that is allowed.
LOWEST_VENV := .venv-lowest
LOWEST := $(LOWEST_VENV)/.ready
# What builds the site; it reads the sources and needs nothing of the package installed.
DOCS_VENV := .venv-docs
DOCS := $(DOCS_VENV)/.ready

# Test processes side by side; `make test PYTEST_WORKERS=0` runs in one.
PYTEST_WORKERS ?= 2
PYTEST_ARGS ?=

# Test processes start many others: what one of them has compiled the others read.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo setup test test-light test-torch test-thorough test-integrations test-lowest coverage lint format docs reference bench results clean distclean

help:
	@echo 'make demo    answer three questions over examples/demo.txt with the shipped model'
	@echo 'make test    lint, types and tests, with PyTorch and without, in minutes: few examples of each property'
	@echo 'make test-thorough  what is slow and many examples of each property, beside make test'
	@echo 'make test-integrations  tests of the adapters, with Haystack, LangChain and LlamaIndex, and of Ray'
	@echo 'make test-lowest  the tests with the oldest versions of all packages that are allowed'
	@echo 'make coverage  branch coverage of the fast tests, 92 % at least'
	@echo 'make lint    lint and types only'
	@echo 'make format  let ruff rewrite what it can'
	@echo 'make docs    build the site into .site/html; a link that leads nowhere fails'
	@echo 'make reference  write docs/reference and the drawings of the docs anew'
	@echo 'make bench   time skimming against dense baselines'
	@echo 'make results  measure every figure of the docs anew (DATA=folder)'
	@echo 'make setup   the environment for development, in $(VENV)'
	@echo 'make clean   remove caches and build products; make distclean removes the environments, too'

demo: $(BASE)
	@$(BLOCKSKIM) answer \
	  -q 'Who built the third Eddystone lighthouse?' \
	  -q 'When did Voyager 1 leave Cape Canaveral?' \
	  -q 'How many sea otters were left when the hunt ended?' \
	  -f examples/demo.txt

setup: $(DEV)

# Every property is tried, with few examples; what takes seconds a test waits for test-thorough. Types are checked on one
# core, so something runs beside that.
test:
	$(MAKE) --jobs=2 lint test-light
	$(MAKE) test-torch

# Tests that import PyTorch or transformers are left out by tests/conftest.py.
test-light: $(LIGHT)
	HYPOTHESIS_PROFILE=few $(LIGHT_VENV)/bin/python -m pytest -n $(PYTEST_WORKERS) --dist worksteal -m 'not slow' $(PYTEST_ARGS)

# The others.
test-torch: $(DEV)
	HYPOTHESIS_PROFILE=few $(PY) -m pytest -n $(PYTEST_WORKERS) --dist worksteal -m 'not slow' --with-torch $(PYTEST_ARGS)

test-thorough: $(LIGHT) $(DEV)
	HYPOTHESIS_PROFILE=few $(LIGHT_VENV)/bin/python -m pytest -n $(PYTEST_WORKERS) --dist worksteal -m slow $(PYTEST_ARGS)
	$(PY) -m pytest -n $(PYTEST_WORKERS) --dist worksteal -m 'slow or hypothesis' $(PYTEST_ARGS)

# Adapters in the real frameworks, and bulk runs on a cluster of Ray, with the model that ships.
test-integrations: $(FRAMEWORKS)
	HYPOTHESIS_PROFILE=few $(FRAMEWORKS_VENV)/bin/python -m pytest tests/integrations tests/scaling/test_ray.py tests/docs/test_how_to.py $(PYTEST_ARGS)

test-lowest: $(LOWEST)
	HYPOTHESIS_PROFILE=few $(LOWEST_VENV)/bin/python -m pytest -n $(PYTEST_WORKERS) --dist worksteal -m 'not slow' $(PYTEST_ARGS)

# Without the tests of end-to-end runs, which cover little that others don't.
coverage: $(DEV)
	rm -f .coverage .coverage.*
	HYPOTHESIS_PROFILE=few $(PY) -m pytest -n $(PYTEST_WORKERS) --dist worksteal -m 'not slow' \
	  --cov --cov-report=term:skip-covered --cov-report=xml $(PYTEST_ARGS)

lint: $(DEV)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(DEV)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs: $(DOCS)
	$(DOCS_VENV)/bin/python scripts/site_pages.py
	$(DOCS_VENV)/bin/zensical build --clean --strict

reference: $(DEV)
	$(PY) scripts/reference.py
	$(PY) scripts/draw_page.py
	$(PY) scripts/draw_front.py

# Every figure of the docs, measured anew: DATA is a folder of evaluation sets, ONLY picks parts, those on request among
# them, AGAIN=1 repeats them.
DATA ?= data
ONLY ?=
results: $(DEV)
	$(PY) benchmarks/results.py --data-folder '$(DATA)' $(if $(ONLY),--only $(foreach part,$(ONLY),'$(part)')) $(if $(AGAIN),--again)
	$(PY) benchmarks/draw_results.py
	$(PY) benchmarks/fill_tables.py

bench: $(TORCH)
	$(BLOCKSKIM) benchmark --shape bert-base --length 512 --keep 3:0.5,6:0.25,9:0.125 \
	  --batch-size 1,16 --against dense-sdpa,aligned

clean:
	rm -rf build dist .site .coverage coverage.xml .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) $(LIGHT_VENV) $(FRAMEWORKS_VENV) $(LOWEST_VENV) $(DOCS_VENV)

$(BASE): $(REQUIREMENTS)
	@$(call make-venv,$(VENV))
	@echo 'Installing blockskim into $(VENV) ...'
	@$(PIP_INSTALL) --editable .
	@touch $@

$(TORCH): $(REQUIREMENTS)
	@$(call make-venv,$(VENV))
	@echo 'Installing blockskim with PyTorch into $(VENV) (a few minutes the first time) ...'
	@$(PIP_INSTALL) --editable '.[torch]'
	@touch $(BASE) $@

$(DEV): $(REQUIREMENTS)
	@$(call make-venv,$(VENV))
	@echo 'Installing blockskim and its development tools into $(VENV) (a few minutes the first time) ...'
	@$(PIP_INSTALL) --editable '.[train,calibrate,export,plot,bulk,dev]'
	@touch $(BASE) $(TORCH) $@

$(LIGHT): $(REQUIREMENTS)
	@$(call make-venv,$(LIGHT_VENV))
	@echo 'Installing blockskim without PyTorch into $(LIGHT_VENV) ...'
	@$(LIGHT_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --editable '.[serve]' httpx hypothesis playwright pytest pytest-xdist
	@touch $@

$(FRAMEWORKS): $(REQUIREMENTS)
	@$(call make-venv,$(FRAMEWORKS_VENV))
	@echo 'Installing blockskim and the frameworks into $(FRAMEWORKS_VENV) ...'
	@$(FRAMEWORKS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --editable '.[haystack,langchain,llama-index,ray]' hypothesis pytest
	@touch $@

$(LOWEST): $(REQUIREMENTS) constraints-lowest.txt
	@$(call make-venv,$(LOWEST_VENV))
	@echo 'Installing blockskim and the oldest packages that it allows into $(LOWEST_VENV) ...'
	@$(LOWEST_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-lowest.txt \
	  --editable '.[train,calibrate,export,plot,bulk,serve]' httpx hypothesis pytest pytest-xdist
	@touch $@

$(DOCS): $(REQUIREMENTS)
	@$(call make-venv,$(DOCS_VENV))
	@echo 'Installing what builds the site into $(DOCS_VENV) ...'
	@$(DOCS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  mkdocstrings-python zensical
	@touch $@

# Makes a virtual environment unless a working one is there, and says what is missing when it can't.
define make-venv
if ! $(1)/bin/python -m pip --version >/dev/null 2>&1; then \
  command -v '$(PYTHON)' >/dev/null 2>&1 || { \
    echo "No '$(PYTHON)' found: install Python 3.11 or newer, or name one with 'make PYTHON=/path/to/python3'." >&2; \
    exit 1; }; \
  '$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
    echo "$$('$(PYTHON)' --version 2>&1) is too old: blockskim needs Python 3.11 or newer." \
      "Name one with 'make PYTHON=/path/to/python3'." >&2; \
    exit 1; }; \
  '$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || { \
    echo "$$('$(PYTHON)' --version 2>&1) lacks its venv module: install it" \
      "(on Debian and Ubuntu: apt install python3-venv)." >&2; \
    exit 1; }; \
  echo "Making $(1) with $$('$(PYTHON)' --version 2>&1) ..."; \
  '$(PYTHON)' -m venv --clear $(1); \
fi
endef
