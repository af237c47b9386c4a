# The README's commands. Each makes its virtual environment where that is missing; a second run installs nothing.
# Paths are relative, so that the folder's own path may hold spaces.

VENV ?= .venv
PYTHON ?= python3.11 python3.12 python3.13 python3
RUN := "$(VENV)/bin/python" -m
INSTALL := $(RUN) pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test slow lint bench
.DELETE_ON_ERROR:

demo: $(VENV)/installed
	"$(VENV)/bin/medvqa" demo

test: $(VENV)/installed-dev
	HF_HUB_OFFLINE=1 $(RUN) pytest -n 2 -m "not slow"

slow: $(VENV)/installed-dev
	HF_HUB_OFFLINE=1 $(RUN) pytest -m slow

lint: $(VENV)/installed-dev
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) pyright --pythonpath "$(VENV)/bin/python"
	"$(VENV)/bin/lint-imports" --no-logo

bench: $(VENV)/installed
	set -e; for file in benchmarks/*.py; do "$(VENV)/bin/python" "$$file"; done

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing medvqa into $(VENV): minutes the first time, for PyTorch is large."
	$(RUN) pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(INSTALL) --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(INSTALL) --group dev
	@touch $@

$(VENV)/bin/python:
	@for python in $(PYTHON); do \
		if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then \
			exec "$$python" -m venv "$(VENV)"; \
		fi; \
	done; \
	echo "medvqa needs Python 3.11, 3.12 or 3.13; install one, or name it: make PYTHON=/path/to/python3.12" >&2; \
	exit 1
