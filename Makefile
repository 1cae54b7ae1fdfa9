# make install   a virtual environment in .venv with frcnn and its development tools
# make test      lint, format check and every test
# make fast      the tests that neither train nor build anything large
# make demo      draw street scenes, train on them, evaluate, detect, export

VENV   := .venv
PYTHON ?=
export TF_CPP_MIN_LOG_LEVEL ?= 2

# The first Python that TensorFlow has wheels for and that can make virtual environments
# (Debian and Ubuntu ship the latter apart, as python3-venv).  PYTHON=... is tried first.
SUITABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
find_python = for p in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
	  if $$p -c '$(SUITABLE)' 2>/dev/null; then echo $$p; exit; fi; done

.PHONY: install test fast demo python

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	@test -x $(VENV)/bin/python || { \
	  python=$$($(MAKE) -s --no-print-directory python) && $$python -m venv $(VENV); }
	$(VENV)/bin/python -m pip install --disable-pip-version-check -e '.[dev]'
	@touch $@

# Prints which Python `make install` takes.
python:
	@found=$$($(find_python)); if [ -n "$$found" ]; then echo $$found; else \
	  echo "frcnn needs Python 3.11, 3.12 or 3.13 with venv. On Debian or Ubuntu:" >&2; \
	  echo "    sudo apt-get install python3 python3-venv" >&2; \
	  echo "or name one: make install PYTHON=/path/to/python3.12" >&2; exit 1; fi

test: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/python -m pytest

fast: install
	$(VENV)/bin/python -m pytest -m 'not slow'
