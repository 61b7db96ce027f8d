//! ServiceImports: services of the clusterset, and the annotations that users add to them.

use std::collections::BTreeMap;

use landfall_api as api;
use landfall_api::labels::{PREFER_LOCAL, SERVICE_NAME, SOURCE_CLUSTER, SOURCE_NAMESPACE, WEIGHT_PREFIX};
use landfall_core::name::ClusterId;
use landfall_core::policy::{LocalPreference, Weight};
use landfall_core::snapshot::ServiceKind;

use super::accepted::{Accepted, ExportWeights, Import};
use super::refused::{Refused, cluster, service};

pub(super) fn accept_import(import: &api::ServiceImport) -> Result<(Accepted, Option<Refused>), Refused> {
    let meta = &import.metadata;
    if meta.annotations.contains_key(SERVICE_NAME) {
        return Ok((Accepted::Ignored, None));
    }
    if meta.labels.contains_key(SERVICE_NAME) {
        return accept_export_weights(meta).map(|accepted| (accepted, None));
    }
    let key = service("metadata", &meta.namespace, &meta.name)?;
    let kind = match import.spec.r#type.as_str() {
        "ClusterSetIP" => {
            ServiceKind::ClusterSetIp { ips: import.spec.ips.iter().filter_map(|ip| ip.parse().ok()).collect() }
        }
        "Headless" => ServiceKind::Headless,
        other => return Err(Refused::ImportType(other.to_owned())),
    };
    let mut left_out = None;
    let mut kept = |refused: Refused| left_out = left_out.take().or(Some(refused));
    let mut exporters = Vec::new();
    for (i, status) in import.status.clusters.iter().enumerate() {
        match cluster(&format!("status.clusters[{i}]"), &status.cluster) {
            Ok(exporter) => exporters.push(exporter),
            Err(refused) => kept(refused),
        }
    }
    let mut weights = BTreeMap::new();
    for annotation in weight_annotations(meta) {
        match annotation.and_then(|(importer, key, value)| Ok((importer, weights_by_exporter(key, value)?))) {
            Ok((importer, row)) => drop(weights.insert(importer, row)),
            Err(refused) => kept(refused),
        }
    }
    let local_preference = local_preference(meta).unwrap_or_else(|refused| {
        kept(refused);
        None
    });
    Ok((Accepted::Import(Import { key, kind, exporters, local_preference, weights }), left_out))
}

fn accept_export_weights(meta: &api::Meta) -> Result<Accepted, Refused> {
    let label = |key: &str| meta.labels.get(key).map(String::as_str).unwrap_or_default();
    let mut weights = BTreeMap::new();
    for annotation in weight_annotations(meta) {
        let (importer, key, value) = annotation?;
        let expected = "a number";
        let refused = || Refused::Annotation { key: key.to_owned(), value: value.to_owned(), expected };
        weights.insert(importer, Weight::from(value.trim().parse::<f64>().map_err(|_| refused())?));
    }
    let local_preference = local_preference(meta)?;
    if weights.is_empty() && local_preference.is_none() {
        return Ok(Accepted::Ignored);
    }
    Ok(Accepted::ExportWeights(ExportWeights {
        key: service("metadata.labels", label(SOURCE_NAMESPACE), label(SERVICE_NAME))?,
        exporter: cluster(&format!("metadata.labels[{SOURCE_CLUSTER}]"), label(SOURCE_CLUSTER))?,
        local_preference,
        weights,
    }))
}

/// Returns the importing cluster, key and value of each weight annotation.
fn weight_annotations(meta: &api::Meta) -> impl Iterator<Item = Result<(ClusterId, &str, &str), Refused>> {
    meta.annotations.iter().filter_map(|(key, value)| {
        let importer = cluster(&format!("metadata.annotations[{key}]"), key.strip_prefix(WEIGHT_PREFIX)?);
        Some(importer.map(|importer| (importer, key.as_str(), value.as_str())))
    })
}

/// Parses weights such as `c2:10,c3:5`, the format that was designed for `subctl export`. The aggregated import is for
/// all exporters, so each weight needs a cluster.
fn weights_by_exporter(key: &str, value: &str) -> Result<BTreeMap<ClusterId, Weight>, Refused> {
    let expected = "a list of exporting clusters and their weights, such as c2:10,c3:5";
    let refused = || Refused::Annotation { key: key.to_owned(), value: value.to_owned(), expected };
    let weight = |entry: &str| {
        let (exporter, weight) = entry.split_once([':', '=']).ok_or_else(refused)?;
        let weight: f64 = weight.trim().parse().map_err(|_| refused())?;
        Ok((cluster(&format!("metadata.annotations[{key}]"), exporter.trim())?, Weight::from(weight)))
    };
    value.split(',').map(weight).collect()
}

fn local_preference(meta: &api::Meta) -> Result<Option<LocalPreference>, Refused> {
    match meta.annotations.get(PREFER_LOCAL).map(String::as_str) {
        None => Ok(None),
        Some("true") => Ok(Some(LocalPreference::Prefer)),
        Some("false") => Ok(Some(LocalPreference::Balance)),
        Some(value) => Err(Refused::Annotation {
            key: PREFER_LOCAL.to_owned(),
            value: value.to_owned(),
            expected: "\"true\" or \"false\"",
        }),
    }
}
