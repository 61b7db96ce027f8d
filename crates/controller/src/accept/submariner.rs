//! Submariner resource: the id of the local cluster, and its default mode.

use landfall_api as api;
use landfall_core::policy::Mode;

use super::accepted::{Accepted, Submariner};
use super::refused::{Refused, cluster};
use super::settings::Preset;

pub(super) fn mode(load_balancing: api::LoadBalancing) -> Mode {
    match load_balancing {
        api::LoadBalancing::RoundRobin => Mode::RoundRobin,
        api::LoadBalancing::WeightedRoundRobin => Mode::WeightedRoundRobin,
        api::LoadBalancing::Optimized => Mode::Optimized,
    }
}

pub(super) fn accept_submariner(submariner: api::Submariner) -> Result<Accepted, Refused> {
    let spec = submariner.spec;
    let cluster_id = Some(spec.cluster_id).filter(|id| !id.is_empty());
    Ok(Accepted::Submariner(Submariner {
        cluster_id: cluster_id.map(|id| cluster("spec.clusterID", &id)).transpose()?,
        service_discovery: spec.service_discovery_enabled.unwrap_or(false),
        mode: spec.service_discovery_load_balancing.map(mode),
        params: spec.optimized_load_balancing_params.map(Preset::from),
        generation: submariner.metadata.generation.unwrap_or(0),
        status: submariner.status.unwrap_or_default(),
        resource_version: submariner.metadata.resource_version.unwrap_or_default().into(),
    }))
}
