# Every command a newcomer or CI needs. `make demo` and `make test` set themselves up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEEDS ?= 2000
SIMULATED := tests/conftest.py $(shell find leaderd chaos/checkers tests/sim -name '*.py' -o -name '*_seeds.txt')
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test simulation lint sim chaos chaos-smoke images images-smoke bench servers validators setup clean

setup: $(VENV)/.dev

$(VENV)/.run: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -e .
	touch $@

# In two steps, because pip checks the hash of everything or of nothing, and what lies here has none.
$(VENV)/.dev: pyproject.toml chaos/pyproject.toml requirements-dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --no-compile --require-hashes --only-binary :all: -r requirements-dev.txt
	$(BIN)/pip install -q --no-deps --no-build-isolation -e . -e ./chaos
	touch $(VENV)/.run $@

demo: $(VENV)/.run
	@$(BIN)/python -m demo

# Real servers: unpacked into .cache from Debian packages, or found on PATH.
servers: $(VENV)/.dev
	$(BIN)/python -m testbed fetch

# Of images, manifests and the like: from PyPI, in an environment of their own in .cache.
validators: $(VENV)/.dev
	$(BIN)/python -m tests.deploy.tools

# Where servers or validators cannot be had their tests are skipped, loudly; in CI that is a failure.
# The core's own tests go once more, for their coverage: every branch of it.
test: $(VENV)/.dev simulation
	$(BIN)/python -m testbed fetch || test -z "$$CI"
	$(BIN)/python -m tests.deploy.tools || test -z "$$CI"
	$(BIN)/python -m pytest -n 4 --dist loadgroup --ignore=tests/sim
	$(BIN)/coverage run --branch --source=leaderd/election -m pytest -q tests/election
	$(BIN)/coverage report --fail-under=100 --skip-covered

# It computes, where all other tests wait, and the same seeds find the same: again only when what it runs has changed.
simulation: $(VENV)/.simulation

$(VENV)/.simulation: $(VENV)/.dev $(SIMULATED)
	$(BIN)/python -m pytest -n 2 tests/sim
	touch $@

sim: $(VENV)/.dev
	$(BIN)/python -m tests.sim --seeds $(SEEDS)

# Every scenario on every store: two hours one after the other, less with JOBS=3. Reports in chaos-runs/, figures in the track record.
# RESUME=1 goes on where the last one was interrupted; OUT=DIR is another pass: `leaderd-chaos record DIR DIR` sums passes up.
JOBS ?= 1
OUT ?= chaos-runs
chaos: $(VENV)/.dev
	$(BIN)/python -m testbed fetch
	$(BIN)/leaderd-chaos run --all --jobs $(JOBS) --out $(OUT) $(if $(RESUME),--resume); code=$$?; \
	$(BIN)/leaderd-chaos record $(OUT); exit $$code

# What runs at every change, on every store: six minutes at most. Then a run without any privileges, and one that has to
# fail: what cannot see kazoo's two leaders would not see ours.
chaos-smoke: $(VENV)/.dev
	$(BIN)/python -m testbed fetch
	$(BIN)/leaderd-chaos run --smoke --jobs 3
	$(BIN)/leaderd-chaos run partition-leader --store etcd --substrate proxy
	$(BIN)/leaderd-chaos run partition-leader --subject kazoo-election --out chaos-runs/must-fail; test $$? -eq 1

# Both images and each compose file, built and put through their tests in a Docker engine of its own. Needs root and apt, no registry.
# Bills of materials are left in dist/.
images: $(VENV)/.dev
	$(BIN)/python -m tests.deploy.box

# What of that runs at every change. Where no engine can be (exit 69) it says so, and that is no failure; all else is.
images-smoke: $(VENV)/.dev
	$(BIN)/python -m tests.deploy.box --smoke || test $$? -eq 69

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
