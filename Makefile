# What the project is built, tested and shown with. `make demo` and `make test` set up a fresh Debian machine.

SWIFT ?= swift
PYTHON ?= python3
PACKAGES := libopenblas-dev liblapacke-dev libjpeg62-turbo-dev libpng-dev libwebp-dev libzip-dev pkg-config
BIN := .build/release
# A Python with the peers of the benchmark, see Tools/benchmark_peers.py.
PEERS ?= python3
# What `make benchmark-table` measures, where the figures go, and options: `OPTIONS=--resume` goes on with a run that was
# broken off. PAGE is the page in docs, one for each kind of machine; what docs/PAGE-notes.md says of cells behind their goals
# becomes part of it.
MODELS ?= all
RESULTS ?= .build/benchmarks.jsonl
OPTIONS ?=
PAGE ?= benchmarks
NOTES := $(wildcard docs/$(PAGE)-notes.md)
WEIGHTS := .build/demo/mobilenet_v2-b0353104.pth

.PHONY: all setup needs build test levels sanitize demo bench benchmark-table zoo-table format lint clean

all: build

## Install the Debian packages that the build links against.
setup:
	@if [ "$$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi; \
	$$sudo apt-get update -qq && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(PACKAGES)

# Setup, where something is missing.
needs:
	@if command -v dpkg-query >/dev/null && \
	  ! dpkg-query -W -f='$${Status}\n' $(PACKAGES) 2>/dev/null | awk '/install ok installed/ {n++} END {exit n != $(words $(PACKAGES))}'; \
	then $(MAKE) --no-print-directory setup; fi

## Build the library, the recognite command and the benchmark.
build: needs
	$(SWIFT) build -c release

## Run all tests, in release (the kernels are some thirty times slower without optimization), and a package that
## depends on this one, in debug as its developers would.
test: needs
	$(SWIFT) test -c release
	$(SWIFT) run --package-path Tests/ExternalPackage --scratch-path .build/external ExternalPackage

## Hold every model's plan against its operations, and both against PyTorch's numbers, with the choices made for each kind of
## cores and on each lower instruction set.
levels: needs
	for cores in zen4 zen5 intel; do RECOGNITE_CORES=$$cores $(SWIFT) test -c release --filter 'PlanTests|GoldenTests' || exit 1; done
	for level in avx512 avx2 portable; do RECOGNITE_ISA=$$level $(SWIFT) test -c release --filter 'PlanTests|GoldenTests' || exit 1; done

## Run the C kernels' tests under the address and undefined-behaviour sanitizers, and the thread pool's under the thread
## sanitizer. Without optimization: with it, the compiler takes nine minutes to instrument the kernels.
SANITIZE := $(SWIFT) test --package-path Tests/Sanitize --disable-xctest
sanitize:
	$(SANITIZE) --scratch-path .build-asan --sanitize address -Xcc -fsanitize=undefined -Xcc -fno-sanitize-recover=undefined
	TSAN_OPTIONS=die_after_fork=0 $(SANITIZE) --scratch-path .build-tsan --sanitize thread --filter 'KernelTests/Pool/'

## Embed the bundled photographs with real weights and print how alike they are.
demo: build
	@PYTHON="$(PYTHON)" Tools/demo.sh $(BIN)/recognite $(WEIGHTS)

## Time some networks.
bench: build
	$(BIN)/recognite-benchmark --models resnet18,resnet50,mobilenet_v2 --batches 1,8

## Time all networks beside PyTorch, ONNX Runtime and OpenVINO and write docs/PAGE.md and its chart.
benchmark-table: build
	$(PEERS) Tools/benchmark_peers.py --ours $(BIN)/recognite-benchmark --models $(MODELS) \
	  --out $(RESULTS) $(OPTIONS)
	$(PEERS) Tools/benchmark_table.py $(RESULTS) --page $(PAGE) $(if $(NOTES),--notes $(NOTES))

## Measure how close each model is to PyTorch and write the table in docs/zoo.md.
zoo-table: needs
	RECOGNITE_ZOO_TABLE=$(CURDIR)/docs/zoo.md $(SWIFT) test -c release --filter GoldenTests/numbersMatchTorchvision

## Format the Swift sources in place.
format:
	$(SWIFT) format --in-place --recursive --parallel Package.swift Sources Tests Benchmarks

## Check the format of the Swift sources.
lint:
	$(SWIFT) format lint --strict --recursive --parallel Package.swift Sources Tests Benchmarks

clean:
	rm -rf .build .build-asan .build-tsan
