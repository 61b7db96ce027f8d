#!/usr/bin/env bash
# Writes go.mod and go.sum anew: run it after changing the version below, and commit both files.
#
# A module of its own, so that metrics-server is built of the versions it was released with: it wants another Kubernetes
# than the control plane of the bed, and one module can have only one of each.
set -euo pipefail
cd "$(dirname "$0")"

version=v0.9.0
program=sigs.k8s.io/metrics-server/cmd/metrics-server
export GOFLAGS=-mod=mod

rm -f go.sum
printf 'module landfall.dev/e2e/metrics-server\n\ngo 1.26.4\n\ntool %s\n\nrequire sigs.k8s.io/metrics-server %s\n' \
  "$program" "$version" > go.mod

# Listing every package that the program needs adds what go.mod and go.sum still miss.
go list -deps "$program" > /dev/null
GOFLAGS=-mod=readonly go list -deps "$program" > /dev/null
