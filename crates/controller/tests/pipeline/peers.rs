//! What is kept of the other clusters for those who have no access to the broker, and what whoever begins to lead does at once.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use landfall_controller::change::BrokerState;
use landfall_controller::change::PeerEvent;
use landfall_controller::change::{Change, Touched};
use landfall_controller::facts::Facts;
use landfall_controller::pipeline::Pipeline;
use landfall_controller::publish::desired::desired_writes;
use landfall_controller::publish::write::{Desired, Write};
use landfall_controller::targets::meters;
use landfall_core::name::{ClusterId, ServiceKey};

use crate::optimized::web;
use crate::support::{Feed, NOW, applied, import, list, pipeline, slice, synced};
use landfall_controller::observe::perspective::RulesFrom;

/// The writes that these changes require.
fn writes(pipeline: &mut Pipeline, changes: Vec<impl Into<Change>>) -> Vec<Write> {
    let touched = pipeline.feed(changes);
    let desired = desired_writes(pipeline, &touched, &Time(Timestamp::UNIX_EPOCH));
    let write = |desired| match desired {
        Desired::Write(write) => Some(write),
        Desired::InSync(_) => None,
    };
    desired.into_iter().filter_map(write).collect()
}

/// The peer records among them, `name` or `name (gone)`.
fn kept(pipeline: &mut Pipeline, changes: Vec<impl Into<Change>>) -> Vec<String> {
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

fn says(cluster: &str, probe_address: &str) -> PeerEvent {
    let facts = Facts::silent(ClusterId::new(cluster).unwrap());
    PeerEvent::Reported(Arc::new(Facts { probe_addresses: vec![probe_address.parse().unwrap()], ..facts }))
}

/// In round-robin mode, which needs no facts but has to know who is dead.
fn fleet() -> Pipeline {
    let web = import("shop", "web", "ClusterSetIP", &["east", "west"]) + &slice("shop", "web", "east", &["10.0.0.1"]);
    let mut pipeline = pipeline("east", RulesFrom::Policies);
    pipeline.apply(list(&web), NOW);
    pipeline.feed(vec![PeerEvent::Broker(Some(BrokerState::default()))]);
    pipeline
}

#[test]
fn where_a_peer_can_be_probed_is_kept_for_dns_replicas_whatever_the_mode() {
    let mut pipeline = fleet();
    assert_eq!(kept(&mut pipeline, vec![says("west", "10.9.0.1:8081")]), ["peer.west"]);
    assert_eq!(kept(&mut pipeline, vec![says("west", "10.9.0.2:8081")]), ["peer.west"], "its replica has moved");
}

#[test]
fn what_people_say_of_a_cluster_is_never_taken_for_what_is_kept_of_another() {
    let mut pipeline = fleet();
    let object = |name: &str, cluster: &str| {
        format!(
            "---\napiVersion: landfall.dev/v1alpha1\nkind: ClusterFacts\nmetadata: {{name: {name}, namespace: \
             landfall-system}}\nspec: {{cluster: {cluster}}}\n"
        )
    };
    let said = list(&(object("peer-1", "peer-1") + &object("peer.gone", "gone") + &object("west", "west")));
    assert_eq!(kept(&mut pipeline, said), ["peer.gone (gone)"]);
}

/// Meters are read for the one who leads: it must not need news of anybody to know which.
#[test]
fn whoever_begins_to_lead_knows_at_once_what_to_measure() {
    let mut pipeline = synced("east", &web(""));
    assert!(meters(&pipeline).is_empty());
    let touched: Touched = pipeline.feed(vec![Change::Leads(true)]);
    assert!(!touched.is_nothing(), "the others of this process are told");
    assert!(meters(&pipeline).contains_key(&ServiceKey::new("shop", "web").unwrap()));
    assert!(!pipeline.feed(vec![Change::Leads(false)]).is_nothing() && meters(&pipeline).is_empty());
}

#[test]
fn when_there_is_no_broker_any_more_nothing_is_said_of_it() {
    let submariner = |conditions: &str| {
        format!(
            "---\napiVersion: submariner.io/v1alpha1\nkind: Submariner\nmetadata: {{name: submariner, namespace: \
             submariner-operator, generation: 1}}\nspec: {{serviceDiscoveryEnabled: true}}\nstatus: {{conditions: \
             [{conditions}]}}\n"
        )
    };
    let mut pipeline = fleet();
    let mut said = |changes: Vec<Change>| {
        let of = |write| {
            let Write::SubmarinerConditions { conditions, .. } = write else { return None };
            Some(conditions)
        };
        let conditions = writes(&mut pipeline, changes).into_iter().find_map(of);
        conditions.map(|conditions| conditions.into_iter().map(|one| one.type_).collect::<Vec<_>>())
    };
    let objects = |conditions: &str| applied(&submariner(conditions)).into_iter().map(Change::from).collect();
    let both = ["landfall.dev/LoadBalancing", "landfall.dev/Broker"];
    assert_eq!(said(objects("")).unwrap(), both);
    let condition = |r#type: &str| {
        format!(
            "{{type: {type}, status: \"True\", reason: Connected, message: '', lastTransitionTime: \
             \"2026-01-01T00:00:00Z\"}}"
        )
    };
    said(objects(&both.map(condition).join(", ")));
    assert_eq!(said(vec![PeerEvent::Broker(None).into()]).unwrap(), both[..1]);
}
