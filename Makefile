# pt2q: `make demo` and `make test` are all a new machine needs (Debian 12 with git and make).
PYTHON ?= python3
VENV   := .venv
ORACLE := .venv-oracle
BUILD  := build/release
PY     := $(VENV)/bin/python
JOBS   ?= $(shell nproc)
DEMO_ARGS ?=
BENCH_ARGS ?=
# The builds below (release, Debian-only, pip) share objects through ccache; without it they build the same.
LAUNCHER = $(if $(shell command -v ccache),-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1

export PYTHONPATH := $(CURDIR)/$(BUILD)/python
export PYTHONDONTWRITEBYTECODE := 1

.DELETE_ON_ERROR:
.PHONY: demo test deps build lint stubs cpp-test python-test oracle-test asan-test debian-test \
        package-test bench bench-cpp peers clean help

help:
	@echo "make demo          build and run the demonstration (DEMO_ARGS='--data FOLDER' for real models)"
	@echo "make test          build and run every test: C++, Python, oracle (PyTorch), lint"
	@echo "make asan-test     C++ tests under AddressSanitizer and UBSan"
	@echo "make stubs         write the types of the compiled module (python/pt2q/_core.pyi)"
	@echo "make debian-test   build and smoke test with nothing but Debian's packages"
	@echo "make package-test  pip install into a fresh environment and smoke test; C++ install, examples/cpp against it"
	@echo "make bench         whole models against PyTorch (BENCH_ARGS='--case inference:resnet18:1')"
	@echo "make peers         against PyTorch, ONNX Runtime and OpenVINO, in an environment of its own"

demo: build
	$(PY) examples/demo/demo.py $(DEMO_ARGS)

test: build lint cpp-test python-test oracle-test

deps:
	@tools/install_deps.sh

$(VENV)/.stamp: tools/requirements-dev.txt
	@tools/install_deps.sh
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q --disable-pip-version-check -r tools/requirements-dev.txt
	@touch $@

$(ORACLE)/.stamp: tools/requirements-oracle.txt
	$(PYTHON) -m venv $(ORACLE)
	$(ORACLE)/bin/python -m pip install -q --disable-pip-version-check torch==2.13.0
	$(ORACLE)/bin/python -m pip install -q --disable-pip-version-check -r tools/requirements-oracle.txt
	@touch $@

$(BUILD)/build.ninja: $(VENV)/.stamp CMakePresets.json
	cmake --preset release $(LAUNCHER) -DPython3_EXECUTABLE=$(CURDIR)/$(PY) \
	  -Dpybind11_DIR=$$($(PY) -m pybind11 --cmakedir)
	@touch $@

build: deps $(BUILD)/build.ninja
	cmake --build $(BUILD) -j $(JOBS)

lint: $(VENV)/.stamp
	$(PY) tools/check_layers.py
	$(PY) tools/check_headers.py
	$(PY) -m ruff check python tests tools benchmarks examples tutorials
	$(PY) -m mypy
	tools/check_format.sh

stubs: build
	$(PY) tools/make_stubs.py

cpp-test: build
	ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

python-test: build
	$(PY) tools/make_stubs.py --check
	$(PY) -m pytest tests/python

oracle-test: build $(ORACLE)/.stamp
	$(ORACLE)/bin/python -m pytest tests/oracle

asan-test:
	cmake --preset asan $(LAUNCHER)
	cmake --build build/asan -j $(JOBS)
	ASAN_OPTIONS=detect_leaks=1 ctest --test-dir build/asan --output-on-failure -j $(JOBS)

debian-test:
	env -u PYTHONPATH PATH=/usr/bin:/bin cmake --preset debian $(LAUNCHER)
	env -u PYTHONPATH PATH=/usr/bin:/bin cmake --build build/debian -j $(JOBS)
	cd / && PYTHONPATH=$(CURDIR)/build/debian/python /usr/bin/python3 $(CURDIR)/tests/package/smoke.py

package-test: build
	rm -rf build/package-venv
	$(PYTHON) -m venv build/package-venv
	env -u PYTHONPATH CMAKE_CXX_COMPILER_LAUNCHER=$$(command -v ccache) build/package-venv/bin/python -m pip install -q --disable-pip-version-check -C cmake.define.PT2Q_WERROR=ON 'numpy>=2' .
	cd / && env -u PYTHONPATH $(CURDIR)/build/package-venv/bin/python $(CURDIR)/tests/package/smoke.py
	JOBS=$(JOBS) tests/package/cpp_install.sh $(BUILD)

bench: build $(ORACLE)/.stamp
	$(ORACLE)/bin/python benchmarks/models.py $(BENCH_ARGS)

# The C++ programs of benchmarks/cpp: `make bench-cpp`, or one of them.
BENCH_CPP ?= peak bench_models qconv_vs_onednn
bench-cpp: build
	cmake -S . -B $(BUILD) -DPT2Q_BENCHMARKS=ON > $(BUILD)/configure-bench.log
	cmake --build $(BUILD) -j $(JOBS) --target $(BENCH_CPP)

peers: BENCH_CPP = peak
peers: bench-cpp
	$(PY) benchmarks/peers.py $(BENCH_ARGS)

clean:
	rm -rf build $(VENV) $(ORACLE)
