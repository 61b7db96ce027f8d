//! Peer records for DNS replicas, which have no access to the broker, and the first steps of a new leader.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use landfall_controller::change::{BrokerState, Change, PeerEvent, Touched};
use landfall_controller::facts::ClusterFacts;
use landfall_controller::pipeline::Pipeline;
use landfall_controller::publish::desired::desired_writes;
use landfall_controller::publish::write::{Desired, Write};
use landfall_controller::targets::load_targets;
use landfall_core::name::{ClusterId, ServiceKey};

use crate::optimized::web;
use crate::support::{Feed, NOW, applied, import, list, pipeline, slice, synced};
use landfall_controller::observe::perspective::RulesFrom;

/// Returns the writes that these changes require.
fn writes(pipeline: &mut Pipeline, changes: Vec<impl Into<Change>>) -> Vec<Write> {
    let touched = pipeline.feed(changes);
    let desired = desired_writes(pipeline, &touched, &Time(Timestamp::UNIX_EPOCH));
    let write = |desired| match desired {
        Desired::Write(write) => Some(write),
        Desired::InSync(_) => None,
    };
    desired.into_iter().filter_map(write).collect()
}

/// Returns the written peer records as `name`, and the deleted ones as `name (gone)`.
fn peer_records(pipeline: &mut Pipeline, changes: Vec<impl Into<Change>>) -> Vec<String> {
    let record = |write| match write {
        Write::DeletePeerRecord(object) => Some(format!("{} (gone)", object.name)),
        Write::PeerRecord(object, _) => Some(object.name.to_string()),
        Write::Selection(..)
        | Write::DeleteSelection(_)
        | Write::PolicyStatus(..)
        | Write::SubmarinerConditions { .. } => None,
    };
    writes(pipeline, changes).into_iter().filter_map(record).collect()
}

fn reported(cluster: &str, probe_address: &str) -> PeerEvent {
    let facts = ClusterFacts::empty(ClusterId::new(cluster).unwrap());
    PeerEvent::Reported(Arc::new(ClusterFacts { probe_addresses: vec![probe_address.parse().unwrap()], ..facts }))
}

/// Returns a pipeline in round-robin mode, which needs no facts but must know unreachable clusters.
fn fleet() -> Pipeline {
    let web = import("shop", "web", "ClusterSetIP", &["east", "west"]) + &slice("shop", "web", "east", &["10.0.0.1"]);
    let mut pipeline = pipeline("east", RulesFrom::Policies);
    pipeline.apply(list(&web), NOW);
    pipeline.feed(vec![PeerEvent::Broker(Some(BrokerState::default()))]);
    pipeline
}

#[test]
fn probe_addresses_of_peers_are_recorded_for_dns_replicas_in_every_mode() {
    let mut pipeline = fleet();
    assert_eq!(peer_records(&mut pipeline, vec![reported("west", "10.9.0.1:8081")]), ["peer.west"]);
    assert_eq!(
        peer_records(&mut pipeline, vec![reported("west", "10.9.0.2:8081")]),
        ["peer.west"],
        "its replica has moved"
    );
}

#[test]
fn object_of_a_user_is_never_mistaken_for_a_peer_record() {
    let mut pipeline = fleet();
    let object = |name: &str, cluster: &str| {
        format!(
            "---\napiVersion: landfall.dev/v1alpha1\nkind: ClusterFacts\nmetadata: {{name: {name}, namespace: \
             landfall-system}}\nspec: {{cluster: {cluster}}}\n"
        )
    };
    let objects = list(&(object("peer-1", "peer-1") + &object("peer.gone", "gone") + &object("west", "west")));
    assert_eq!(peer_records(&mut pipeline, objects), ["peer.gone (gone)"]);
}

/// Only the leader measures loads. It must not need another event to know its targets.
#[test]
fn new_leader_has_its_load_targets_at_once() {
    let mut pipeline = synced("east", &web(""));
    assert!(load_targets(&pipeline).is_empty());
    let touched: Touched = pipeline.feed(vec![Change::Leads(true)]);
    assert!(!touched.is_empty(), "the other tasks of this process are notified");
    assert!(load_targets(&pipeline).contains_key(&ServiceKey::new("shop", "web").unwrap()));
    assert!(!pipeline.feed(vec![Change::Leads(false)]).is_empty() && load_targets(&pipeline).is_empty());
}

#[test]
fn broker_condition_is_removed_with_the_broker() {
    let submariner = |conditions: &str| {
        format!(
            "---\napiVersion: submariner.io/v1alpha1\nkind: Submariner\nmetadata: {{name: submariner, namespace: \
             submariner-operator, generation: 1}}\nspec: {{serviceDiscoveryEnabled: true}}\nstatus: {{conditions: \
             [{conditions}]}}\n"
        )
    };
    let mut pipeline = fleet();
    let mut condition_types = |changes: Vec<Change>| {
        let of = |write| {
            let Write::SubmarinerConditions { conditions, .. } = write else { return None };
            Some(conditions)
        };
        let conditions = writes(&mut pipeline, changes).into_iter().find_map(of);
        conditions.map(|conditions| conditions.into_iter().map(|one| one.type_).collect::<Vec<_>>())
    };
    let objects = |conditions: &str| applied(&submariner(conditions)).into_iter().map(Change::from).collect();
    let both = ["landfall.dev/LoadBalancing", "landfall.dev/Broker"];
    assert_eq!(condition_types(objects("")).unwrap(), both);
    let condition = |r#type: &str| {
        format!(
            "{{type: {type}, status: \"True\", reason: Connected, message: '', lastTransitionTime: \
             \"2026-01-01T00:00:00Z\"}}"
        )
    };
    condition_types(objects(&both.map(condition).join(", ")));
    assert_eq!(condition_types(vec![PeerEvent::Broker(None).into()]).unwrap(), both[..1]);
}
