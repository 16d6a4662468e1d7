#!/usr/bin/env bash
# Builds go.wasm: Go 1.24 or newer, and wasm-tools (cargo install wasm-tools).
#
# The result is a core module for wasip1 with a component type: the host makes a component of it.
set -euo pipefail
cd "$(dirname "$0")"

made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
GOOS=wasip1 GOARCH=wasm GOFLAGS= go build -buildmode=c-shared -trimpath -buildvcs=false -ldflags='-s -w' \
  -o "$made/core.wasm" .

wasm-tools component embed --world hello ../wit "$made/core.wasm" -o go.wasm
ls -l go.wasm
