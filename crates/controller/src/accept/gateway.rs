//! Gateways: connections of the local cluster to the others.

use std::collections::BTreeMap;
use std::time::Duration;

use landfall_api as api;
use landfall_core::name::ClusterId;
use landfall_core::snapshot::Link;

use super::accepted::{Accepted, Gateway};
use super::facts::MS;
use super::refused::{Refused, cluster};

const UPDATED: &str = "update-timestamp";

pub(super) fn accept_gateway(gateway: &api::Gateway) -> (Accepted, Option<Refused>) {
    let mut left_out = None;
    let mut links: BTreeMap<ClusterId, Link> = BTreeMap::new();
    for (i, connection) in gateway.status.connections.iter().enumerate() {
        let field = format!("status.connections[{i}].endpoint.cluster_id");
        let peer = match cluster(&field, &connection.endpoint.cluster_id) {
            Ok(peer) => peer,
            Err(refused) => {
                left_out = left_out.or(Some(refused));
                continue;
            }
        };
        let last = connection.latency_rtt.as_ref().and_then(|rtt| go_duration(&rtt.last));
        let field = format!("status.connections[{i}].latencyRTT.last");
        let (last_ms, refused) = MS.clip(&field, last.map(|rtt| 1e3 * rtt.as_secs_f64()));
        left_out = left_out.or_else(|| refused.map(Refused::Number));
        let rtt = last_ms.map(|ms| Duration::from_secs_f64(ms / 1e3)).filter(|rtt| !rtt.is_zero());
        let link = Link { reachable: connection.status == "connected", rtt };
        let best = links.entry(peer).or_insert(link);
        if link.reachable && !best.reachable {
            *best = link;
        }
    }
    let gateway = Gateway {
        active: gateway.status.ha_status == "active",
        updated: gateway.metadata.annotations.get(UPDATED).and_then(|time| time.parse().ok()),
        links,
    };
    (Accepted::Gateway(gateway), left_out)
}

/// Parses a duration as Go prints it, such as `1h2m0.5s`, `23.41ms` or `850µs`. Returns `None` for other or negative
/// values.
fn go_duration(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len()));
        let scale = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    Duration::try_from_secs_f64(seconds).ok()
}
