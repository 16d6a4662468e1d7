#!/usr/bin/env bash
# Plays the demo: denied, then allowed. See demo/README.md.
#
#   demo/run.sh            plays every step by itself and checks each screen; exit 0 only if all of it held
#   demo/run.sh reset      puts the manifest back to where the demo begins
#   demo/run.sh --step 0   starts everything and stays in the foreground; then, in another terminal:
#   demo/run.sh --step N   types step N (1 to 5) for you
set -euo pipefail
export LC_ALL=C
root=$(cd "$(dirname "$0")/.." && pwd)
here=127.0.0.1:3000
granted=http://127.0.0.1:9100
work=

say() { printf '%s\n' "$*"; }
fail() { printf '\ndemo: %s\n' "$*" >&2; exit 1; }
type_it() { printf '\n$ %s\n' "$*"; }

# The runner to show: $RUNNER, one that is built already, or one built now.
runner() {
  if [ -n "${RUNNER:-}" ]; then RUNNER=$(realpath "$RUNNER"); return; fi
  (cd "$root" && cargo build --quiet --package runner)
  RUNNER=${CARGO_TARGET_DIR:-$root/target}/debug/runner
}

free() { ! (exec 9<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

preflight() {
  local port
  for port in 3000 9100 9101; do
    free "$port" || { say "port $port is taken; stop what listens there, then run this again" >&2; exit 3; }
  done
}

reset() {
  sed -i.reset '/^allowed_outbound_hosts = /d' "$1/spin-like.toml" && rm -f "$1/spin-like.toml.reset"
}

# What is in the log file of name $1, waiting for a line that holds $2.
await() {
  local tries=600
  until grep -qF -- "$2" "$work/$1.log" 2>/dev/null; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { cat "$work/$1.log" >&2; fail "never saw: $2"; }
    sleep 0.1
  done
}

upstreams() {
  local port
  for port in 9100 9101; do
    "$RUNNER" up -f "$root/demo/upstream" --listen "127.0.0.1:$port" --log-format text >"$work/$port.log" 2>&1 &
    pids+=($!)
    await "$port" "http://127.0.0.1:$port"
  done
}

pids=()
stop() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  [ -z "$work" ] || rm -rf "$work"
}

# One request on the connection kept open as descriptor 3; sets status and body.
ask() {
  printf 'GET %s HTTP/1.1\r\nhost: %s\r\naccept: application/json\r\n\r\n' "$1" "$here" >&3
  local line length=0 chunked=
  IFS= read -r -t 30 line <&3 || fail "the kept connection was closed"
  status=${line#* }; status=${status%% *}
  while IFS= read -r -t 30 line <&3 && line=${line%$'\r'} && [ -n "$line" ]; do
    case ${line,,} in
      content-length:*) length=${line##*[: ]} ;;
      transfer-encoding:*chunked*) chunked=yes ;;
    esac
  done
  body=
  if [ -z "$chunked" ]; then
    [ "$length" = 0 ] || IFS= read -r -d '' -N "$length" -t 30 body <&3
    return
  fi
  local size chunk
  while IFS= read -r -t 30 size <&3; do
    size=$((16#${size%$'\r'}))
    [ "$size" = 0 ] || IFS= read -r -d '' -N "$size" -t 30 chunk <&3
    IFS= read -r -t 30 line <&3
    [ "$size" != 0 ] || return 0
    body+=$chunk
  done
}

# Whether attempt on target $1 of the last body had outcome $2.
outcome() {
  printf '%s' "$body" | tr '\n{' ' \n' | grep -F -- "\"$1\"" | grep -qF -- "\"outcome\": \"$2\"" ||
    fail "expected \`$1\` to be \`$2\`, got: $body"
  say "  ok: $1: $2"
}

logged() { grep -qF -- "$1" "$work/demo.log" || { cat "$work/demo.log" >&2; fail "the log does not say: $1"; }; say "  ok: the log says: $1"; }

play() {
  work=$(mktemp -d)
  trap stop EXIT
  runner
  preflight
  cp "$root/spin-like.toml" "$work/"
  ln -s "$root/demo" "$work/demo"
  reset "$work"
  upstreams

  say "step 0: the server starts, and nobody may do anything"
  (cd "$work" && exec "$RUNNER" up --watch --listen "$here" --log-format text >"$work/demo.log" 2>&1) &
  local pid=$!
  pids+=("$pid")
  await demo "http://$here"
  logged "net: none"
  local before after
  before=$(cd "$work" && "$RUNNER" check --format json | tr ',{' '\n\n' | grep '"digest"')
  exec 3<>"/dev/tcp/127.0.0.1/3000"

  say "step 1: it says hello"
  ask /; [ "$status" = 200 ] || fail "status $status"
  say "  ok: 200"

  say "step 2: it steals, and gets nothing"
  ask /steal
  outcome "http://127.0.0.1:9100/collect" denied
  outcome "http://169.254.169.254/latest/meta-data/" denied
  outcome /etc/passwd "not there"
  outcome AWS_SECRET_ACCESS_KEY "not there"
  await demo "denied: thief may not connect to $granted"
  logged "no \`allowed_outbound_hosts\` here covers it"
  logged "runner allow thief $granted"
  [ "$(grep -c '^denied:' "$work/demo.log")" = 2 ] || fail "two denials were to be logged, and nothing else"

  say "step 3: one line is added, on the running server"
  (cd "$work" && "$RUNNER" allow thief "$granted")
  [ "$(diff "$root/spin-like.toml" "$work/spin-like.toml" | grep -c '^[<>]')" = 1 ] || fail "more than one line changed"
  await demo "reloaded in"
  logged "thief +net $granted"

  say "step 4: the same call, on the same connection"
  ask /steal
  outcome "http://127.0.0.1:9100/collect" allowed
  outcome "http://169.254.169.254/latest/meta-data/" denied
  kill -0 "$pid" || fail "the process is another one"
  after=$(cd "$work" && "$RUNNER" check --format json | tr ',{' '\n\n' | grep '"digest"')
  [ "$before" = "$after" ] || fail "the component changed"
  say "  ok: the same process ($pid), the same connection, the same component"

  say "step 5: the next port is still denied"
  ask "/steal?port=9101"
  outcome "http://127.0.0.1:9101/collect" denied
  await demo "denied: thief may not connect to http://127.0.0.1:9101"

  exec 3>&-
  kill -TERM "$pid"
  wait "$pid" || fail "it did not end well: exit code $?"
  say "  ok: it stopped with exit code 0"
  say "all of it held"
}

step() {
  runner
  cd "$root"
  case $1 in
    0)
      work=$(mktemp -d)
      trap stop EXIT
      preflight
      reset "$root"
      upstreams
      type_it runner up --watch
      "$RUNNER" up --watch --listen "$here" --log-format text
      ;;
    1) type_it "curl $here/"; curl -s "$here/" ;;
    2) type_it "curl $here/steal"; curl -s "$here/steal" ;;
    3) type_it "runner allow thief $granted"; "$RUNNER" allow thief "$granted" ;;
    4) type_it "curl $here/steal"; curl -s "$here/steal" ;;
    5) type_it "curl '$here/steal?port=9101'"; curl -s "$here/steal?port=9101" ;;
    *) say "there are steps 0 to 5" >&2; exit 2 ;;
  esac
}

case ${1:-play} in
  play) play ;;
  reset) reset "$root" && say "the manifest is back to where the demo begins" ;;
  --step) step "${2:-}" ;;
  *) say "usage: demo/run.sh [reset | --step N]" >&2; exit 2 ;;
esac
