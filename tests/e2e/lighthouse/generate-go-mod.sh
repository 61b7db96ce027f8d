#!/usr/bin/env bash
# Writes go.mod and go.sum. Run it after changing the version below, and commit both files.
#
# The agent has a module of its own, so that it is built with the dependencies of its release. Its version of Kubernetes
# differs from that of the control plane, and a module can have only one version of each dependency.
set -euo pipefail
cd "$(dirname "$0")"

lighthouse=v0.24.0
agent=github.com/submariner-io/lighthouse/pkg/agent
export GOFLAGS=-mod=mod

rm -f go.sum
printf 'module landfall.dev/e2e/lighthouse\n\ngo 1.25.0\n\ntool %s\n\nrequire github.com/submariner-io/lighthouse %s\n' \
  "$agent" "$lighthouse" > go.mod

# Listing every package that the agent needs adds the missing lines to go.mod and go.sum.
go list -deps "$agent" > /dev/null
GOFLAGS=-mod=readonly go list -deps "$agent" > /dev/null
