#!/usr/bin/env bash
# Renders the chart as users do, and looks at what comes out. No cluster is asked.
#
#   charts/landfall/ci/check.sh HELM     HELM: the program, version 3
set -euo pipefail
helm=${1:?usage: check.sh HELM}
chart=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# No kubeconfig, plugin or cache of whoever runs this may change the result.
export KUBECONFIG=/dev/null HELM_CACHE_HOME=$work/cache HELM_CONFIG_HOME=$work/config HELM_DATA_HOME=$work/data

fail() { printf 'chart: %s\n' "$*" >&2; exit 1; }

render() { "$helm" template landfall "$chart" --namespace landfall-system "$@"; }

# objects FILE prints "Kind namespace/name" of every object, sorted; a cluster-wide object has no namespace.
objects() {
  awk '
    function flush() { if (kind) print kind " " namespace "/" name; kind = name = namespace = ""; metadata = 0 }
    /^---/ { flush() }
    /^kind: / { kind = $2 }
    /^[a-z]/ { metadata = ($1 == "metadata:") }
    metadata && /^  name: / { name = $2 }
    metadata && /^  namespace: / { namespace = $2 }
    END { flush() }' "$1" | sort
}

# has FILE LINE: the line is there, whatever its indentation. (grep -q would end the pipe, and so sed, too early.)
has() { sed 's/^ *//' "$work/$1" | grep -xF -e "$2" > /dev/null || fail "$1: no line: $2"; }

has_no() { ! grep -qF -e "$2" "$work/$1" || fail "$1: has: $2"; }

# refuses WHAT ARGUMENT...: rendering fails, and the message names WHAT.
refuses() {
  local what=$1; shift
  ! render "$@" > /dev/null 2> "$work/error" || fail "accepted: $*"
  grep -qF -e "$what" "$work/error" || fail "refused without naming $what: $(cat "$work/error")"
}

lint() { "$helm" lint --strict --quiet "$chart" "$@" || fail "helm lint $*"; }
lint
lint --values "$chart/ci/all-values.yaml"

render > "$work/default"
render --values "$chart/ci/all-values.yaml" > "$work/all"

cat > "$work/expected-all" << 'END'
ClusterRole /landfall-dns
ClusterRole /landfall-operator
ClusterRoleBinding /landfall-dns
ClusterRoleBinding /landfall-operator
Deployment landfall-system/landfall-dns
Deployment landfall-system/landfall-operator
PodDisruptionBudget landfall-system/landfall-dns
PodDisruptionBudget landfall-system/landfall-operator
Role landfall-system/landfall-operator
RoleBinding landfall-system/landfall-operator
Service landfall-system/landfall-dns
ServiceAccount landfall-system/landfall-dns
ServiceAccount landfall-system/landfall-operator
END
{ cat "$work/expected-all"; echo 'NetworkPricing /default'; } | sort > "$work/expected-default"
for values in default all; do
  objects "$work/$values" | diff "$work/expected-$values" - || fail "$values: not the objects that are expected (<)"
  has_no "$values" '"*"'
  has_no "$values" "<no value>"
done
render --include-crds > "$work/crds"
objects "$work/crds" > "$work/definitions"
for crd in "$chart"/crds/*.yaml; do
  [ -e "$crd" ] || fail "crds/ is empty: make crds"
  name=$(basename "$crd" .yaml)   # <group>_<plural>
  grep -qxF "CustomResourceDefinition /${name#*_}.${name%%_*}" "$work/definitions" || fail "no definition from crds/$name.yaml"
done

has default 'image: "landfall:0.1.0"'
has default '- --zone=clusterset.local'
has default '- --listen=0.0.0.0:53'
has default '- --admin=0.0.0.0:8080'
has default 'capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}'
has default 'prometheus.io/port: "8081"'
has default 'resources: [networkpricings, clusterfacts]'
has default '- {from: {provider: aws}, usdPerGb: 0.09}  # 2026'
has_no default '--cluster-id'
has_no default 'clusterIP:'

has all 'image: "registry.example.com/landfall:edge"'
has all '- --cluster-id=east.eu'
has all '- --zone=supercluster.example'
has all '- --listen=[::]:53'
has all 'clusterIP: "10.96.0.53"'
has all '- --advertise=203.0.113.7'
has all 'priorityClassName: system-cluster-critical'
[ "$(grep -c -- --advertise=10.96.0.53 "$work/all")" = 1 ] || fail "all: the Service's address is advertised twice or never"
has_no all 'prometheus.io/'
has_no all 'runAsUser'
has_no all 'sysctls'

render --set-string dns.service.clusterIP=fd00:10:96::35 > "$work/ipv6"
has ipv6 'clusterIP: "fd00:10:96::35"'

refuses clusterId --set clusterId=east
refuses clusterID --set clusterID=East
refuses replicas --set dns.replicas=two
refuses create --set pricing.create=maybe
refuses ttl --set dns.ttl=86400
refuses clusterIP --set dns.service.clusterIP=landfall-dns
refuses advertise --set 'dns.advertise={ns.example.com}'
refuses zones --set-json 'dns.zones=[]'
refuses zones --set dns.zones=null
refuses pullPolicy --set image.pullPolicy=always

# Helm shows the notes only after an installation, so a copy of the chart has them as a template.
cp -r "$chart" "$work/chart"
{ printf 'notes: |\n  # '; sed 's/^/  /' "$chart/templates/NOTES.txt"; } > "$work/chart/templates/notes.yaml"
notes() { "$helm" template landfall "$work/chart" --namespace landfall-system --show-only templates/notes.yaml "$@"; }
notes > "$work/notes"
has notes 'clusterset.local:53 {'
has notes "kubectl -n landfall-system get service landfall-dns -o jsonpath='{.spec.clusterIP}'"
notes --values "$chart/ci/all-values.yaml" > "$work/all-notes"
has all-notes 'supercluster.example:53 {'
has all-notes 'forward . 10.96.0.53'
