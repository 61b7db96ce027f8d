#!/usr/bin/env bash
# Writes go.mod and go.sum. Run it after changing a version below, and commit both files.
#
# k8s.io/kubernetes replaces every module of its staging area by a folder of its own repository. Replacements count
# only in the main module, so each is repeated here with the tag that was published for the same release. All commands
# use one version of each k8s.io module, so each of its packages is compiled once.
# `go mod tidy` is no substitute, because it adds the dependencies of all dependencies' tests.
set -euo pipefail
cd "$(dirname "$0")"

kubernetes=v1.34.4
staging=v0.${kubernetes#v1.}
etcd=v3.6.7
helm=v3.19.5      # newest Helm 3 for Kubernetes 1.34
mcs_api=v0.5.0
export GOFLAGS=-mod=mod

upstream=$(cd / && go mod download -json "k8s.io/kubernetes@$kubernetes" | sed -n 's/.*"GoMod": "\(.*\)",/\1/p')

rm -f go.sum
{
  printf 'module landfall.dev/e2e/controlplane\n\ngo 1.24.0\n\ntool helm.sh/helm/v3/cmd/helm\n\nrequire (\n'
  printf '\t%s %s\n' k8s.io/kubernetes "$kubernetes" go.etcd.io/etcd/server/v3 "$etcd" \
    helm.sh/helm/v3 "$helm" sigs.k8s.io/mcs-api "$mcs_api"
  for module in api apimachinery apiserver client-go component-base kubectl; do
    printf '\tk8s.io/%s %s\n' "$module" "$staging"
  done
  printf ')\n\nreplace (\n'
  sed -n "s|^\t\(k8s\.io/[a-z-]*\) => \./staging/.*|\t\1 => \1 $staging|p" "$upstream"
  printf ')\n'
} > go.mod

# Listing every package that the two commands need adds the missing lines to go.mod and go.sum.
go list -deps . helm.sh/helm/v3/cmd/helm > /dev/null
GOFLAGS=-mod=readonly go list -deps . helm.sh/helm/v3/cmd/helm > /dev/null
