//! Objects that Lighthouse agents write, of both generations, unchanged.

use crate::support::{Feed, addresses, applied, deleted, list, synced};
use landfall_controller::change::{Change, ObjectEvent};
use landfall_controller::object::Kind;
use landfall_core::snapshot::ServiceKind;

/// Agents up to 0.19: v1alpha1, one slice per ClusterSetIP service and cluster, timestamps in annotations; with the
/// agent's private import, and with the copies of a broker that shares the cluster.
const OLDER: &str = include_str!("older.yaml");
/// Later agents: v1beta1, a slice per address family, no timestamps, private imports of every cluster everywhere.
const NEWER: &str = include_str!("newer.yaml");

#[test]
fn clusterset_ip_service_of_an_older_agent_has_one_address_per_cluster() {
    let pipeline = synced("north", OLDER);
    assert_eq!(pipeline.shares("nginx.service-ns"), ["east 500 Equal", "west 500 Equal"]);
    assert_eq!(addresses(pipeline.service("nginx.service-ns")), ["10.253.9.1", "10.253.10.1"]);
}

#[test]
fn headless_service_has_the_ready_pods_of_all_clusters_by_hostname() {
    for manifests in [OLDER, NEWER] {
        let pipeline = synced("north", manifests);
        let db = pipeline.service("db.service-ns");
        assert_eq!(db.service.kind, ServiceKind::Headless);
        assert_eq!(addresses(db), ["192.168.5.1", "192.168.6.1"], "192.168.5.2 is not ready");
        let hostnames: Vec<&str> =
            db.service.exports.values().flat_map(|export| export.ready.iter()).map(|ready| &*ready.hostname).collect();
        assert_eq!(hostnames, ["web-0", "web-0"]);
    }
}

#[test]
fn private_imports_and_broker_copies_are_not_services() {
    for manifests in [OLDER, NEWER] {
        let pipeline = synced("north", manifests);
        let names: Vec<String> = pipeline.plan().unwrap().services().map(|(key, _)| key.to_string()).collect();
        assert_eq!(names, ["service-ns/db", "service-ns/nginx"]);
        assert_eq!(pipeline.stores().problems().count(), 0);
    }
}

#[test]
fn service_of_a_newer_agent_has_addresses_of_both_families() {
    let pipeline = synced("north", NEWER);
    let nginx = pipeline.service("nginx.service-ns");
    let all: Vec<String> = nginx
        .service
        .exports
        .values()
        .flat_map(|export| export.ready.iter())
        .map(|ready| ready.address.to_string())
        .collect();
    assert_eq!(all, ["10.253.9.1", "fd00:9::1", "10.253.10.1"]);
}

#[test]
fn unready_addresses_are_published_if_the_exporter_requests_it() {
    let ask = "publish-not-ready-addresses: \"false\"";
    assert!(OLDER.contains(ask));
    let pipeline = synced("north", &OLDER.replace(ask, "publish-not-ready-addresses: \"true\""));
    assert_eq!(addresses(pipeline.service("db.service-ns")), ["192.168.5.1", "192.168.5.2", "192.168.6.1"]);
}

#[test]
fn legacy_slice_is_used_only_until_the_cluster_has_a_newer_one() {
    let legacy = OLDER.replace("name: nginx-x7k2p", "name: nginx-east").replace("10.253.9.1", "10.253.9.9");
    let mut pipeline = synced("north", &legacy);
    assert_eq!(addresses(pipeline.service("nginx.service-ns")), ["10.253.9.9", "10.253.10.1"]);
    pipeline.feed(applied(OLDER));
    assert_eq!(addresses(pipeline.service("nginx.service-ns")), ["10.253.9.1", "10.253.10.1"]);
}

#[test]
fn unconnected_cluster_gets_no_share_while_a_connected_one_is_ready() {
    let mut pipeline =
        synced("north", &(OLDER.to_owned() + &gateway("active", &[("east", "connected"), ("west", "error")])));
    assert_eq!(pipeline.shares("nginx.service-ns"), ["east 1000 Equal", "west 0 Unreachable"]);
    pipeline.feed(applied(&gateway("active", &[("east", "connecting"), ("west", "error")])));
    assert_eq!(pipeline.shares("nginx.service-ns"), ["east 500 AllUnreachable", "west 500 AllUnreachable"]);
    pipeline.feed(applied(&gateway("active", &[("east", "connected")])));
    assert_eq!(pipeline.shares("nginx.service-ns"), ["east 1000 Equal", "west 0 Unreachable"], "west is not listed");
    pipeline.feed(applied(&gateway("passive", &[])));
    assert_eq!(
        pipeline.shares("nginx.service-ns"),
        ["east 500 Equal", "west 500 Equal"],
        "a passive gateway reports no connections"
    );
}

#[test]
fn connections_of_a_gateway_without_heartbeats_are_ignored() {
    let mut pipeline =
        synced("north", &(OLDER.to_owned() + &gateway("active", &[("east", "connected"), ("west", "error")])));
    assert_eq!(pipeline.shares("nginx.service-ns"), ["east 1000 Equal", "west 0 Unreachable"]);
    pipeline.apply(None::<Change>, crate::support::NOW + 16);
    assert_eq!(pipeline.shares("nginx.service-ns"), ["east 500 Equal", "west 500 Equal"]);
}

#[test]
fn last_peer_that_a_gateway_drops_becomes_unreachable() {
    let mut pipeline = synced("east", &(OLDER.to_owned() + &gateway("active", &[("west", "connected")])));
    assert_eq!(pipeline.shares("nginx.service-ns"), ["east 1000 Local", "west 0 Standby"]);
    pipeline.feed(applied(&gateway("active", &[])));
    assert_eq!(pipeline.shares("nginx.service-ns"), ["east 1000 Local", "west 0 Unreachable"]);
}

#[test]
fn heartbeats_are_not_missed_during_an_outage_of_the_api_server() {
    let manifests = OLDER.to_owned() + &gateway("active", &[("east", "connected"), ("west", "error")]);
    let mut pipeline = synced("north", &manifests);
    pipeline.feed(vec![ObjectEvent::Interrupted(Kind::Gateway, "unavailable".into())]);
    let expected = ["east 1000 Equal", "west 0 Unreachable"];
    pipeline.apply(None::<Change>, crate::support::NOW + 3600);
    assert_eq!(pipeline.shares("nginx.service-ns"), expected);
    pipeline.apply(list(&manifests), crate::support::NOW + 3600);
    assert_eq!(pipeline.shares("nginx.service-ns"), expected, "gateways need time to write a heartbeat");
    pipeline.apply(None::<Change>, crate::support::NOW + 3616);
    assert_eq!(pipeline.shares("nginx.service-ns"), ["east 500 Equal", "west 500 Equal"]);
}

#[test]
fn new_round_trip_time_does_not_cause_a_plan() {
    let mut pipeline = synced("north", &(OLDER.to_owned() + &gateway("active", &[("east", "connected")])));
    let touched = pipeline.feed(applied(&gateway("active", &[("east", "connected")]).replace("23.41ms", "99ms")));
    assert!(!touched.all);
    assert_eq!(
        pipeline.view().links.values().next().unwrap().rtt.unwrap().as_millis(),
        23,
        "one sample proves nothing"
    );
}

#[test]
fn connections_of_a_deleted_gateway_are_ignored() {
    let mut pipeline =
        synced("north", &(OLDER.to_owned() + &gateway("active", &[("east", "error"), ("west", "connected")])));
    pipeline.feed(deleted(Kind::Gateway, "submariner-operator", "gw-1"));
    assert_eq!(pipeline.shares("nginx.service-ns"), ["east 500 Equal", "west 500 Equal"]);
}

#[test]
fn round_trip_time_is_the_last_sample_and_zero_is_unknown() {
    let rtt = |last: &str| {
        let manifest = gateway("active", &[("east", "connected")]).replace("23.41ms", last);
        let pipeline = synced("north", &manifest);
        pipeline.view().links.values().next().unwrap().rtt.map(|rtt| rtt.as_micros())
    };
    assert_eq!(rtt("23.41ms"), Some(23_410));
    assert_eq!(rtt("0m59.5s"), Some(59_500_000));
    assert_eq!(rtt("8760h"), Some(60_000_000), "limited to a minute");
    assert_eq!(rtt("850µs"), Some(850));
    for unknown in ["0s", "", "-1ms", "fast", "1", "ms", "9999999999999999999h"] {
        assert_eq!(rtt(unknown), None, "{unknown}");
    }
}

fn gateway(ha_status: &str, connections: &[(&str, &str)]) -> String {
    let connection = |(cluster, status): &(&str, &str)| {
        format!(
            "  - status: {status}\n    latencyRTT: {{last: \"23.41ms\", min: 21.02ms}}\n    endpoint: {{cluster_id: {cluster}, \
             hostname: {cluster}-gw-1}}\n"
        )
    };
    let connections: String = connections.iter().map(connection).collect();
    format!(
        "---\napiVersion: submariner.io/v1\nkind: Gateway\nmetadata: {{name: gw-1, namespace: submariner-operator, \
         annotations: {{update-timestamp: \"{}\"}}}}\nstatus:\n  haStatus: {ha_status}\n  connections:\n{connections}",
        crate::support::NOW
    )
}
