# make demo: the first thing to run.  make test: what CI runs.
# PYTHON chooses the interpreter that the environment is made with (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test test-slow check bench wheel clean

demo: $(READY)
	$(BIN)/umlite demo -o demo --overwrite

test: $(READY) check
	$(BIN)/pytest -n 2 --dist worksteal

test-slow: $(READY)
	$(BIN)/pytest -m slow -s

bench: $(READY)
	$(BIN)/python -m bench.forward | tee bench.log
	$(BIN)/python -m bench.table < bench.log

# One wheel per platform with compiled kernels, into dist/; needs some minutes.
wheel: $(READY)
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet --disable-pip-version-check --editable '.[wheel]'
	$(BIN)/python -m recipes.wheels
	$(BIN)/pytest -m 'slow or not slow' tests/recipes/test_wheels.py

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror umlite/*/source/*.[ch]

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $(READY)

clean:
	rm -rf .venv demo
