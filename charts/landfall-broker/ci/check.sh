#!/usr/bin/env bash
# Renders the chart as users do, and checks the result. Needs no cluster. The end-to-end tests check the admission
# policy.
#
#   charts/landfall-broker/ci/check.sh HELM     HELM: path of Helm 3
set -euo pipefail
chart=$(cd "$(dirname "$0")/.." && pwd) release=landfall-broker namespace=submariner-k8s-broker
. "$chart/../ci/lib.sh"

lint
lint --values "$chart/ci/all-values.yaml"

render > "$work/default"
render --set 'members={east,west}' > "$work/own"
render --values "$chart/ci/all-values.yaml" > "$work/submariner"

always='Role submariner-k8s-broker/landfall-broker
ValidatingAdmissionPolicy /landfall-broker.submariner-k8s-broker
ValidatingAdmissionPolicyBinding /landfall-broker.submariner-k8s-broker'
consists_of default <<< "$always"
consists_of own <<< "$always
RoleBinding submariner-k8s-broker/landfall-broker-east
RoleBinding submariner-k8s-broker/landfall-broker-west
Secret submariner-k8s-broker/cluster-east
Secret submariner-k8s-broker/cluster-west
ServiceAccount submariner-k8s-broker/cluster-east
ServiceAccount submariner-k8s-broker/cluster-west"
consists_of submariner <<< "$always
RoleBinding submariner-k8s-broker/landfall-broker-east
RoleBinding submariner-k8s-broker/landfall-broker-west.eu"
for values in default own submariner; do has_no "$values" '"*"'; done
brings_its_crds
[ "$(grep -c CustomResourceDefinition "$work/definitions")" = 1 ] || fail "crds/ holds more than ClusterFacts: make crds"

has own 'annotations: {kubernetes.io/service-account.name: "cluster-west"}'
has own '- {kind: ServiceAccount, name: "cluster-west", namespace: submariner-k8s-broker}'
has submariner '- {kind: ServiceAccount, name: "cluster-west.eu", namespace: submariner-k8s-broker}'
has default "expression: request.userInfo.username.startsWith('system:serviceaccount:submariner-k8s-broker:')"
has default 'matchLabels: {kubernetes.io/metadata.name: submariner-k8s-broker}'
has default 'failurePolicy: Fail'

refuses member --set 'member={east}'
refuses members --set 'members={East}'
refuses members --set 'members={east,east}'
refuses members --set members=null
refuses submariner --set submariner=yes

notes > "$work/notes"
has notes "Nobody may yet: set members to the ids of the clusters, such as --set 'members={east,west}'."
notes --set 'members={east,west}' > "$work/own-notes"
has own-notes 'member=east'
has_no own-notes '--broker-namespace'
namespace=clusterset notes --set 'members={east,west}' > "$work/elsewhere-notes"
has elsewhere-notes "--set 'operator.extraArgs={--broker-namespace=clusterset}'"
notes --values "$chart/ci/all-values.yaml" > "$work/submariner-notes"
has_no submariner-notes 'kubeconfig'
