# Thin: every line here is a command that can be typed by hand. `make help` lists them.
.DEFAULT_GOAL := build
.PHONY: help setup setup-all build demo test test-all aarch64 sim founding bench soak format tidy clean

JOBS ?= 2

help:            ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1\t/p' Makefile | expand -t 22

setup:           ## install what is missing (as root), or say what to install
	@scripts/setup

setup-all:
	@scripts/setup --all || echo "going on without: what is missing is skipped by name"

build: setup     ## build the library, examples and benchmarks: build/release
	@cmake --preset release >/dev/null
	@cmake --build --preset release -j $(JOBS)

demo: setup      ## build and run the demo program
	@JOBS=$(JOBS) scripts/demo

test: setup      ## the tests, in under ten minutes on two cores
	@tools/run_tests --build -j $(JOBS) \
	  --hint 'Next: make demo; read docs/HACKING.md; make test-all for the release build, sanitizers, Clang and LTO.' \
	  'build/debug -LE ^slow$$'

test-all: setup-all ## all tests, also under sanitizers, Clang and LTO
	@tools/run_tests --build -j $(JOBS) \
	  --hint 'Next: make bench, or make soak.' \
	  build/debug build/release build/asan build/tsan build/ubsan build/clang build/lto

aarch64: setup-all ## the tests on the other architecture, by qemu-user
	@tools/run_tests --build -j $(JOBS) build/aarch64

sim: setup       ## the runtime's protocols under thousands of simulated schedules, in two minutes
	@cmake --preset sim >/dev/null
	@cmake --build build/sim --target gort-sim -j $(JOBS)
	@build/sim/gort-sim --short --seconds 90

founding: setup  ## the five founding bugs, FOUNDING_RUNS (500) times each: shown with the cure off, gone with it on
	@tools/founding --build -j $(JOBS)

bench: build     ## measure: make bench [ROW=name] [JSON=file]
	@test -x bench/run || { echo 'make bench: bench/run is not there yet'; exit 2; }
	@bench/run $(if $(ROW),--row $(ROW)) $(if $(JSON),--json $(JSON))

soak: setup      ## stress with new seeds for SOAK_SECONDS (600)
	@scripts/soak

format:          ## clang-format over our sources
	@git ls-files '*.h' '*.cc' | xargs -r clang-format-19 -i

tidy: setup-all  ## clang-tidy over the Clang build
	@cmake --preset clang >/dev/null
	@git ls-files 'src/*.cc' | xargs -r clang-tidy-19 -p build/clang --quiet

clean:
	rm -rf build
