//! After each plan: what should be written, by comparing what should be with what is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use landfall_api::ServiceSelectionStatus;
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::plan::{Plan, ServicePlan};
use tokio::time::Instant;

use crate::accept::fingerprint;
use crate::broker::connection::Hearing;
use crate::broker::objects;
use crate::change::Touched;
use crate::facts::Facts;
use crate::kubernetes::outbox::{Outbox, Target, Write};
use crate::object::{Kind, ObjectRef};
use crate::observe::precedence::{Precedence, submariner, submariners};
use crate::pipeline::{Observer, Pipeline};
use crate::publish::conditions::{policy_status, submariner_conditions};
use crate::publish::selection::{Told, savings_status, selection_status};

/// What the name of the local object begins with that holds what is kept of a peer. No cluster id has a dot: objects that people
/// name after a cluster are never taken for one.
const HEAD: &str = "peer.";

/// Fills the outbox.
pub struct Reconciler {
    pub outbox: Arc<Outbox>,
    pub clock: fn() -> Time,
}

impl Observer for Reconciler {
    fn settled(&mut self, pipeline: &Pipeline, touched: &Touched) {
        let Some(plan) = pipeline.plan() else { return };
        self.selections(pipeline, plan, touched);
        if touched.all || touched.policies || !touched.services.is_empty() {
            self.policies(pipeline, plan);
        }
        if touched.all || !touched.peers.is_empty() || touched.policies {
            self.heads(pipeline);
        }
        if touched.policies {
            self.submariners(pipeline);
            let stores = pipeline.stores();
            self.outbox.retain(|target| match target {
                Target::Selection(_) | Target::Head(_) => true,
                Target::PolicyStatus(object) => stores.policies.contains_key(object),
                Target::SubmarinerStatus(object) => stores.submariners.contains_key(object),
            });
        }
    }
}

impl Reconciler {
    fn selections(&self, pipeline: &Pipeline, plan: &Plan, touched: &Touched) {
        let stored = &pipeline.stores().selections;
        let round = pipeline.published().map(|own| own.generation);
        let told = Told { round, facts: Some(&pipeline.stores().peers) };
        let every = || plan.keys().into_iter().chain(stored.keys().cloned()).collect();
        let import = |key: &ServiceKey| ObjectRef::new(key.namespace(), key.name());
        let unreadable = |key: &ServiceKey| pipeline.stores().has_problem(Kind::ServiceImport, &import(key));
        let keys: BTreeSet<ServiceKey> = if touched.all { every() } else { touched.services.clone() };
        for key in keys {
            let write = match (plan.get(key.as_str()), stored.get(&key)) {
                (Some(planned), stored) => {
                    let status = selection_status(planned, pipeline.view(), told);
                    let same = stored.is_some_and(|stored| stored.ours && stored.fingerprint == fingerprint(&status));
                    (!same).then(|| {
                        let savings = savings_status(planned, pipeline.view());
                        Write::Selection(Box::new(ServiceSelectionStatus { savings, ..status }))
                    })
                }
                // An import that cannot be accepted is there all the same.
                (None, Some(orphan)) if orphan.ours && !unreadable(&key) => Some(Write::DeleteSelection),
                (None, _) => None,
            };
            self.outbox.set(Target::Selection(key), write, Instant::now());
        }
    }

    fn policies(&self, pipeline: &Pipeline, plan: &Plan) {
        let stores = pipeline.stores();
        if stores.policies.is_empty() {
            return;
        }
        let mut followers: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        let followed = |planned: &'_ ServicePlan| {
            let tried = planned.shadow.as_ref().and_then(|shadow| shadow.rule.policy.clone());
            [planned.rule.policy.clone(), tried].into_iter().flatten()
        };
        for policy in plan.planned().flat_map(followed) {
            *followers.entry(policy).or_default() += 1;
        }
        let precedence = Precedence::new(stores, &pipeline.perspective().namespace);
        for (object, policy) in &stores.policies {
            let verdict = precedence.verdict(object, policy);
            let services = followers.get(object.to_string().as_str()).copied().unwrap_or(0);
            let status = policy_status(policy, &verdict, services, &(self.clock)());
            let write = status.map(|status| Write::PolicyStatus(Box::new(status)));
            self.outbox.set(Target::PolicyStatus(object.clone()), write, Instant::now());
        }
    }

    /// DNS replicas have no access to the broker. Where the others can be probed is kept here for them, and for an operator that
    /// starts while the broker is away.
    fn heads(&self, pipeline: &Pipeline) {
        let (stores, local) = (pipeline.stores(), &pipeline.perspective().local);
        if !matches!(pipeline.hearing(), Hearing::Clear { .. }) {
            return;
        }
        let object =
            |cluster: &ClusterId| ObjectRef::new(&pipeline.perspective().namespace, &format!("{HEAD}{cluster}"));
        let mut kept = stores.facts_in(&pipeline.perspective().namespace);
        kept.retain(|at, facts| *at == object(&facts.cluster));
        for (cluster, facts) in stores.peers.iter().filter(|(cluster, _)| *cluster != local) {
            let object = object(cluster);
            let told = |facts: &Facts| (facts.probe_addresses.clone(), facts.location.clone());
            let same = kept.get(&object).is_some_and(|kept| told(kept) == told(facts));
            let head = Facts {
                probe_addresses: facts.probe_addresses.clone(),
                location: facts.location.clone(),
                ..Facts::silent(cluster.clone())
            };
            let write = (!same).then(|| Write::Head(Box::new(objects::head(&head))));
            self.outbox.set(Target::Head(object), write, Instant::now());
        }
        for (object, _) in kept.into_iter().filter(|(_, facts)| !stores.peers.contains_key(&facts.cluster)) {
            self.outbox.set(Target::Head(object), Some(Write::DeleteHead), Instant::now());
        }
    }

    fn submariners(&self, pipeline: &Pipeline) {
        let stores = pipeline.stores();
        let in_force = submariner(stores, pipeline.perspective()).map(|(object, _)| object);
        for (object, submariner) in submariners(stores, pipeline.perspective()) {
            let in_force = Some(object) == in_force;
            let broker = stores.broker.as_ref();
            let conditions = submariner_conditions(submariner, (in_force, broker), &(self.clock)());
            let resource_version = submariner.resource_version.clone();
            let write = conditions.map(|conditions| Write::SubmarinerConditions { conditions, resource_version });
            self.outbox.set(Target::SubmarinerStatus(object.clone()), write, Instant::now());
        }
    }
}
