# Every command a newcomer or CI needs. `make demo` and `make test` set themselves up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEEDS ?= 2000
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint sim chaos chaos-smoke bench servers setup clean

setup: $(VENV)/.dev

$(VENV)/.run: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -e .
	touch $@

$(VENV)/.dev: pyproject.toml requirements-dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c requirements-dev.txt -e '.[dev]'
	touch $(VENV)/.run $@

demo: $(VENV)/.run
	@$(BIN)/python -m demo

servers: $(VENV)/.dev
	$(BIN)/python -m testbed fetch

# Real servers: unpacked into .cache from Debian packages, or found on PATH; validators of what is deployed: installed there, too.
# Where they cannot be had their tests are skipped, loudly; in CI that is a failure.
test: $(VENV)/.dev
	$(BIN)/python -m testbed fetch || test -z "$$CI"
	$(BIN)/python -m tests.deploy.tools || test -z "$$CI"
	$(BIN)/python -m pytest -n 4 --dist loadgroup

sim: $(VENV)/.dev
	$(BIN)/python -m tests.sim --seeds $(SEEDS)

# Every scenario on every store, one after the other: half an hour. Reports in chaos-runs/.
chaos: $(VENV)/.dev
	$(BIN)/python -m testbed fetch
	$(BIN)/python -m chaos run --all

# What runs at every change, on every store: six minutes at most. The last one needs no privileges at all.
chaos-smoke: $(VENV)/.dev
	$(BIN)/python -m testbed fetch
	$(BIN)/python -m chaos run --smoke --jobs 3
	$(BIN)/python -m chaos run partition-leader --store etcd --substrate proxy

bench: $(VENV)/.dev
	$(BIN)/python -m testbed fetch
	$(BIN)/python -m bench

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
