use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::cluster_facts::ClusterFacts;
use crate::network_pricing::NetworkPricing;
use crate::selection_policy::SelectionPolicy;
use crate::service_selection::ServiceSelection;
use crate::submariner::Submariner;

/// Definitions of our resources, and of Submariner's resource with our fields.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let crds = [
        SelectionPolicy::crd(),
        without_subresources(ServiceSelection::crd()),
        NetworkPricing::crd(),
        ClusterFacts::crd(),
        Submariner::crd(),
    ];
    crds.map(with_descriptions_in_paragraphs).into()
}

/// Removes the status subresource, which the derive macro adds for every status. The reason is at [`ServiceSelection`].
fn without_subresources(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    crd.spec.versions.iter_mut().for_each(|version| version.subresources = None);
    crd
}

/// Joins the lines of each paragraph. `kubectl explain` wraps long lines, but keeps the line breaks of doc comments.
fn with_descriptions_in_paragraphs(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let schemas = crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut());
    schemas.filter_map(|schema| schema.open_api_v3_schema.as_mut()).for_each(join_lines);
    crd
}

fn join_lines(schema: &mut JSONSchemaProps) {
    if let Some(description) = &mut schema.description {
        let paragraphs: Vec<String> = description.split("\n\n").map(|text| text.replace('\n', " ")).collect();
        *description = paragraphs.join("\n\n");
    }
    schema.properties.iter_mut().flat_map(|properties| properties.values_mut()).for_each(join_lines);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        join_lines(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        join_lines(values);
    }
}
