# `make figures`, `make test` and `make lab` need nothing but Python 3.11+ and make.
PYTHON ?= python3
UV := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal \
	--nbmake --nbmake-timeout 900 --durations 10 notebooks tests

.PHONY: figures test long check lab docs lint lock clean

figures: $(READY)
	$(BIN)/skviz figures

# One of each kind: of notebooks, of views in a browser, of networks with many units, of killed studies.
test: $(READY) lint
	$(PYTEST) -m "not long"

# All the others of these kinds.
long: $(READY)
	$(PYTEST) -m long

# What takes hours: the wheel alone, hostile input, other processors, and whether tests notice a wrong number.
check: $(READY) long
	$(BIN)/python -m tests.release
	$(BIN)/python -m tests.fuzz
	HYPOTHESIS_PROFILE=wide $(BIN)/pytest tests/test_anything.py
	$(BIN)/python benchmarks/watched.py
	$(BIN)/python -m tests.processors
	$(BIN)/python -m tests.mutations

lab: $(READY)
	$(BIN)/jupyter lab notebooks/01_sk_unit.ipynb

# The site, with the page that has the network in it: docs/_build/html/index.html.
docs: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build --fail-on-warning --keep-going docs docs/_build/html

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The lock names versions and hashes, never an index: uv asks whichever one is configured.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "skviz needs Python 3.11 or newer; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-build-isolation --no-deps --editable .
	touch $@

lock: $(READY)
	$(BIN)/uv pip compile --universal --generate-hashes --no-header --no-emit-index-url \
		--python-version 3.11 --extra dev --extra data pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) figures build dist docs/_build
