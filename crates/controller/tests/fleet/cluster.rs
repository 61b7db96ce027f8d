//! One cluster: a pipeline that plans, one that answers as a DNS replica does, and what both are fed with.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use k8s_openapi::jiff::Timestamp;
use landfall_api::{ClusterFacts, ServiceSelection};
use landfall_controller::accept::fingerprint;
use landfall_controller::broker::inbox::{Inbox, Taken};
use landfall_controller::broker::objects::{Identity, name, parts};
use landfall_controller::change::{Change, ObjectEvent};
use landfall_controller::facts::{Facts, PeerLink};
use landfall_controller::measured::{Measured, Reading};
use landfall_controller::object::{Kind, Object};
use landfall_controller::observe::perspective::{Age, Perspective, RulesFrom};
use landfall_controller::pipeline::Pipeline;
use landfall_controller::publish::selection::{Told, selection_status};
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::plan::ServicePlan;
use landfall_core::reach::NetworkPath;

use crate::manifests::listed;

/// As often as the operator collects answers, in seconds.
const COLLECT: u64 = 2;
/// How many probes make a step of the filters.
const STEP: u64 = 30;

pub(crate) struct Cluster {
    pub(crate) id: ClusterId,
    pub(crate) pipeline: Pipeline,
    replica: Pipeline,
    pub(crate) inbox: Inbox,
    identity: Identity,
    /// How far its clock is ahead, in seconds.
    pub(crate) ahead: i64,
    /// Whether it hears the broker.
    pub(crate) hears: bool,
    pub(crate) runs: bool,
    /// It writes nothing any more, for whatever reason.
    pub(crate) mute: bool,
    /// Whether its DNS replicas tell what they answered.
    pub(crate) counts: bool,
    changes: Vec<Change>,
    ways: BTreeMap<ClusterId, NetworkPath>,
    written: Option<Arc<Facts>>,
    /// When it published facts, in true time.
    pub(crate) published: Vec<u64>,
    selections: BTreeMap<ServiceKey, (u64, ServiceSelection)>,
    /// How often a selection was written.
    pub(crate) selections_written: usize,
    /// What its clients were answered since the last collection.
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
            hears: true,
            runs: true,
            mute: false,
            counts: true,
            changes: Vec::new(),
            ways: BTreeMap::new(),
            written: None,
            published: Vec::new(),
            selections: BTreeMap::new(),
            selections_written: 0,
            answers: BTreeMap::new(),
            id,
        }
    }

    /// Begins anew, as an operator does that was killed: all it knows is what is in its API server and on the broker.
    pub(crate) fn restart(&mut self, objects: Vec<Object>) {
        self.pipeline = pipeline(&self.id, RulesFrom::Policies).awaiting_broker(None);
        self.inbox = Inbox::new(self.identity.clone());
        (self.changes, self.ways, self.written) = (Vec::new(), BTreeMap::new(), None);
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

    /// What changes in its API server, DNS replicas see too.
    pub(crate) fn see(&mut self, changes: impl Fn() -> Vec<ObjectEvent>, now: u64) {
        self.changes.extend(changes().into_iter().map(Change::from));
        self.replica.apply(changes(), self.clock(now));
    }

    /// An event comes by the watch of the broker, where it is `now`.
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

    pub(crate) fn hear(&mut self, object: ClusterFacts, now: u64) {
        self.take(apply(object), now);
    }

    /// All that is on the broker, after a time without it.
    pub(crate) fn list(&mut self, objects: impl Iterator<Item = ClusterFacts>, now: u64) {
        self.take(ObjectEvent::ListBegins(Kind::ClusterFacts), now);
        objects.for_each(|object| self.take(apply(object), now));
        self.take(ObjectEvent::ListEnds(Kind::ClusterFacts), now);
        self.hears = true;
    }

    pub(crate) fn lose(&mut self, now: u64) {
        self.hears = false;
        self.take(ObjectEvent::Interrupted(Kind::ClusterFacts, "away".into()), now);
    }

    /// Its clock was set, and it has asked what time it is on the broker.
    pub(crate) fn notice_clock(&mut self, now: u64) {
        let here = self.clock(now);
        let taken = self.inbox.compare_clocks(here, now);
        self.report(&taken, now);
    }

    /// A probe of each other cluster. `None`: not answered.
    pub(crate) fn probe(&mut self, rtts: impl Iterator<Item = (ClusterId, Option<f64>)>, now: u64) {
        let links = |ways: &BTreeMap<ClusterId, NetworkPath>| -> BTreeMap<ClusterId, PeerLink> {
            let link = |(peer, way): (&ClusterId, &NetworkPath)| {
                let known = way.quality();
                let reachable = Some(way.is_reachable());
                (peer.clone(), PeerLink { rtt_ms: known.map(|known| known.rtt_ms), reachable, ..PeerLink::default() })
            };
            ways.iter().map(link).collect()
        };
        let before = links(&self.ways);
        for (peer, rtt) in rtts {
            let way = self.ways.entry(peer).or_default();
            way.record_probe(rtt);
            if way.should_end_round() || now.is_multiple_of(STEP) {
                way.end_round();
            }
        }
        let after = links(&self.ways);
        if before != after {
            self.changes.push(Change::Links(after.clone()));
            self.replica.apply([Change::Links(after)], self.clock(now));
        }
    }

    /// Its clients ask so often in a second, and get what the replica answers.
    pub(crate) fn answer(&mut self, key: &ServiceKey, rps: f64) {
        for (cluster, share) in self.served(key) {
            *self.answers.entry((key.clone(), cluster)).or_default() += rps * share;
        }
    }

    /// Hands over what was measured. `readings`: of its own exports.
    pub(crate) fn measure(&mut self, readings: impl Iterator<Item = (ServiceKey, Reading)>, now: u64) {
        if !now.is_multiple_of(COLLECT) {
            return;
        }
        let seconds = if self.counts { COLLECT as f64 } else { 0.0 };
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

    /// Plans, and gives the replica what it decided.
    pub(crate) fn step(&mut self, now: u64) {
        let here = self.clock(now);
        self.pipeline.apply(std::mem::take(&mut self.changes), here);
        let Some(plan) = self.pipeline.plan() else { return };
        let mut changed = Vec::new();
        for (key, planned) in plan.services() {
            let status = selection_status(planned, self.pipeline.view(), Told::default());
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

    /// The objects that it writes on the broker now.
    pub(crate) fn writes(&mut self, now: u64) -> Vec<ClusterFacts> {
        let Some(own) = self.pipeline.published().cloned() else { return Vec::new() };
        let known = self.written.as_ref().is_some_and(|written| Arc::ptr_eq(written, &own));
        if !(self.runs && self.hears) || self.mute || known || !self.inbox.may_write(self.clock(now)) {
            return Vec::new();
        }
        self.published.push(now);
        let since = self.inbox.since(self.clock(now));
        let objects = parts(&own, &self.identity, since).into_iter().rev().map(|spec| written(spec, now)).collect();
        self.written = Some(own);
        objects
    }

    /// What the DNS replica gives each exporter: parts of 1.
    pub(crate) fn served(&self, key: &ServiceKey) -> BTreeMap<ClusterId, f64> {
        let planned = self.replica.plan().and_then(|plan| plan.get(key.as_str()));
        let shares = planned.map(|planned| planned.shares.as_slice()).unwrap_or_default();
        shares.iter().map(|share| (share.cluster.clone(), f64::from(share.weight) / 1000.0)).collect()
    }

    pub(crate) fn replica(&self, key: &ServiceKey) -> &ServicePlan {
        self.replica.plan().unwrap().get(key.as_str()).unwrap()
    }
}

pub(crate) fn apply(object: ClusterFacts) -> ObjectEvent {
    ObjectEvent::Apply { object: Object::ClusterFacts(Box::new(object)), origin: None }
}

/// As an API server gives it back that wrote it at that time.
pub(crate) fn written(spec: landfall_api::ClusterFactsSpec, now: u64) -> ClusterFacts {
    let mut object = ClusterFacts::new(&name(&spec.cluster, spec.part.unwrap_or(0)), spec);
    let time = Timestamp::from_second(now.try_into().unwrap()).unwrap();
    object.metadata.managed_fields = Some(vec![ManagedFieldsEntry { time: Some(Time(time)), ..Default::default() }]);
    object
}
