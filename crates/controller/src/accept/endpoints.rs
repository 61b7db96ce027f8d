//! EndpointSlices: endpoints of the clusterset, and pods of the services of the local cluster.

use std::collections::BTreeSet;
use std::net::IpAddr;

use landfall_api as api;
use landfall_api::labels::{LOCAL_SERVICE_NAME, PUBLISH_NOT_READY, SERVICE_NAME, SOURCE_CLUSTER, SOURCE_NAMESPACE};
use landfall_core::export::Endpoint;
use landfall_core::name::{ServiceKey, is_label};

use super::accepted::{Accepted, ReadyPods, Slice};
use super::refused::{Refused, cluster, service};

pub(super) fn accept_slice(slice: &api::EndpointSlice) -> Result<(Accepted, Option<Refused>), Refused> {
    let meta = &slice.metadata;
    let (name, source) = match (meta.labels.get(SERVICE_NAME), meta.labels.get(SOURCE_CLUSTER)) {
        (Some(name), Some(source)) => (name, source),
        (None, None) => return Ok((accept_pods(slice), None)),
        (Some(_), None) | (None, Some(_)) => return Ok((Accepted::Ignored, None)),
    };
    if meta.labels.get(SOURCE_NAMESPACE).is_some_and(|namespace| *namespace != meta.namespace) {
        return Ok((Accepted::Ignored, None));
    }
    let key = service(&format!("metadata.labels[{SERVICE_NAME}]"), &meta.namespace, name)?;
    let cluster = cluster(&format!("metadata.labels[{SOURCE_CLUSTER}]"), source)?;
    let legacy = meta.name.strip_suffix(source.as_str()).is_some_and(|head| head.ends_with('-'));
    let publish_all = meta.annotations.get(PUBLISH_NOT_READY).is_some_and(|value| value == "true");

    let mut ready = BTreeSet::new();
    let mut left_out = None;
    for endpoint in slice.endpoints.iter().filter(|endpoint| publish_all || endpoint.conditions.ready.unwrap_or(true)) {
        let hostname = endpoint.hostname.as_deref().filter(|name| is_label(&name.to_ascii_lowercase()));
        for address in &endpoint.addresses {
            match usable(&slice.address_type, address) {
                Some(address) => drop(ready.insert(Endpoint::new(address, hostname))),
                None => left_out = left_out.or_else(|| Some(Refused::unusable(&slice.address_type, address))),
            }
        }
    }
    Ok((Accepted::Slice(Slice { key, cluster, legacy, ready: ready.into_iter().collect() }), left_out))
}

/// Accepts a slice of a local service. Other slices are ignored without a problem.
fn accept_pods(slice: &api::EndpointSlice) -> Accepted {
    let meta = &slice.metadata;
    let service = meta.labels.get(LOCAL_SERVICE_NAME).and_then(|name| ServiceKey::new(&meta.namespace, name).ok());
    let Some(key) = service else { return Accepted::Ignored };
    let name = |endpoint: &api::Endpoint| -> Option<Box<str>> {
        let pod = Some(endpoint.target_ref.name.as_str()).filter(|name| !name.is_empty());
        pod.or_else(|| endpoint.addresses.first().map(String::as_str)).map(Into::into)
    };
    let ready = slice.endpoints.iter().filter(|endpoint| endpoint.conditions.ready.unwrap_or(true));
    let ready: BTreeSet<Box<str>> = ready.filter_map(name).collect();
    Accepted::Pods(ReadyPods { key, ready: ready.into_iter().collect() })
}

/// Parses an address. Returns `None` if it is not of the slice's family, or if clients in other clusters cannot connect
/// to it.
fn usable(address_type: &str, address: &str) -> Option<IpAddr> {
    let address: IpAddr = address.parse().ok()?;
    let sane = match address {
        IpAddr::V4(ip) => address_type == "IPv4" && !ip.is_link_local() && !ip.is_broadcast(),
        IpAddr::V6(ip) => address_type == "IPv6" && !ip.is_unicast_link_local() && ip.to_ipv4_mapped().is_none(),
    };
    (sane && !address.is_unspecified() && !address.is_loopback() && !address.is_multicast()).then_some(address)
}
