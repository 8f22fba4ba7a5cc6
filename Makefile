# Everything a person types while working on preheat. Needs Python 3.11, a C compiler and a package index.
PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python
# Two files of tests at a time: most of them wait for processes and servers more than they compute.
PYTEST := $(RUN) -m pytest -n 2 --dist loadfile

.PHONY: help setup lock-dev translations check format test test-fast test-slow coverage wheel site release ci demo bench-pull bench-pull-slow bench-faults bench-lines bench-views bench-library bench-growth bench-mirror bench-tree bench-scale bench-containerd bench-build bench-registry bench-stores bench-import e2e-k8s guard bench-guard bench-limits bench-start bench-snapshots bench-snapshot-sizes bench-trace bench-trace-cost clean bench-prove bench-prove-cost bench-ways bench-fold docs-reports
help: ## say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: .venv/ready ## make .venv with the command at .venv/bin/preheat

# --no-build-isolation: what builds the package is pinned by the same file.
.venv/ready: pyproject.toml requirements-dev.txt
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --require-hashes --requirement requirements-dev.txt
	$(RUN) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

lock-dev: setup ## pin what developers need anew, with hashes, in requirements-dev.txt and requirements-docs.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --no-header --no-emit-index-url --all-extras --group dev --output-file requirements-dev.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --no-header --no-emit-index-url --group docs --output-file requirements-docs.txt

translations: setup ## put new messages into the catalogues in src/preheat/locale, and compile them
	@mkdir -p build
	PYTHONPATH=docs $(BIN)/pybabel --quiet extract --mapping pyproject.toml --no-location --sort-output --output build/preheat.pot src
	$(BIN)/pybabel --quiet update --domain preheat --input-file build/preheat.pot --output-dir src/preheat/locale \
	  --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date
	$(BIN)/pybabel --quiet compile --domain preheat --directory src/preheat/locale

check: setup ## format, lint, strict types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: setup ## put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: setup ## everything, in minutes
	$(PYTEST)

test-fast: setup ## the tests that take seconds
	$(PYTEST) -m "not slow"

test-slow: setup ## judges and matrices
	$(PYTEST) -m slow

coverage: setup ## the fast tests with their line coverage, which has a floor
	$(PYTEST) -m "not slow" --cov --cov-report=
	$(RUN) -m coverage report --skip-covered --sort=miss

wheel: setup ## the sdist, and the wheel from it, in dist/; looked into, and imported from an empty environment
	rm -rf dist
	$(RUN) -m hatchling build -t sdist -d dist
	$(RUN) -m pip wheel --quiet --no-deps --no-build-isolation --no-cache-dir --wheel-dir dist dist/preheat-*.tar.gz
	PREHEAT_DISTRIBUTIONS=$(CURDIR)/dist $(RUN) -m pytest --quiet tests/installed -k "every_file or importable and not pipx and not uv"

site: build/docs/ready ## the documents as a site in build/site, every link checked
	build/docs/bin/mkdocs build --quiet

build/docs/ready: requirements-docs.txt
	$(PYTHON) -m venv build/docs
	build/docs/bin/python -m pip install --quiet --require-hashes --requirement requirements-docs.txt
	@touch $@

release: wheel ## the same, and every verb run from copies that pip, pipx and uv install of it
	PREHEAT_DISTRIBUTIONS=$(CURDIR)/dist $(RUN) -m pytest tests/installed
	@ls -l dist

ci: ## what CI runs
	bash .ci/run

demo: setup ## a real speech WebUI: cold, pulled, preloaded, in one table (ONCE=1 ends by itself)
	$(RUN) examples/speech_webui/demo.py $(if $(ONCE),--once)

bench-pull: setup ## pull beside hf, modelscope, aria2c and curl, and the floor; 20 minutes, root for the long line
	$(RUN) -m benchmarks.bench_pull

bench-pull-slow: setup ## the same at 1 MB/s a connection, where each peer takes over eight minutes
	$(RUN) -m benchmarks.bench_pull --slow

bench-faults: setup ## what each client does with each fault of a hub
	$(RUN) -m benchmarks.faults

bench-lines: setup ## pull and its peers on 72 kinds of line, as root; BESIDE=5 slow ones at once, CELLS=8,20 only those of 8 Mbit/s and 20 ms, AGAIN=1 measured ones too
	$(RUN) -m benchmarks.bench_lines $(addprefix --cells ,$(CELLS)) $(addprefix --beside ,$(BESIDE)) $(if $(AGAIN),--again)

bench-views: setup ## how long placing 5 GB takes, and what it costs, by layout and kind of link; root for reflinks
	$(RUN) -m benchmarks.bench_views

bench-library: setup ## what verify, ls, adopt and a version that shares 90 % cost; root for a cold page cache
	$(RUN) -m benchmarks.bench_library

bench-fold: setup ## fold and undo of 43 GB in five apps, and of 10,000 files, into docs/fold.md; 12 GB of disk, 4 minutes
	$(RUN) -m benchmarks.bench_fold

bench-growth: setup ## what each verb costs at three sizes, and how fast that grows; 15 minutes
	$(RUN) -m benchmarks.bench_growth

bench-mirror: setup ## the mirror beside nginx and olah, HEAD requests, its cold misses, 50 clients at once, and other servers; 10 minutes
	$(RUN) -m benchmarks.bench_mirror

bench-tree: setup ## 8 and 16 hosts behind one slow uplink stage a model through mirrors, one host dying, into docs/mirror.md; as root, 3 minutes
	$(RUN) -m benchmarks.bench_tree

bench-scale: setup ## time and upstream bytes of 1 to 10,000 nodes, modelled, and checked with 2 to 16 hosts, into docs/scale.md; as root, 10 minutes
	$(RUN) -m benchmarks.bench_scale $(if $(NO_CHECK),--no-check)

bench-containerd: setup ## what containerd writes to store and unpack an image with weights; as root, a minute
	$(RUN) -m benchmarks.bench_containerd

bench-prove: setup ## whether prove keeps its own promises, on the demo's app, into docs/proof.md; an idle machine, eight minutes
	$(RUN) -m benchmarks.bench_prove $(if $(TRIAL),--trial)

bench-prove-cost: setup ## what being measured costs a start, by CPU time, into docs/proof.md; also on a busy machine, 2 minutes
	$(RUN) -m benchmarks.bench_prove_cost

bench-ways: setup ## what each way to have the weights there costs, written into docs/ways.md; a minute
	$(RUN) -m benchmarks.bench_ways

docs-reports: setup ## prove's pages of two real apps, and their pictures in docs/; an idle machine, chromium, ten minutes
	$(RUN) -m docs.reports $(if $(TRIAL),--trial)

bench-build: setup ## build beside docker, podman, buildah and umoci, and the floor; 15 minutes, root for most of them
	$(RUN) -m benchmarks.bench_build
	$(RUN) docs/fill_images.py

bench-registry: setup ## pull from an image in a registry beside skopeo; two minutes
	$(RUN) -m benchmarks.bench_registry

bench-stores: setup ## push and pull of an object store beside rclone and aws, from a real server over TLS; five minutes
	$(RUN) -m benchmarks.bench_stores

bench-import: setup ## import of a bundle beside reading it and its sha256, into docs/bundles.md; two minutes
	$(RUN) -m benchmarks.bench_import

e2e-k8s: setup ## pods of serve-config k8s until they are ready, in a real cluster built from Debian's source; as root, needs Go, 15 minutes
	$(RUN) -m tests.cluster.e2e "$$(.ci/get-kubernetes)" --transcript docs/e2e-k8s.md

guard: setup ## the guard as one file for any Python from 3.8 on: dist/guard.pyz
	$(RUN) -c "from pathlib import Path; from preheat.deploy.guard_zip import write_guard_zip; write_guard_zip(Path('dist/guard.pyz'))"

bench-guard: setup ## what the guard costs and gains; VENV=PYTHON that has torch, transformers and gradio, root for a slow disk
	$(RUN) -m benchmarks.bench_guard $(if $(VENV),--venv $(VENV))
	$(RUN) docs/draw_guard.py

bench-limits: setup ## an honest client beside 512 bad ones, 10,000 idle connections, the checks of `run` with 9 GB; 3 minutes
	$(RUN) -m benchmarks.bench_limits

bench-start: setup ## what `run` costs before the app runs, with 12 to 30,000 files in its view, and the time to a page; 4 minutes; COLD=5 VENV=PYTHON: from a slow disk, as root
	$(RUN) -m benchmarks.bench_start $(if $(COLD),--cold $(COLD)) $(if $(VENV),--venv $(VENV))

bench-snapshots: setup ## restored starts beside plain ones, as root; VENV=PYTHON that has torch, transformers and gradio
	PREHEAT_CRIU=$${PREHEAT_CRIU:-$$(.ci/get-criu)} $(RUN) -m benchmarks.bench_snapshots --venv $(VENV)

bench-snapshot-sizes: setup ## what is in memory snapshots of pages that map or copy weights, as root; VENV=PYTHON as above; 10 minutes
	PREHEAT_CRIU=$${PREHEAT_CRIU:-$$(.ci/get-criu)} $(RUN) -m benchmarks.snapshot_sizes --venv $(VENV)

bench-trace: setup ## programs that download by themselves, traced and replayed elsewhere, as root; NAMES="nltk piper", SINCE=2026-11-30 continues, an hour
	$(RUN) -m benchmarks.bench_trace $(if $(SINCE),--since $(SINCE)) $(NAMES)
	$(RUN) docs/make.py

bench-trace-cost: setup ## what tracing costs a start of the demo's page, which make demo has made; 3 minutes
	$(RUN) -m benchmarks.bench_trace_cost

clean: ## remove what was made here
	rm -rf .venv .demo build dist .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis .outsiders
