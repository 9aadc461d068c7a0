# make demo    snapshots a process that hangs, and looks inside
# make test    runs the tests
# make check   runs everything that CI runs
# make man     makes the manual pages anew
# make bench   measures everything beside its peers, and writes benchmarks/RESULTS.md
# make screenshots    makes the pictures of the app anew, on real data
#
# Each sets up .venv, and installs missing Debian packages as root or with sudo (scripts/setup).
# PYTHON=python3.12 names another Python to make .venv with.

PYTHON ?= python3
export PYTHON

IN_VENV = .venv/bin/python -m
# On all processors; what is in one file shares what it starts, so it stays together.
PYTEST = $(IN_VENV) pytest -n auto --dist loadfile

.PHONY: help demo test check lint bench man screenshots clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo:
	@demo/run

test:
	@scripts/setup dev
	$(PYTEST)

check: lint
	$(PYTEST)

lint:
	@scripts/setup dev
	$(IN_VENV) ruff check .
	$(IN_VENV) ruff format --check .
	$(IN_VENV) mypy

bench:
	@scripts/setup dev bench
	.venv/bin/python benchmarks/run.py

man:
	@scripts/setup dev
	.venv/bin/python docs/manual.py man

screenshots:
	@scripts/setup dev pictures
	.venv/bin/python docs/screenshots.py screenshots

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
