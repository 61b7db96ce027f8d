#!/usr/bin/env bash
# Writes go.mod and go.sum anew: run it after changing the version below, and commit both files.
#
# A module of its own, so that the agent is built of the versions it was released with: it wants another Kubernetes
# than the control plane of the bed, and one module can have only one of each.
set -euo pipefail
cd "$(dirname "$0")"

lighthouse=v0.24.0
agent=github.com/submariner-io/lighthouse/pkg/agent
export GOFLAGS=-mod=mod

rm -f go.sum
printf 'module landfall.dev/e2e/lighthouse\n\ngo 1.25.0\n\ntool %s\n\nrequire github.com/submariner-io/lighthouse %s\n' \
  "$agent" "$lighthouse" > go.mod

# Listing every package that the agent needs adds what go.mod and go.sum still miss.
go list -deps "$agent" > /dev/null
GOFLAGS=-mod=readonly go list -deps "$agent" > /dev/null
