# Everything here works on a machine that has Python >= 3.11 and can reach a package registry.
# The environment is made on first use in .venv: by uv where it is present, else by venv and pip.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ONCE ?=

.PHONY: demo test test-production check fix bench dashboards constraints clean

demo: $(READY)
	$(BIN)/tanyuan demo $(if $(ONCE),--once,)

test: $(READY)
	$(BIN)/pytest -n 2 --dist loadfile

# The whole line on InfluxDB 2 and PostgreSQL: where they are on the machine, or named (tests/README.md).
test-production: $(READY)
	TANYUAN_TEST_SHAPE=production $(BIN)/pytest -n 2 --dist loadfile \
	  tests/acceptance tests/crash tests/metering/store tests/metering/ledger \
	  tests/deploy/test_production.py tests/deploy/test_two_schedulers.py \
	  tests/dashboards/test_walls_of_the_demo.py

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -n 2 --dist loadfile -m "not slow" tests/test_house.py tests/carbon tests/metering \
	  --ignore=tests/metering/store --ignore=tests/metering/ledger

fix: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)
	$(BIN)/python -m tests.bench

dashboards: $(READY)
	$(BIN)/python -m dashboards

constraints:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --no-header --no-annotate --no-emit-index-url -q --upgrade -o constraints.txt

$(READY): pyproject.toml constraints.txt deploy/environment.sh
	sh deploy/environment.sh $(VENV)
	touch $@

clean:
	rm -rf $(VENV)
