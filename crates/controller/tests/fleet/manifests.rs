//! Objects of a cluster, as its API server returns them.

use landfall_controller::change::ObjectEvent;
use landfall_controller::manifest::documents;
use landfall_controller::object::{Kind, Object};

/// Returns all objects of the manifests. Panics if one cannot be read.
pub(crate) fn objects(manifests: &str) -> Vec<Object> {
    let read = documents(manifests).into_iter().map(|document| document.read.map_err(|malformed| malformed.what));
    read.map(|object| object.unwrap()).collect()
}

pub(crate) fn applied(objects: Vec<Object>) -> Vec<ObjectEvent> {
    objects.into_iter().map(|object| ObjectEvent::Apply { object, origin: None }).collect()
}

/// Returns the objects as complete lists of all kinds.
pub(crate) fn listed(objects: Vec<Object>) -> Vec<ObjectEvent> {
    let begin = Kind::ALL.into_iter().map(ObjectEvent::ListBegins);
    begin.chain(applied(objects)).chain(Kind::ALL.into_iter().map(ObjectEvent::ListEnds)).collect()
}

/// Returns an import in the namespace `shop`.
pub(crate) fn import(service: &str, exporters: &[&str]) -> String {
    let clusters: Vec<String> = exporters.iter().map(|cluster| format!("{{cluster: {cluster}}}")).collect();
    format!(
        "---\napiVersion: multicluster.x-k8s.io/v1beta1\nkind: ServiceImport\nmetadata: {{name: {service}, namespace: \
         shop}}\nspec: {{type: ClusterSetIP, ports: []}}\nstatus: {{clusters: [{}]}}\n",
        clusters.join(", ")
    )
}

/// Returns the slice of an export in the clusterset: one service IP, which is ready while any pod is.
pub(crate) fn export(service: &str, cluster: &str, address: &str, ready: bool) -> String {
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {service}-of-{cluster}-x\n  \
         namespace: shop\n  labels: {{multicluster.kubernetes.io/service-name: {service}, \
         multicluster.kubernetes.io/source-cluster: {cluster}}}\naddressType: IPv4\nendpoints: [{{addresses: \
         [{address}], conditions: {{ready: {ready}}}}}]\nports: []\n"
    )
}

/// Returns the slice of the service in its own cluster, with its pods.
pub(crate) fn pods(service: &str, ready: usize) -> String {
    let pod = |i| format!("{{addresses: [10.200.0.{}], targetRef: {{kind: Pod, name: pod-{i}}}}}", i + 1);
    let pods: Vec<String> = (0..ready).map(pod).collect();
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {service}-local\n  namespace: \
         shop\n  labels: {{kubernetes.io/service-name: {service}}}\naddressType: IPv4\nendpoints: [{}]\nports: []\n",
        pods.join(", ")
    )
}

/// Returns a policy for all services of the namespace.
pub(crate) fn policy(spec: &str) -> String {
    format!(
        "---\napiVersion: landfall.dev/v1alpha1\nkind: SelectionPolicy\nmetadata: {{name: all, namespace: shop, \
         creationTimestamp: \"2026-01-01T00:00:00Z\", generation: 1}}\nspec: {spec}\n"
    )
}

pub(crate) fn node(zone: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Node\nmetadata: {{name: n1, labels: {{topology.kubernetes.io/zone: \
         {zone}}}}}\nspec: {{providerID: \"aws:///{zone}/i-1\"}}\n"
    )
}

pub(crate) const PRICES: &str = include_str!("../../../../charts/landfall/files/networkpricing-default.yaml");
