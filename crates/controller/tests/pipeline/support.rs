//! A pipeline whose input are manifests.

use landfall_controller::change::{Change, ObjectEvent, Touched};
use landfall_controller::manifest::documents;
use landfall_controller::object::{Kind, ObjectRef};
use landfall_controller::observe::perspective::{Age, Perspective, RulesFrom};
use landfall_controller::pipeline::Pipeline;
use landfall_core::export::Family;
use landfall_core::name::ClusterId;
use landfall_core::plan::ServicePlan;

pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) fn pipeline(local: &str, rules_from: RulesFrom) -> Pipeline {
    let local = ClusterId::new(local).unwrap();
    Pipeline::new(
        Perspective { local, namespace: "landfall-system".into(), submariner_namespace: None, rules_from },
        Age::Live,
    )
}

/// Returns a pipeline that uses only the Submariner resource of one namespace.
pub(crate) fn pipeline_near(local: &str, submariner_namespace: Option<&str>) -> Pipeline {
    let local = ClusterId::new(local).unwrap();
    let submariner_namespace = submariner_namespace.map(Into::into);
    let namespace = "landfall-system".into();
    Pipeline::new(Perspective { local, namespace, submariner_namespace, rules_from: RulesFrom::Policies }, Age::Live)
}

/// Returns a pipeline with complete lists of these objects.
pub(crate) fn synced(local: &str, manifests: &str) -> Pipeline {
    let mut pipeline = pipeline(local, RulesFrom::Policies);
    pipeline.apply(list(manifests), NOW);
    pipeline
}

pub(crate) fn list(manifests: &str) -> Vec<ObjectEvent> {
    let begin = Kind::ALL.into_iter().map(ObjectEvent::ListBegins);
    begin.chain(applied(manifests)).chain(Kind::ALL.into_iter().map(ObjectEvent::ListEnds)).collect()
}

/// Returns the events that apply the manifests. Panics if one cannot be read.
pub(crate) fn applied(manifests: &str) -> Vec<ObjectEvent> {
    let read = documents(manifests).into_iter().map(|document| document.read.map_err(|malformed| malformed.what));
    read.map(|object| ObjectEvent::Apply { object: object.unwrap(), origin: None }).collect()
}

pub(crate) fn deleted(kind: Kind, namespace: &str, name: &str) -> Vec<ObjectEvent> {
    vec![ObjectEvent::Delete(kind, ObjectRef::new(namespace, name))]
}

pub(crate) trait Feed {
    fn feed(&mut self, changes: Vec<impl Into<Change>>) -> Touched;
    /// Returns a service by its DNS name, such as `web.shop`.
    fn service(&self, name: &str) -> &ServicePlan;
    /// Returns a line such as `c2 333 Weighted` for each candidate.
    fn shares(&self, name: &str) -> Vec<String>;
}

impl Feed for Pipeline {
    fn feed(&mut self, changes: Vec<impl Into<Change>>) -> Touched {
        self.apply(changes, NOW + 1)
    }

    fn service(&self, name: &str) -> &ServicePlan {
        self.plan().unwrap().get(name).unwrap_or_else(|| panic!("no service {name}"))
    }

    fn shares(&self, name: &str) -> Vec<String> {
        let shares = &self.service(name).shares;
        shares.iter().map(|share| format!("{} {} {}", share.cluster, share.weight, share.reason)).collect()
    }
}

/// Returns every IPv4 address that can be answered, sorted.
pub(crate) fn addresses(planned: &ServicePlan) -> Vec<String> {
    let mut addresses = planned.in_weighted_order(Family::Ipv4, 0, usize::MAX);
    addresses.sort_unstable();
    addresses.iter().map(ToString::to_string).collect()
}

pub(crate) fn import(namespace: &str, name: &str, kind: &str, clusters: &[&str]) -> String {
    let clusters: Vec<String> = clusters.iter().map(|cluster| format!("{{cluster: {cluster}}}")).collect();
    format!(
        "---\napiVersion: multicluster.x-k8s.io/v1beta1\nkind: ServiceImport\nmetadata: {{name: {name}, namespace: \
         {namespace}}}\nspec: {{type: {kind}, ports: []}}\nstatus: {{clusters: [{}]}}\n",
        clusters.join(", ")
    )
}

/// Returns a slice with these ready addresses.
pub(crate) fn slice(namespace: &str, service: &str, cluster: &str, addresses: &[&str]) -> String {
    let endpoints: Vec<String> =
        addresses.iter().map(|ip| format!("{{addresses: [{ip}], conditions: {{ready: true}}}}")).collect();
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {service}-of-{cluster}-x\n  \
         namespace: {namespace}\n  labels: {{multicluster.kubernetes.io/service-name: {service}, \
         multicluster.kubernetes.io/source-cluster: {cluster}}}\naddressType: IPv4\nendpoints: [{}]\nports: []\n",
        endpoints.join(", ")
    )
}

pub(crate) fn policy(namespace: &str, name: &str, created: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: landfall.dev/v1alpha1\nkind: SelectionPolicy\nmetadata: {{name: {name}, namespace: \
         {namespace}, creationTimestamp: \"{created}\", generation: 1}}\nspec: {spec}\n"
    )
}
