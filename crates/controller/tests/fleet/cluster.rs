//! A simulated cluster: a pipeline that plans, a pipeline that answers like a DNS replica, and the inputs of both.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use k8s_openapi::jiff::Timestamp;
use landfall_api as api;
use landfall_api::ServiceSelection;
use landfall_controller::accept::fingerprint;
use landfall_controller::broker::inbox::{Inbox, Taken};
use landfall_controller::broker::objects::{Identity, name, parts};
use landfall_controller::change::{Change, ObjectEvent};
use landfall_controller::facts::ClusterFacts;
use landfall_controller::measured::{Measured, Reading};
use landfall_controller::object::{Kind, Object};
use landfall_controller::observe::perspective::{Age, Perspective, RulesFrom};
use landfall_controller::pipeline::Pipeline;
use landfall_controller::probed_links::ProbedLinks;
use landfall_controller::publish::selection::{RoundInfo, selection_status};
use landfall_controller::targets::ProbeTargets;
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::plan::ServicePlan;

use crate::manifests::listed;

/// Interval at which the operator collects answers, in seconds.
const COLLECT_INTERVAL: u64 = 2;
/// Probes per round of the round-trip filters. There is one probe per second.
const ROUND_SECONDS: u64 = 30;

pub(crate) struct Cluster {
    pub(crate) id: ClusterId,
    pub(crate) pipeline: Pipeline,
    replica: Pipeline,
    pub(crate) inbox: Inbox,
    identity: Identity,
    /// Its clock minus the broker's, in seconds.
    pub(crate) ahead: i64,
    /// True if it reads the broker.
    pub(crate) connected: bool,
    pub(crate) runs: bool,
    /// True if it writes nothing.
    pub(crate) mute: bool,
    /// True if its DNS replicas report their answers.
    pub(crate) counts: bool,
    changes: Vec<Change>,
    links: ProbedLinks,
    written: Option<Arc<ClusterFacts>>,
    /// Times at which it published facts, by the broker's clock.
    pub(crate) published: Vec<u64>,
    selections: BTreeMap<ServiceKey, (u64, ServiceSelection)>,
    pub(crate) selections_written: usize,
    /// Answers to its clients since the last collection.
    answers: BTreeMap<(ServiceKey, ClusterId), f64>,
}

fn pipeline(id: &ClusterId, rules_from: RulesFrom) -> Pipeline {
    let namespace = "landfall-system".into();
    let perspective = Perspective { local: id.clone(), namespace, submariner_namespace: None, rules_from };
    Pipeline::new(perspective, Age::Live)
}

impl Cluster {
    pub(crate) fn new(id: &str) -> Self {
        let id = ClusterId::new(id).unwrap();
        let identity = Identity { cluster: id.clone(), instance: format!("uid-of-{id}") };
        Self {
            pipeline: pipeline(&id, RulesFrom::Policies).awaiting_broker(None),
            replica: pipeline(&id, RulesFrom::Selections),
            inbox: Inbox::new(identity.clone()),
            identity,
            ahead: 0,
            connected: true,
            runs: true,
            mute: false,
            counts: true,
            changes: Vec::new(),
            links: ProbedLinks::default(),
            written: None,
            published: Vec::new(),
            selections: BTreeMap::new(),
            selections_written: 0,
            answers: BTreeMap::new(),
            id,
        }
    }

    /// Restarts the operator: it only has the objects in its API server and on the broker.
    pub(crate) fn restart(&mut self, objects: Vec<Object>) {
        self.pipeline = pipeline(&self.id, RulesFrom::Policies).awaiting_broker(None);
        self.inbox = Inbox::new(self.identity.clone());
        (self.changes, self.links, self.written) = (Vec::new(), ProbedLinks::default(), None);
        let selections = self.selections.values().map(|(_, object)| Object::ServiceSelection(Box::new(object.clone())));
        let objects: Vec<Object> = objects.into_iter().chain(selections).collect();
        if self.replica.plan().is_none() {
            self.replica.apply(listed(objects.clone()), 0);
        }
        self.changes.extend(listed(objects).into_iter().map(Change::from));
        self.changes.push(Change::Leads(true));
    }

    pub(crate) fn clock(&self, now: u64) -> u64 {
        now.saturating_add_signed(self.ahead)
    }

    /// Applies changes in its API server, which DNS replicas see too.
    pub(crate) fn see(&mut self, changes: impl Fn() -> Vec<ObjectEvent>, now: u64) {
        self.changes.extend(changes().into_iter().map(Change::from));
        self.replica.apply(changes(), self.clock(now));
    }

    /// Handles an event of the watch on the broker, at `now` by the broker's clock.
    fn take(&mut self, event: ObjectEvent, now: u64) {
        let here = self.clock(now);
        let taken = self.inbox.take(event, here);
        if taken.ask_time {
            self.inbox.compare_clocks(here, now);
        }
        self.report(&taken, now);
    }

    fn report(&mut self, taken: &Taken, now: u64) {
        let here = self.clock(now);
        self.changes.extend(self.inbox.report(taken, here).into_iter().map(Change::from));
    }

    pub(crate) fn receive(&mut self, object: api::ClusterFacts, now: u64) {
        self.take(apply(object), now);
    }

    /// Lists all objects on the broker, as after an outage.
    pub(crate) fn list(&mut self, objects: impl Iterator<Item = api::ClusterFacts>, now: u64) {
        self.take(ObjectEvent::ListBegins(Kind::ClusterFacts), now);
        objects.for_each(|object| self.take(apply(object), now));
        self.take(ObjectEvent::ListEnds(Kind::ClusterFacts), now);
        self.connected = true;
    }

    pub(crate) fn lose(&mut self, now: u64) {
        self.connected = false;
        self.take(ObjectEvent::Interrupted(Kind::ClusterFacts, "away".into()), now);
    }

    /// Notices that its clock was set, and compares it with the broker's.
    pub(crate) fn notice_clock(&mut self, now: u64) {
        let here = self.clock(now);
        let taken = self.inbox.compare_clocks(here, now);
        self.report(&taken, now);
    }

    /// Records a probe of each other cluster. `None` stands for an unanswered probe.
    pub(crate) fn probe(&mut self, rtts: impl Iterator<Item = (ClusterId, Option<f64>)>, now: u64) {
        let mut changed = false;
        let mut peers = ProbeTargets::new();
        for (peer, rtt) in rtts {
            changed |= self.links.record(&peer, rtt);
            peers.insert(peer, Vec::new());
        }
        if now.is_multiple_of(ROUND_SECONDS) {
            changed |= self.links.end_step(&peers);
        }
        if changed {
            let links = self.links.links();
            self.changes.push(Change::Links(links.clone()));
            self.replica.apply([Change::Links(links)], self.clock(now));
        }
    }

    /// Answers the queries of its clients in one second.
    pub(crate) fn answer(&mut self, key: &ServiceKey, rps: f64) {
        for (cluster, share) in self.served(key) {
            *self.answers.entry((key.clone(), cluster)).or_default() += rps * share;
        }
    }

    /// Passes measurements to the pipeline. `readings` are those of its exports.
    pub(crate) fn measure(&mut self, readings: impl Iterator<Item = (ServiceKey, Reading)>, now: u64) {
        if !now.is_multiple_of(COLLECT_INTERVAL) {
            return;
        }
        let seconds = if self.counts { COLLECT_INTERVAL as f64 } else { 0.0 };
        let mut measured = Measured { seconds, ..Measured::default() };
        for ((key, cluster), count) in self.answers.iter_mut().filter(|_| self.counts) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            let whole = *count as u64;
            *count -= whole as f64;
            measured.answers.entry(key.clone()).or_default().insert(Some(cluster.clone()), whole);
        }
        measured.readings = readings.collect();
        self.changes.push(Change::Measured(Box::new(measured)));
    }

    /// Plans, and publishes selections to the replica.
    pub(crate) fn step(&mut self, now: u64) {
        let here = self.clock(now);
        self.pipeline.apply(std::mem::take(&mut self.changes), here);
        let Some(plan) = self.pipeline.plan() else { return };
        let mut changed = Vec::new();
        for (key, planned) in plan.services() {
            let status = selection_status(planned, self.pipeline.view(), RoundInfo::default());
            let print = fingerprint(&status);
            if self.selections.get(key).is_some_and(|(before, _)| *before == print) {
                continue;
            }
            let mut object = ServiceSelection::new(key.name(), Default::default());
            object.metadata.namespace = Some(key.namespace().to_owned());
            object.status = Some(status);
            changed.push((key.clone(), (print, object)));
        }
        for (key, (print, object)) in changed {
            self.selections_written += 1;
            let change =
                ObjectEvent::Apply { object: Object::ServiceSelection(Box::new(object.clone())), origin: None };
            self.replica.apply([change], here);
            self.selections.insert(key, (print, object));
        }
    }

    /// Returns the objects that it writes on the broker now.
    pub(crate) fn writes(&mut self, now: u64) -> Vec<api::ClusterFacts> {
        let Some(own) = self.pipeline.published().cloned() else { return Vec::new() };
        let known = self.written.as_ref().is_some_and(|written| Arc::ptr_eq(written, &own));
        if !(self.runs && self.connected) || self.mute || known || !self.inbox.may_write(self.clock(now)) {
            return Vec::new();
        }
        self.published.push(now);
        let since = self.inbox.since(self.clock(now));
        let objects = parts(&own, &self.identity, since).into_iter().rev().map(|spec| written(spec, now)).collect();
        self.written = Some(own);
        objects
    }

    /// Returns the share of each exporter in the answers of the DNS replica, as a fraction.
    pub(crate) fn served(&self, key: &ServiceKey) -> BTreeMap<ClusterId, f64> {
        let planned = self.replica.plan().and_then(|plan| plan.get(key.as_str()));
        let shares = planned.map(|planned| planned.shares.as_slice()).unwrap_or_default();
        shares.iter().map(|share| (share.cluster.clone(), f64::from(share.weight) / 1000.0)).collect()
    }

    pub(crate) fn replica(&self, key: &ServiceKey) -> &ServicePlan {
        self.replica.plan().unwrap().get(key.as_str()).unwrap()
    }
}

pub(crate) fn apply(object: api::ClusterFacts) -> ObjectEvent {
    ObjectEvent::Apply { object: Object::ClusterFacts(Box::new(object)), origin: None }
}

/// Returns the object as an API server returns it that wrote it at `now`.
pub(crate) fn written(spec: landfall_api::ClusterFactsSpec, now: u64) -> api::ClusterFacts {
    let mut object = api::ClusterFacts::new(&name(&spec.cluster, spec.part.unwrap_or(0)), spec);
    let time = Timestamp::from_second(now.try_into().unwrap()).unwrap();
    object.metadata.managed_fields = Some(vec![ManagedFieldsEntry { time: Some(Time(time)), ..Default::default() }]);
    object
}
