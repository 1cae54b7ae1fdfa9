# make install   a virtual environment in .venv with frcnn and its development tools
# make fast      the tests that take no time each
# make check     lint, format check and types
# make test      both, and all that trains, exports or builds; what CI runs
# make conformance   every variant of every backbone, and every benchmark on something small
# make costs     make test's tests, and a table of where their time and memory went
# make coverage  the lines that no test runs
# make horovod   Horovod for several processes; its wheel is built once, which takes minutes
# make bench     training timed stage by stage and in processes, and inference (some 50 minutes)
# make demo      draw street scenes, train on them, evaluate, detect, export

VENV   := .venv
PYTHON ?=
export TF_CPP_MIN_LOG_LEVEL ?= 2
# Compiled modules are kept, whatever the environment says: without, each worker compiles the tests
# and the core anew, and each command of the tests the core.
unexport PYTHONDONTWRITEBYTECODE

# The first Python that TensorFlow has wheels for and that can make virtual environments
# (Debian and Ubuntu ship the latter apart, as python3-venv).  PYTHON=... is tried first.
SUITABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
find_python = for p in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
	  if $$p -c '$(SUITABLE)' 2>/dev/null; then echo $$p; exit; fi; done

# Each demo has a folder of its own: nothing of an earlier one is touched.
RUN := $(shell n=1; while [ -e demo/run-$$n ]; do n=$$((n + 1)); done; echo demo/run-$$n)
FRCNN := $(VENV)/bin/frcnn

# Files go to the processes in the order of their names.  Left alone, xdist begins with those of
# most tests, so that the trainings come last and one of them keeps a single process busy.
PYTEST := $(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: install horovod test check fast conformance costs coverage bench demo python

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

horovod: install
	$(VENV)/bin/python .ci/horovod

test: check
	@$(VENV)/bin/python .ci/horovod || printf '\n%s\n' \
	  '*** No Horovod: the tests of several processes will be SKIPPED. See above. ***' '' >&2
	$(PYTEST) -m 'not conformance'

check: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

fast: install
	$(PYTEST) -m 'not slow and not conformance'

conformance: install
	$(PYTEST) -m conformance

costs: install
	PYTHONPATH=tests $(PYTEST) -p suite_costs -m 'not conformance'

coverage: install
	$(PYTEST) -m 'not conformance' --cov --cov-report=term-missing:skip-covered

bench: install
	$(VENV)/bin/python -m benchmarks

demo: install
	$(FRCNN) sample_data $(RUN)
	$(FRCNN) dataset_convert -d $(RUN)/dataset_spec.txt -o $(RUN)/tfrecords/street
	$(FRCNN) train -e $(RUN)/train_spec.txt -r $(RUN)/results
	model=$$(ls -t $(RUN)/results/*.tlt | head -n 1); \
	$(FRCNN) evaluate -e $(RUN)/train_spec.txt -m $$model -r $(RUN)/results && \
	$(FRCNN) inference -e $(RUN)/train_spec.txt -m $$model && \
	$(FRCNN) export saved_model -e $(RUN)/train_spec.txt -m $$model -o $(RUN)/saved_model
	@echo
	@echo "Pictures of what was found in scenes never trained on: $(RUN)/detected/images"
	@echo "Checkpoints: $(RUN)/results    SavedModel: $(RUN)/saved_model"
