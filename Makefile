# SPDX-License-Identifier: BSD-3-Clause
# make demo    train a network with and without clipping      make test    every check that CI runs
# make bench   fastclip against other libraries and the memory's limit: half an hour; renews README.md and docs/
# make bars    the ruler: fastclip held to its bars    make trainings    steps and clients: ten minutes
# make gpu     tests and benchmark of a GPU, with a PYTHON that has CuPy, pytest and Hypothesis, PyTorch's for CUDA at best
PYTHON ?= python3
BIN = .venv/bin
WORKERS ?= 2
SOURCES = pyproject.toml CMakeLists.txt README.md $(shell find csrc python -type f -not -name '*.so' -not -name '*.pyc')

.PHONY: demo test lint bench bars trainings gpu clean
.DELETE_ON_ERROR:

demo: .venv/demo.stamp
	$(BIN)/fastclip demo $(DEMO_OPTIONS)

test: .venv/test.stamp lint
	$(BIN)/python -m pytest --doctest-modules --doctest-glob='*.md' --pyargs fastclip
	$(BIN)/python -m pytest README.md docs --doctest-glob='*.md'
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder tests

lint: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $$(find csrc benchmarks tests -name '*.[ch]pp') python/fastclip/_cuda/*.cu*

bench: .venv/test.stamp
	rm -rf build/bench
	$(BIN)/fastclip bench --json build/bench/bench.json --plot build/bench/plots $(BENCH_OPTIONS)
	mkdir -p benchmarks/results && cp build/bench/bench.json benchmarks/results/
	rm -rf docs/plots && cp -r build/bench/plots docs/plots
	$(BIN)/python benchmarks/page.py

bars: .venv/test.stamp
	$(BIN)/python benchmarks/run.py $(BARS_OPTIONS)

trainings: .venv/test.stamp
	rm -f build/in_step.json; mkdir -p build  # 1: a bar was missed, which the page says
	$(BIN)/python benchmarks/in_step.py --json build/in_step.json || [ $$? -eq 1 ]
	cp build/in_step.json benchmarks/results/
	for client in ppo accelerate_loop transformer lstm flower_dp thinc_loop optax_loop; do \
	  $(BIN)/python benchmarks/clients/$$client.py --json benchmarks/results/$$client.json || exit 1; done
	$(BIN)/python benchmarks/page.py

gpu:
	$(PYTHON) -m pip install --quiet --no-deps --upgrade --target build/gpu $(PIP_OPTIONS) .
	export PYTHONPATH=build/gpu; $(PYTHON) -m pytest -m gpu -W default tests/cuda/test_gpu*.py; tested=$$?; \
	  $(PYTHON) benchmarks/bench_cuda.py --json benchmarks/results/cuda.json && exit $$tested

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/demo.stamp: $(BIN)/python $(SOURCES)
	$(BIN)/pip install --quiet --disable-pip-version-check '.[demo]'
	touch $@

.venv/test.stamp: $(BIN)/python $(SOURCES)
	FASTCLIP_REQUIRE_NATIVE=1 $(BIN)/pip install --quiet --disable-pip-version-check '.[demo,test,bench,peers,clients]'
	touch $@ .venv/demo.stamp

clean:
	rm -rf .venv build
