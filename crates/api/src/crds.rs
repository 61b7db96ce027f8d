use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{ClusterFacts, NetworkPricing, SelectionPolicy, ServiceSelection, Submariner};

/// The definitions of our resources, and of Submariner's with our fields.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        SelectionPolicy::crd(),
        without_subresources(ServiceSelection::crd()),
        NetworkPricing::crd(),
        ClusterFacts::crd(),
        Submariner::crd(),
    ]
}

/// The derive macro makes a subresource of every status; see [`ServiceSelection`] for why that one has none.
fn without_subresources(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    crd.spec.versions.iter_mut().for_each(|version| version.subresources = None);
    crd
}
