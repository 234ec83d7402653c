# Two commands for a stranger: `make demo` and `make test`. Set-up happens once, in .venv.
PYTHON ?= python3
BIN := .venv/bin
# A scene, never trained on, in which the demo's expression is true.
DEMO_SEED := 1061696

.PHONY: demo test lint clean

# The library alone: what `fovea` needs to answer.
.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fovea needs Python 3.11 or newer; name one with: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e .
	touch $@

# And what its tests, benchmarks and trainings need.
.venv/.ready-dev: .venv/.ready
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e ".[dev]"
	touch $@

demo: .venv/.ready
	$(BIN)/fovea scenes demo --count 1 --seed $(DEMO_SEED) --size 384
	$(BIN)/fovea find demo/images/scene_0$(DEMO_SEED).png "the banana left of the guitar" --out demo/found.png --explain demo/report.html
	@echo "Look at demo/found.png, and at demo/report.html for how the answer came about."

# One thread per process: two processes share the cores better than two threads each.
test: .venv/.ready-dev
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: .venv/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv demo
