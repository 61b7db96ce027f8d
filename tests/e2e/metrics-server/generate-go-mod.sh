#!/usr/bin/env bash
# Writes go.mod and go.sum. Run it after changing the version below, and commit both files.
#
# Metrics-server has a module of its own, so that it is built with the dependencies of its release. Its version of
# Kubernetes differs from that of the control plane, and a module can have only one version of each dependency.
set -euo pipefail
cd "$(dirname "$0")"

version=v0.9.0
program=sigs.k8s.io/metrics-server/cmd/metrics-server
export GOFLAGS=-mod=mod

rm -f go.sum
printf 'module landfall.dev/e2e/metrics-server\n\ngo 1.26.4\n\ntool %s\n\nrequire sigs.k8s.io/metrics-server %s\n' \
  "$program" "$version" > go.mod

# Listing every package that the program needs adds the missing lines to go.mod and go.sum.
go list -deps "$program" > /dev/null
GOFLAGS=-mod=readonly go list -deps "$program" > /dev/null
