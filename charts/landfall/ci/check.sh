#!/usr/bin/env bash
# Renders the chart as users do, and checks the result. Needs no cluster.
#
#   charts/landfall/ci/check.sh HELM     HELM: path of Helm 3
set -euo pipefail
chart=$(cd "$(dirname "$0")/.." && pwd) release=landfall namespace=landfall-system
. "$chart/../ci/lib.sh"

lint
lint --values "$chart/ci/all-values.yaml"

render > "$work/default"
render --values "$chart/ci/all-values.yaml" > "$work/all"

expected='ClusterRole /landfall-dns
ClusterRole /landfall-operator
ClusterRoleBinding /landfall-dns
ClusterRoleBinding /landfall-operator
Deployment landfall-system/landfall-dns
Deployment landfall-system/landfall-operator
PodDisruptionBudget landfall-system/landfall-dns
PodDisruptionBudget landfall-system/landfall-operator
Role landfall-system/landfall-dns
Role landfall-system/landfall-operator
RoleBinding landfall-system/landfall-dns
RoleBinding landfall-system/landfall-operator
Service landfall-system/landfall-dns
ServiceAccount landfall-system/landfall-dns
ServiceAccount landfall-system/landfall-operator'
consists_of default <<< "$expected
NetworkPricing /default"
consists_of all <<< "$expected
Role submariner/landfall-operator
RoleBinding submariner/landfall-operator"
for values in default all; do has_no "$values" '"*"'; done
brings_its_crds

has default 'image: "landfall:0.1.0"'
has default '- --zone=clusterset.local'
has default '- --listen=0.0.0.0:53'
has default '- --admin=0.0.0.0:8080'
has default 'capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}'
has default 'prometheus.io/port: "8081"'
has default 'resources: [networkpricings]'
has default '- --dns-service=landfall-dns'
has default '- {from: {provider: aws}, usdPerGb: 0.09}  # 2026'
has_no default '--cluster-id'
has_no default '--broker-kubeconfig'
has_no default '--probe-advertise'
has_no default 'clusterIP:'

has all 'image: "registry.example.com/landfall:edge"'
has all '- --cluster-id=east.eu'
has all '- --zone=supercluster.example'
has all '- --listen=[::]:53'
has all 'clusterIP: "10.96.0.53"'
has all '- --advertise=203.0.113.7'
has all '- --probe-advertise=198.51.100.4:30053'
has all '- --probe-advertise=[2001:db8::4]:30053'
has all '- --broker-kubeconfig=/etc/landfall/broker/kubeconfig'
has all '- {name: broker, mountPath: /etc/landfall/broker, readOnly: true}'
has all 'secret: {secretName: "broker-access"}'
has all 'resourceNames: ["broker-east"]'
has all 'priorityClassName: system-cluster-critical'
[ "$(grep -c -- --advertise=10.96.0.53 "$work/all")" = 1 ] || fail "all: the Service's address must be advertised exactly once"
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
refuses probeAdvertise --set 'dns.probeAdvertise={198.51.100.4}'
refuses zones --set-json 'dns.zones=[]'
refuses zones --set dns.zones=null
refuses pullPolicy --set image.pullPolicy=always

notes > "$work/notes"
has notes 'clusterset.local:53 {'
has notes "kubectl -n landfall-system get service landfall-dns -o jsonpath='{.spec.clusterIP}'"
notes --values "$chart/ci/all-values.yaml" > "$work/all-notes"
has all-notes 'supercluster.example:53 {'
has all-notes 'forward . 10.96.0.53'
