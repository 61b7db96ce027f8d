//! Objects that tests write and read: as a user types them, and as a Lighthouse agent leaves them.
//!
//! They are JSON values and not Landfall's types. With the same types on both sides, no test could notice a wrong field
//! name.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

/// Kinds whose status is a subresource that the tests write. The status of a Gateway or a ServiceSelection is not a
/// subresource.
const WITH_STATUS: [&str; 5] = ["ServiceImport", "ServiceExport", "Submariner", "Node", "Pod"];

/// Readiness of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Ready,
    NotReady,
}

/// Builds an import of a service with one address per cluster and without a clusterset IP, the default of Lighthouse.
#[must_use]
pub fn import(service: &str, clusters: &[&str]) -> Value {
    import_of_type("ClusterSetIP", service, clusters)
}

/// Builds an import of a headless service.
#[must_use]
pub fn headless_import(service: &str, clusters: &[&str]) -> Value {
    import_of_type("Headless", service, clusters)
}

fn import_of_type(kind: &str, service: &str, clusters: &[&str]) -> Value {
    let clusters: Vec<Value> = clusters.iter().map(|cluster| json!({"cluster": cluster})).collect();
    let ports = if kind == "Headless" { json!([]) } else { json!([{"name": "http", "protocol": "TCP", "port": 8080}]) };
    json!({
        "apiVersion": "multicluster.x-k8s.io/v1beta1",
        "kind": "ServiceImport",
        "metadata": {"name": service},
        "spec": {"type": kind, "ports": ports, "ipFamilies": ["IPv4"]},
        "status": {"clusters": clusters},
    })
}

/// Builds the slice of a cluster that exports a service under one address.
#[must_use]
pub fn slice(service: &str, cluster: &str, address: &str, health: Health) -> Value {
    let endpoints = json!([{"addresses": [address], "conditions": {"ready": health == Health::Ready}}]);
    slice_of(service, cluster, "false", endpoints)
}

/// Builds the slice of a cluster that exports pods. `endpoints` has the form of an EndpointSlice.
#[must_use]
pub fn headless_slice(service: &str, cluster: &str, endpoints: Value) -> Value {
    slice_of(service, cluster, "true", endpoints)
}

fn slice_of(service: &str, cluster: &str, headless: &str, endpoints: Value) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": slice_name(service, cluster),
            "labels": {
                "endpointslice.kubernetes.io/managed-by": "lighthouse-agent.submariner.io",
                "multicluster.kubernetes.io/service-name": service,
                "multicluster.kubernetes.io/source-cluster": cluster,
                "lighthouse.submariner.io/is-headless": headless,
            },
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
    })
}

/// Builds the slice of a service's pods in this cluster, as Kubernetes' own controller writes it.
#[must_use]
pub fn local_slice(service: &str, addresses: &[&str], health: Health) -> Value {
    let ready = health == Health::Ready;
    let conditions = json!({"ready": ready, "serving": ready, "terminating": false});
    let endpoints: Vec<Value> =
        addresses.iter().map(|address| json!({"addresses": [address], "conditions": conditions})).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{service}-abcde"),
            "labels": {
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "kubernetes.io/service-name": service,
            },
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
    })
}

/// Returns the name that [`slice()`] gives.
#[must_use]
pub fn slice_name(service: &str, cluster: &str) -> String {
    format!("{service}-{cluster}-x7k2p")
}

/// Builds a policy with the given spec for the service of the same name.
#[must_use]
pub fn policy(service: &str, mut spec: Value) -> Value {
    spec["targetRefs"] = json!([{"group": "multicluster.x-k8s.io", "kind": "ServiceImport", "name": service}]);
    namespace_policy(service, spec)
}

/// Builds a policy with the given spec for its whole namespace.
#[must_use]
pub fn namespace_policy(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "landfall.dev/v1alpha1", "kind": "SelectionPolicy", "metadata": {"name": name}, "spec": spec})
}

/// Builds the spec of a policy that gives every source these weights, without preference for the local cluster.
#[must_use]
pub fn weighted(clusters: Value) -> Value {
    json!({
        "loadBalancing": "weighted-round-robin",
        "localPreference": "Balance",
        "weights": [{"source": "*", "clusters": clusters}],
    })
}

/// Applies the spec of an object, and its status if that is a subresource.
pub async fn apply(client: &Client, object: &Value) -> Result<DynamicObject> {
    let (api, name) = api_of(client, object)?;
    let as_e2e = PatchParams::apply("e2e").force();
    let kind = object["kind"].as_str().unwrap_or_default();
    let mut spec = object.clone();
    let status = WITH_STATUS.contains(&kind).then(|| spec.as_object_mut()?.remove("status")).flatten();
    let applied =
        api.patch(&name, &as_e2e, &Patch::Apply(&spec)).await.with_context(|| format!("apply {kind} {name}"))?;
    let Some(status) = status else { return Ok(applied) };
    let patch = Patch::Merge(json!({"status": status}));
    api.patch_status(&name, &PatchParams::default(), &patch).await.with_context(|| format!("status of {kind} {name}"))
}

/// Applies every document of a YAML file.
pub async fn apply_file(client: &Client, file: &Path) -> Result<()> {
    for object in read_documents(file)? {
        apply(client, &object).await?;
    }
    Ok(())
}

/// Deletes an object. Only its kind, name and namespace count.
pub async fn delete(client: &Client, object: &Value) -> Result<()> {
    let (api, name) = api_of(client, object)?;
    api.delete(&name, &DeleteParams::default()).await.with_context(|| format!("delete {name}"))?;
    Ok(())
}

/// Returns all documents of a YAML file that are not empty.
pub fn read_documents(file: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).with_context(|| format!("{} is not YAML", file.display()))?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// Returns the API of a kind, by its usual plural, in a namespace or in all (`None`).
#[must_use]
pub fn api(client: &Client, api_version: &str, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let kind = GroupVersionKind::gvk(group, version, kind);
    let resource = match kind.kind.as_str() {
        "ClusterFacts" => ApiResource::from_gvk_with_plural(&kind, "clusterfacts"),
        _ => ApiResource::from_gvk(&kind),
    };
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

fn api_of(client: &Client, object: &Value) -> Result<(Api<DynamicObject>, String)> {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
    let needed = |pointer| text(pointer).with_context(|| format!("an object has no {pointer}"));
    let api = api(client, needed("/apiVersion")?, needed("/kind")?, text("/metadata/namespace"));
    Ok((api, needed("/metadata/name")?.to_owned()))
}
