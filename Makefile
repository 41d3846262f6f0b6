# Start with `make report` and `make test`; `make help` lists all targets.

PYTHON ?= python3
VENV := .venv
# Stages call `pipeline` and `dvc` by name, so the environment must be first in PATH.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := true

# A .venv that is a link belongs to another checkout, so nothing is installed into it.
LINKED := $(shell readlink $(VENV))
INSTALLED := $(if $(LINKED),linked-venv,$(VENV)/installed)
INSTALLED_TEST := $(if $(LINKED),linked-venv,$(VENV)/installed-test)
INSTALLED_TEST_ALL := $(if $(LINKED),linked-venv,$(VENV)/installed-test-all)
INSTALLED_BENCH := $(if $(LINKED),linked-venv,$(VENV)/installed-bench)

.DEFAULT_GOAL := help
.PHONY: help install install-test-all report studies ui test test-fast test-pythons test-slow check reference bench constraints clean linked-venv

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## *' '{printf "  make %-16s %s\n", $$1, $$2}'

# SET=skip selects the study of params/skip.yaml, which has its own folder; DATA=photos is the folder of its images. Recipes
# read both from quoted environment variables, because paths may contain spaces and special characters.
export FOLDER := $(if $(SET),studies/$(SET),.)
LINK = python -c 'import pathlib, sys; print(pathlib.Path(sys.argv[1]).absolute().as_uri())'
$(if $(DATA),$(if $(SET),,$(error DATA=$(DATA) requires SET; for the project itself, set data.path in params.yaml)))

report: $(INSTALLED) .dvc/ready  ## Train the stale runs of the grid, compare them, render the report; SET=skip for a study
	@$(if $(SET),pipeline study "$$SET" $(if $(DATA),--data "$$DATA"))
	@cd "$$FOLDER" && pipeline sweep --report || { \
		case $$? in 130|143) ;; \
			*) pipeline failure >/dev/null && echo "What failed, and why: $$($(LINK) reports/failure.html)";; \
		esac; exit 1; }  # 130 and 143: stopped by Ctrl-C or SIGTERM
	@cd "$$FOLDER" && pipeline sync || true  # sync reports an unreachable server itself; the report is complete
	@echo "The report: $$($(LINK) "$$FOLDER/reports/learning-report.html")"

studies: $(INSTALLED)  ## List the available studies
	@pipeline study

PORT ?= 5000
ui: $(INSTALLED)  ## Browse the runs in MLflow; SET=skip for a study's, PORT=5001 for another port
	@test -d "$$FOLDER" || { echo "There is no folder $$FOLDER yet. Run make report SET=$$SET first."; exit 1; }
	@cd "$$FOLDER" && pipeline ui --port $(PORT)

# Tests of a file share slow fixtures, so a file stays in one process; without reordering, the long files start early. One
# thread per process, because two processes that use all cores are many times slower. Bytecode is kept, because the tests
# start many processes.
PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
test: $(INSTALLED_TEST)  ## All tests that take seconds, and the whole pipeline end to end
	@$(PYTEST) -m "not slow"

# Packages whose tests start no browser, server or other process, and train nothing.
FAST := analysis compare curve_readers data imaging inference judge lr_find params variants
test-fast: $(INSTALLED_TEST)  ## Unit tests, about a minute
	@$(PYTEST) -m "not slow and not process" $(FAST:%=tests/%)

# Each version has its own environment, .venv-3.12 and so on, of about 7 GB.
PYTHONS ?= 3.11 3.12 3.13
test-pythons:  ## Unit tests and imports with each version of Python in PYTHONS
	@set -e; for version in $(PYTHONS); do echo "Python $$version"; \
		$(MAKE) --no-print-directory test-fast FAST="$(FAST) test_imports.py" PYTHON="python$$version" VENV=".venv-$$version"; done

test-slow: $(INSTALLED_TEST)  ## Tests that take minutes
	@python -m pytest -m slow

check: $(INSTALLED_TEST)  ## Style and types, as in the commit hook and CI
	@ruff check .
	@ruff format --check .
	@mypy

reference: $(INSTALLED)  ## Write the generated pages of docs/reference/ and the figure of the schedulers
	@PYTHONPATH=. python docs/generate/reference.py
	@PYTHONPATH=. python docs/generate/lr_schedulers.py

bench: $(INSTALLED_BENCH) data/prepared  ## Training speed, compared with other trainers, and its profile
	@python -m benchmarks.throughput
	@python -m benchmarks.step_profile
	@python -m benchmarks.step_profile --batch 4 --size 96 unet16 lite0
	@python -m benchmarks.convolutions
	@python -m benchmarks.dataloader
	@python -m benchmarks.inference
	@python -m benchmarks.epoch_budget
	@python -m benchmarks.epoch_budget --latency 0.05
	@python -m benchmarks.start_up
	@python -m benchmarks.precision
	@python -m benchmarks.memory

data/prepared: | $(INSTALLED) .dvc/ready
	@dvc repro --quiet prepare

# pip reads its options from the environment, and make passes variables of the command line to it.
install: $(INSTALLED)  ## Create .venv with the locked dependencies; PIP_EXTRA_INDEX_URL=... for PyTorch's CPU build

install-test-all: $(INSTALLED_TEST_ALL)  ## Also install the packages that only a few tests need, so that none is skipped

# All extras are resolved together, so that tests run with the versions that users install; then the result is split. uv
# keeps locked versions that still fit.
COMPILE = "$$folder/bin/uv" pip compile --quiet --no-header --no-annotate --python-version 3.11 pyproject.toml
constraints:  ## Lock all versions; to upgrade them, delete constraints.txt and constraints-test.txt first
	@set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(PYTHON) -m venv "$$folder"; "$$folder/bin/pip" install --quiet uv; \
	cat constraints*.txt > "$$folder/all.txt" 2>/dev/null || true; \
	$(COMPILE) --all-extras --output-file "$$folder/all.txt"; \
	$(COMPILE) --extra bioimageio --extra excel --extra geo --extra ray --extra volumes --constraint "$$folder/all.txt" --output-file "$$folder/run.txt"; \
	{ echo "# Written by make constraints: the dependencies of users."; cat "$$folder/run.txt"; } > constraints.txt; \
	{ echo "# Written by make constraints: the additional dependencies of tests and benchmarks."; \
		grep --invert-match --line-regexp --fixed-strings --file "$$folder/run.txt" "$$folder/all.txt"; } > constraints-test.txt

clean:  ## Remove all runs, results and reports; .venv and DVC's cache remain
	rm -rf runs evaluation comparison showcase_predictions ensemble data/prepared reports/*.html metrics.json dvc.lock studies mlflow.db mlruns .cache

# A linked environment imports the other checkout's `pipeline` unless PYTHONPATH is this folder.
linked-venv:
	@cd / && python -c 'import os, pipeline, sys; \
		sys.exit(not os.path.samefile(os.path.dirname(pipeline.__path__[0]), sys.argv[1]))' "$$OLDPWD" 2>/dev/null || { \
		echo "$(VENV) is a link to $$(readlink "$$OLDPWD/$(VENV)"), an environment without this folder's code. Nothing is installed" \
			"into it. Remove the link (rm $(VENV)) and make creates an environment here; or use the linked one with" \
			"this folder's code: export PYTHONPATH=\"\$$PWD\"" >&2; exit 1; }

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11.4 or newer is needed; try make PYTHON=python3.11" if sys.version_info < (3, 11, 4) else 0)'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing the locked versions into $(VENV); this takes some minutes and up to 7 GB"
	@python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/installed-test: constraints-test.txt $(VENV)/installed
	@echo "Installing the test dependencies into $(VENV)"
	@python -m pip install --quiet --constraint constraints.txt --constraint constraints-test.txt --editable '.[test]'
	@touch $@

$(VENV)/installed-test-all: constraints-test.txt $(VENV)/installed
	@echo "Installing the test dependencies and the packages of single tests into $(VENV)"
	@python -m pip install --quiet --constraint constraints.txt --constraint constraints-test.txt --editable '.[test-all]'
	@touch $(VENV)/installed-test $@

$(VENV)/installed-bench: constraints-test.txt $(VENV)/installed
	@echo "Installing other trainers for comparison into $(VENV)"
	@python -m pip install --quiet --constraint constraints.txt --constraint constraints-test.txt --editable '.[bench]'
	@touch $@

# DVC requires a git repository unless no_scm is set. An unpacked archive has none; git ignores the file with the setting.
.dvc/ready: | $(INSTALLED)
	@git rev-parse --is-inside-work-tree >/dev/null 2>&1 || dvc config --local core.no_scm true
	@touch $@
