# Each target makes what it needs: the first one the virtual environment, "make test" also the packages for Node.

# The system's own, where it will do: a distribution builds its Python with optimizations, and all that runs in it takes a
# tenth to a fifth less time than in one that was compiled as it comes (docs/performance.md). Another: make PYTHON=python3.12
will_do = $(findstring True,$(shell $(1) -c 'import sys, ensurepip; print(sys.hexversion >= 0x030B0000)' 2>/dev/null))
ifndef PYTHON
PYTHON := $(if $(call will_do,/usr/bin/python3),/usr/bin/python3,python3)
endif
# Tests wait more than they compute, so there are more at once than a small machine has cores. A file's tests stay together,
# and the files come in the order of tests/conftest.py.
side_by_side := -n 5 --dist loadfile --no-loadscope-reorder
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# What is compiled is kept: the tests start some two hundred processes, and each would compile all of it anew.
export PYTHONDONTWRITEBYTECODE =
# Never into anybody's own Python, whatever befalls the environment.
export PIP_REQUIRE_VIRTUALENV = 1

installed := .venv/installed
developing := .venv/developing
node_packages := tests/node/node_modules/.package-lock.json

# $(call need,what Python must find true,what to do where it does not)
need = $(if $(filter True,$(shell $(PYTHON) -c '$(1)' 2>/dev/null)),,$(error $(2)))

.PHONY: help demo test quick torture lint bench bench-quick screenshots messages coverage clean

help:
	@echo "make demo          a server with a small family in it, to look at in a browser"
	@echo "make test          all tests        make quick       those for every save, under 20 s"
	@echo "make lint          ruff and mypy    make coverage    which lines the tests reach"
	@echo "make torture       the tests of reliability and security at their full size"
	@echo "make bench         against its peers, in all rounds    make bench-quick   in two minutes"
	@echo "make screenshots   the pictures of the docs            make messages      the translations"
	@echo "make clean         away with all that make has made"

demo: $(installed)
	@.venv/bin/python -m liveguard demo

test: $(developing) $(node_packages)
	.venv/bin/python -m pytest $(side_by_side)

quick: $(developing)
	.venv/bin/python -m pytest -n 3 --dist worksteal -m "not slow and not node" --ignore=tests/browser

torture: $(developing) $(node_packages)
	.venv/bin/python -m pytest --torture

lint: $(developing)
	.venv/bin/ruff check .
	.venv/bin/mypy --strict liveguard/

bench: $(developing)
	.venv/bin/python benchmarks/run.py

bench-quick: $(developing)
	.venv/bin/python benchmarks/run.py --quick

screenshots: $(developing)
	.venv/bin/python docs/screenshots.py

messages: $(developing)
	.venv/bin/pybabel -q extract -F babel.cfg --no-location --omit-header -o liveguard/locale/messages.pot .
	.venv/bin/pybabel -q update -i liveguard/locale/messages.pot -d liveguard/locale --no-fuzzy-matching --ignore-obsolete
	.venv/bin/pybabel -q compile -d liveguard/locale

coverage: $(developing) $(node_packages)
	.venv/bin/coverage run -m pytest
	.venv/bin/coverage combine --quiet
	.venv/bin/coverage report

clean:
	rm -rf .venv build dist *.egg-info .coverage* htmlcov tests/node/node_modules benchmarks/node_modules benchmarks/build
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find liveguard tests benchmarks docs -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

$(installed): setup.cfg pyproject.toml
	$(call need,print(True),$(PYTHON) is missing: apt-get install python3 python3-venv)
	$(call need,import sys; print(sys.hexversion >= 0x030B0000),$(PYTHON) is older than Python 3.11: try "make demo PYTHON=python3.12")
	$(call need,import ensurepip; print(True),$(PYTHON) cannot make virtual environments: apt-get install python3-venv)
	$(PYTHON) -m venv --clear .venv
	.venv/bin/pip install --quiet --editable .
	@touch $@

$(developing): $(installed)
	.venv/bin/pip install --quiet --editable '.[speed,test,dev]'
	@touch $@

# Without npm there is nothing to do here: pytest says which tests it leaves out and why.
$(node_packages): tests/node/package.json tests/node/package-lock.json
	@if command -v npm >/dev/null; then cd tests/node && npm ci --no-audit --no-fund --loglevel=error; fi
	@if command -v npm >/dev/null; then touch $@; fi
