#!/usr/bin/env bash
# Builds the programs of the end-to-end tests from three Go modules, and prints their folder. Progress goes to stderr.
#
#   tests/e2e/controlplane     hyperkube (etcd, API server, controller manager, kubectl), helm
#   tests/e2e/lighthouse       lighthouse-agent
#   tests/e2e/metrics-server   metrics-server
#
#   scripts/controlplane.sh helm    only helm, for rendering the charts
#   scripts/controlplane.sh all     the programs of `make e2e`: all except metrics-server (default)
#   scripts/controlplane.sh fleet   the programs of `make e2e-fleet`: all
#
# The name of the folder is a hash of the sources, so a second run builds nothing. Go caches packages for the user, so a
# second clone only links. A cold build takes about ten CPU minutes, and six more for metrics-server.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
module=$root/tests/e2e/controlplane
lighthouse=$root/tests/e2e/lighthouse
metrics=$root/tests/e2e/metrics-server
wanted=${1:-all}

say() { printf 'controlplane: %s\n' "$*" >&2; }

fail() { say "$@"; exit 1; }

# Checks for Go 1.21, the first version that fetches the toolchain named in go.mod by itself.
go_is_new_enough() {
  command -v go > /dev/null || return 1
  local minor
  minor=$(cd / && GOTOOLCHAIN=local go env GOVERSION | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
  [ "${minor:-0}" -ge 21 ]
}

ensure_go() {
  go_is_new_enough && return
  if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    say "installing Debian's golang-go"
    { apt-get -qq update && apt-get -qq install -y --no-install-recommends golang-go; } >&2
    hash -r
  fi
  go_is_new_enough || fail "Go 1.21 or newer is needed and 'go' is $(go env GOVERSION 2> /dev/null || echo missing)." \
    "Install it: Debian 13 'apt-get install golang-go'; Debian 12 'apt-get install -t bookworm-backports golang-go'; else your system's Go package."
}

# version_of MODULE prints the version in go.mod, after replacements.
version_of() {
  go list -m -f '{{if .Replace}}{{.Replace.Version}}{{else}}{{.Version}}{{end}}' "$1"
}

# build NAME PACKAGE LDFLAGS moves the executable into place once it is complete, so an interrupted build leaves none.
build() {
  [ -x "$out/$1" ] && return
  local started=$SECONDS
  say "building $1 (cold: several minutes)"
  go build -gcflags=all=-dwarf=false -ldflags "-s -w $3" -o "$out/.$1.tmp" "$2" >&2
  mv "$out/.$1.tmp" "$out/$1"
  say "built $1 in $((SECONDS - started)) s"
}

# Sets the version of the server. Otherwise it is v0.0.0, and clients and charts depend on it.
build_hyperkube() {
  cd "$module"
  local version flags='' package
  version=$(version_of k8s.io/kubernetes)
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$(minor_of "$version") -X $package.gitTreeState=clean"
  done
  build hyperkube . "$flags"
}

build_helm() {
  cd "$module"
  local kubernetes flags='' package
  kubernetes=$(version_of k8s.io/kubernetes)
  for package in helm.sh/helm/v3/pkg/chartutil helm.sh/helm/v3/pkg/lint/rules; do
    flags+=" -X $package.k8sVersionMajor=1 -X $package.k8sVersionMinor=$(minor_of "$kubernetes")"
  done
  build helm helm.sh/helm/v3/cmd/helm "$flags -X helm.sh/helm/v3/internal/version.version=$(version_of helm.sh/helm/v3)"
}

# The agent has a module of its own; see its generate-go-mod.sh.
build_lighthouse_agent() {
  cd "$lighthouse"
  build lighthouse-agent github.com/submariner-io/lighthouse/pkg/agent "-X main.version=$(version_of github.com/submariner-io/lighthouse)"
}

# Metrics-server has a module of its own for the same reason.
build_metrics_server() {
  cd "$metrics"
  build metrics-server sigs.k8s.io/metrics-server/cmd/metrics-server \
    "-X k8s.io/client-go/pkg/version.gitVersion=$(version_of sigs.k8s.io/metrics-server)"
}

minor_of() { printf '%s' "$1" | cut -d. -f2; }

case $wanted in
  helm) programs=(helm) ;;
  all) programs=(helm hyperkube lighthouse-agent) ;;
  fleet) programs=(helm hyperkube lighthouse-agent metrics-server) ;;
  *) fail "usage: controlplane.sh [helm|all|fleet]" ;;
esac

key=$(cat "$module"/go.{mod,sum} "$module"/*.go {"$lighthouse","$metrics"}/go.{mod,sum} | sha256sum | cut -c1-16)
out=$root/target/e2e/bin-$key
mkdir -p "$out"
exec 9> "$out/.lock"
flock 9

complete() {
  local program
  for program in "${programs[@]}"; do [ -x "$out/$program" ] || return; done
}

if ! complete; then
  ensure_go
  export CGO_ENABLED=0 GOTOOLCHAIN=auto GOFLAGS='-mod=readonly -buildvcs=false' GOWORK=off
  for program in "${programs[@]}"; do "build_${program//-/_}"; done
fi
printf '%s\n' "$out"
