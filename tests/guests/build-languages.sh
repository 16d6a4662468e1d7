#!/usr/bin/env bash
# Builds the guests in JavaScript and Python into DIR: 10 MB and more each, so they are not committed.
#
#   tests/guests/build-languages.sh DIR
#
# Needs node with npm, and python3 with venv; installs their compilers into DIR/tools, nothing into the system.
set -euo pipefail

[ $# = 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1" && out=$(cd "$1" && pwd)
tools=$out/tools
mkdir -p "$tools/js"

for tool in npm node python3; do
  command -v "$tool" >/dev/null || { echo "\`$tool\` is missing: install Node.js and Python 3" >&2; exit 1; }
done

echo "js: the compiler" >&2
cp "$here"/js/* "$tools/js/"
npm install --prefix "$tools/js" --silent --no-audit --no-fund

echo "js: the component" >&2
# The engine inside componentize-js was built against 0.2.10 and exports exactly that; the text is the same.
rm -rf "$tools/wit-0.2.10" && cp -r "$here/wit" "$tools/wit-0.2.10"
find "$tools/wit-0.2.10" -name '*.wit' -exec sed -i 's/@0\.2\.12/@0.2.10/g; s/version = 0\.2\.1[12]/version = 0.2.10/g' {} +
(cd "$tools/js" && node build.mjs "$tools/wit-0.2.10" "$out/js.wasm")

echo "python: the compiler" >&2
[ -x "$tools/python/bin/pip" ] || python3 -m venv "$tools/python"
"$tools/python/bin/pip" install --quiet --disable-pip-version-check 'componentize-py==0.25.1'

echo "python: the component" >&2
(cd "$here/python" && PYTHONDONTWRITEBYTECODE=1 "$tools/python/bin/componentize-py" --quiet \
  --wit-path ../wit --world caller componentize app --output "$out/python.wasm")
rm -rf "$here/python/__pycache__"

ls -l "$out"/*.wasm
