//! Desired writes: the difference between the desired state and the state in the API server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use landfall_api::ServiceSelectionStatus;
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::plan::{Plan, ServicePlan};

use super::conditions::{policy_status, submariner_conditions};
use super::selection::{RoundInfo, savings_status, selection_status};
use super::write::{Desired, Target, Write};
use crate::accept::fingerprint;
use crate::broker::connection::BrokerConnection;
use crate::broker::objects;
use crate::change::Touched;
use crate::facts::ClusterFacts;
use crate::object::{Kind, ObjectRef};
use crate::observe::precedence::{Precedence, submariner, submariners};
use crate::pipeline::Pipeline;

/// Prefix of the names of peer records. Cluster ids have no dot, so an object that a user names after a cluster is
/// never mistaken for a peer record.
const PEER_RECORD: &str = "peer.";

/// Returns the desired write of each touched target. Returns none before the first plan.
pub fn desired_writes(pipeline: &Pipeline, touched: &Touched, now: &Time) -> Vec<Desired> {
    let Some(plan) = pipeline.plan() else { return Vec::new() };
    let mut desired = selections(pipeline, plan, touched);
    if touched.all || touched.policies || !touched.services.is_empty() {
        desired.extend(policies(pipeline, plan, now));
    }
    if touched.all || !touched.peers.is_empty() || touched.policies {
        desired.extend(peer_records(pipeline));
    }
    if touched.policies {
        desired.extend(submariner_resources(pipeline, now));
    }
    desired
}

/// Returns true if the object of the target exists, or need not exist. It is false for the status of a deleted object.
pub fn is_present(pipeline: &Pipeline, target: &Target) -> bool {
    let stores = pipeline.stores();
    match target {
        Target::Selection(_) | Target::PeerRecord(_) => true,
        Target::PolicyStatus(object) => stores.settings.policies.contains_key(object),
        Target::SubmarinerConditions(object) => stores.settings.submariners.contains_key(object),
    }
}

fn desired(target: Target, write: Option<Write>) -> Desired {
    write.map_or(Desired::InSync(target), Desired::Write)
}

fn selections(pipeline: &Pipeline, plan: &Plan, touched: &Touched) -> Vec<Desired> {
    let stores = pipeline.stores();
    let round = pipeline.published().map(|own| own.generation);
    let round_info = RoundInfo { round, facts: Some(&stores.facts.peers) };
    let stored = &stores.services.selections;
    let keys: BTreeSet<ServiceKey> = match touched.all {
        true => plan.keys().into_iter().chain(stored.keys().cloned()).collect(),
        false => touched.services.clone(),
    };
    // A refused import still exists, so its selection is not an orphan.
    let is_import =
        |key: &ServiceKey| stores.has_problem(Kind::ServiceImport, &ObjectRef::new(key.namespace(), key.name()));
    let one = |key: ServiceKey| {
        let write = match (plan.get(key.as_str()), stored.get(&key)) {
            (Some(planned), stored) => {
                let status = selection_status(planned, pipeline.view(), round_info);
                let same = stored.is_some_and(|stored| stored.ours && stored.fingerprint == fingerprint(&status));
                (!same).then(|| {
                    let savings = savings_status(planned, pipeline.view());
                    Write::Selection(key.clone(), Box::new(ServiceSelectionStatus { savings, ..status }))
                })
            }
            (None, Some(orphan)) if orphan.ours && !is_import(&key) => Some(Write::DeleteSelection(key.clone())),
            (None, _) => None,
        };
        desired(Target::Selection(key), write)
    };
    keys.into_iter().map(one).collect()
}

fn policies(pipeline: &Pipeline, plan: &Plan, now: &Time) -> Vec<Desired> {
    let stores = pipeline.stores();
    if stores.settings.policies.is_empty() {
        return Vec::new();
    }
    let mut followers: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    let followed = |planned: &'_ ServicePlan| {
        let shadow = planned.shadow.as_ref().and_then(|shadow| shadow.rule.policy.clone());
        [planned.rule.policy.clone(), shadow].into_iter().flatten()
    };
    for policy in plan.planned().flat_map(followed) {
        *followers.entry(policy).or_default() += 1;
    }
    let precedence = Precedence::new(stores, &pipeline.perspective().namespace);
    let one = |(object, policy)| {
        let object: &ObjectRef = object;
        let verdict = precedence.verdict(object, policy);
        let services = followers.get(object.to_string().as_str()).copied().unwrap_or(0);
        let status = policy_status(policy, &verdict, services, now);
        let write = status.map(|status| Write::PolicyStatus(object.clone(), Box::new(status)));
        desired(Target::PolicyStatus(object.clone()), write)
    };
    stores.settings.policies.iter().map(one).collect()
}

/// Returns the desired peer records: the probe addresses of the peers, for DNS replicas, which have no access to the
/// broker. An operator that starts during an outage of the broker needs them too.
fn peer_records(pipeline: &Pipeline) -> Vec<Desired> {
    let (stores, perspective) = (pipeline.stores(), pipeline.perspective());
    if !matches!(pipeline.hearing(), BrokerConnection::Connected { .. }) {
        return Vec::new();
    }
    let object = |cluster: &ClusterId| ObjectRef::new(&perspective.namespace, &format!("{PEER_RECORD}{cluster}"));
    let mut kept = stores.facts.objects_in(&perspective.namespace);
    kept.retain(|at, facts| *at == object(&facts.cluster));
    let one = |(cluster, facts): (&ClusterId, &Arc<ClusterFacts>)| {
        let object = object(cluster);
        let recorded = |facts: &ClusterFacts| (facts.probe_addresses.clone(), facts.location.clone());
        let same = kept.get(&object).is_some_and(|kept| recorded(kept) == recorded(facts));
        let record = ClusterFacts {
            probe_addresses: facts.probe_addresses.clone(),
            location: facts.location.clone(),
            ..ClusterFacts::empty(cluster.clone())
        };
        let write = (!same).then(|| Write::PeerRecord(object.clone(), Box::new(objects::cluster_part(&record))));
        desired(Target::PeerRecord(object), write)
    };
    let records = stores.facts.peers.iter().filter(|(cluster, _)| **cluster != perspective.local).map(one);
    let gone = kept.iter().filter(|(_, facts)| !stores.facts.peers.contains_key(&facts.cluster));
    records.chain(gone.map(|(object, _)| Desired::Write(Write::DeletePeerRecord(object.clone())))).collect()
}

fn submariner_resources(pipeline: &Pipeline, now: &Time) -> Vec<Desired> {
    let stores = pipeline.stores();
    let in_force = submariner(stores, pipeline.perspective()).map(|(object, _)| object);
    let one = |(object, submariner)| {
        let object: &ObjectRef = object;
        let in_force = (Some(object) == in_force, stores.facts.broker.as_ref());
        let write = submariner_conditions(submariner, in_force, now).map(|conditions| Write::SubmarinerConditions {
            object: object.clone(),
            conditions,
            resource_version: submariner.resource_version.clone(),
        });
        desired(Target::SubmarinerConditions(object.clone()), write)
    };
    submariners(stores, pipeline.perspective()).map(one).collect()
}
