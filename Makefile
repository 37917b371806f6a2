# Thin front of CMake and the tools. PRESET=dev|release|asan|tsan.
PRESET ?= release
.PHONY: setup configure build run test test-long bench bench-engine bench-image lint format
setup:
	@tools/setup
configure: setup
	@cmake --preset $(PRESET) >build-configure.log 2>&1 || { cat build-configure.log; exit 1; }
	@rm -f build-configure.log
build: configure
	@cmake --build --preset $(PRESET)
run: build
	@tools/run_debian build/$(PRESET)/bin/vireo
test: build
	@ctest --test-dir build/$(PRESET) --output-on-failure --no-tests=error -LE long
test-long: build
	@ctest --test-dir build/$(PRESET) --output-on-failure --no-tests=error -L 'short|long' -V
bench: build
	@cmake --build --preset $(PRESET) --target benches
	@for program in build/$(PRESET)/bin/bench_*; do $$program || exit 1; done
# The engine against the host and QEMU's TCG; BENCH="--only integer --no-tcg" narrows it (bench/engine/README.md).
bench-engine: build
	@bench/engine/run --vireo build/$(PRESET)/bin $(BENCH)
# Images against qemu-img; BENCH="--only convert --folder /dev/shm/bench".
bench-image: build
	@bench/image/run --vireo build/$(PRESET)/bin $(BENCH)
lint:
	@tools/lint
format:
	@tools/format
