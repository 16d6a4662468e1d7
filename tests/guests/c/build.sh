#!/usr/bin/env bash
# Builds c.wasm: clang, lld and wasi-libc (Debian: clang lld wasi-libc libclang-rt-dev-wasm32), and the
# wasm-component-ld of a Rust toolchain, which turns the linked module into a component.
#
#   tests/guests/c/build.sh             builds
#   tests/guests/c/build.sh bindings    writes bindings/ anew, with wit-bindgen 0.63 (cargo install wit-bindgen-cli)
set -euo pipefail
cd "$(dirname "$0")"

if [ "${1:-}" = bindings ]; then
  exec wit-bindgen c --world hello ../wit --out-dir bindings
fi

linker=$(dirname "$(rustc --print target-libdir)")/bin/wasm-component-ld
objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT
for source in handler.c bindings/hello.c; do
  clang --target=wasm32-wasi -Os -ffunction-sections -c "$source" -o "$objects/$(basename "$source").o"
done
library=$(clang --target=wasm32-wasi -print-file-name=libc.a)
"$linker" --wasm-ld-path "$(command -v wasm-ld)" -o c.wasm --entry _initialize --gc-sections --strip-all \
  "$(dirname "$library")/crt1-reactor.o" "$objects"/*.o bindings/hello_component_type.o "$library"
ls -l c.wasm
