//! Checks the objects on the broker, and dates the facts in them.
//!
//! Every object there was written by a peer. The name must match the owner; the broker's admission policy enforces
//! this. The object must be small enough, and its numbers must pass [`accept`]. **Only the broker's clock counts**: the
//! age of an object comes from the time at which the API server last wrote it. The clock of a cluster may be an hour
//! off, and its facts are as fresh as those of any other cluster.
//!
//! ```text
//! ObjectEvent ─ take ─▶ Taken ─ (ask the broker's time) ─ report ─▶ PeerEvents for the pipeline
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use landfall_api as api;
use landfall_api::time::unix_seconds;
use landfall_core::name::ClusterId;
use landfall_core::optimize::growth_limit::GrowthLimit;

use super::objects::{Identity, name};
use super::rejection::{MAX_CLUSTERS, Rejection};
use crate::accept::{Accepted, accept};
use crate::change::{BrokerState, ObjectEvent, PeerEvent};
use crate::facts::ClusterFacts;
use crate::object::Object;

/// An accepted object.
#[derive(Debug, Clone)]
struct Part {
    facts: ClusterFacts,
    /// Time of the last write, in seconds since 1970 by the broker's clock.
    written: Option<u64>,
    number: i32,
    parts: i32,
}

/// Another cluster with the local id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuplicateId {
    pub instance: String,
    /// Seconds since 1970.
    pub since: u64,
    pub written: u64,
}

#[derive(Debug)]
pub struct Inbox {
    identity: Identity,
    parts: BTreeMap<Box<str>, Part>,
    rejected: BTreeMap<Box<str>, Rejection>,
    /// Names seen in the current list. `None` between lists.
    listed: Option<BTreeSet<Box<str>>>,
    /// Local clock minus the broker's, in seconds.
    clock_skew: i64,
    /// Time of the first write of the local cluster, as recorded on the broker.
    since: Option<u64>,
    /// By the name of the object that the other cluster wrote.
    duplicates: BTreeMap<Box<str>, DuplicateId>,
    growth: BTreeMap<ClusterId, GrowthLimit>,
    /// Why facts cannot be read from the broker.
    lost: Option<Arc<str>>,
    /// Why the broker does not accept the local facts.
    write_error: Option<Arc<str>>,
    /// State that was reported last. `None` after a change of the connection.
    reported: Option<BrokerState>,
}

/// Result of an event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// True if the broker must be asked for the time before anything is reported.
    pub ask_time: bool,
    changed: ChangedFacts,
}

/// Clusters whose facts changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum ChangedFacts {
    #[default]
    None,
    Of(ClusterId),
    All,
    /// All clusters, and clusters without facts are gone.
    List,
}

impl Inbox {
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            parts: BTreeMap::new(),
            rejected: BTreeMap::new(),
            listed: None,
            clock_skew: 0,
            since: None,
            duplicates: BTreeMap::new(),
            growth: BTreeMap::new(),
            lost: Some("facts have not been read yet; the chart landfall-broker must be installed there".into()),
            write_error: None,
            reported: None,
        }
    }

    /// Handles an event of the watch of ClusterFacts on the broker, at `now` in seconds since 1970.
    pub fn take(&mut self, event: ObjectEvent, now: u64) -> Taken {
        let mut ask_time = false;
        let changed = match event {
            ObjectEvent::ListBegins(_) => {
                self.listed = Some(BTreeSet::new());
                ChangedFacts::None
            }
            ObjectEvent::Apply { object: Object::ClusterFacts(object), .. } => self.store(*object, now),
            // Only ClusterFacts are watched.
            ObjectEvent::Apply { .. } => ChangedFacts::None,
            ObjectEvent::Malformed(problem) => {
                self.note_listed(&problem.object.name);
                self.rejected.insert(problem.object.name, Rejection::Malformed(problem.what));
                ChangedFacts::None
            }
            ObjectEvent::Delete(_, object) => self.remove(&object.name).map_or(ChangedFacts::None, ChangedFacts::Of),
            ObjectEvent::ListEnds(_) => {
                self.end_list();
                ask_time = true;
                ChangedFacts::List
            }
            ObjectEvent::Interrupted(..) => {
                self.lose("the connection is interrupted; retrying twice a second");
                ChangedFacts::None
            }
        };
        Taken { ask_time, changed }
    }

    /// Returns the events for the pipeline, including the state if it changed.
    pub fn report(&mut self, taken: &Taken, now: u64) -> Vec<PeerEvent> {
        let all = || self.clusters().into_iter().map(|cluster| self.event_of(&cluster));
        let mut events = match &taken.changed {
            ChangedFacts::None => Vec::new(),
            ChangedFacts::Of(cluster) => vec![self.event_of(cluster)],
            ChangedFacts::All => all().collect(),
            ChangedFacts::List => std::iter::once(PeerEvent::Listed(self.clusters())).chain(all()).collect(),
        };
        let state = self.state(now);
        if self.reported.as_ref() != Some(&state) {
            self.reported = Some(state.clone());
            events.push(PeerEvent::Broker(Some(state)));
        }
        events
    }

    /// Compares the local clock with the broker's, in seconds since 1970. If the skew changed, all facts are dated
    /// again.
    pub fn compare_clocks(&mut self, here: u64, broker: u64) -> Taken {
        let changed = if self.skew_moved(here, broker) { ChangedFacts::All } else { ChangedFacts::None };
        Taken { ask_time: false, changed }
    }

    /// Notes why facts can no longer be read.
    pub fn lose(&mut self, why: &str) {
        self.lost.get_or_insert_with(|| why.into());
        self.reported = None;
    }

    /// Notes why the broker does not accept the local facts. `None` if it does.
    pub fn set_write_error(&mut self, why: Option<Arc<str>>) -> Taken {
        self.write_error = why;
        Taken::default()
    }

    pub fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// Returns true if the local facts may be written: the objects on the broker must have been read, and no older
    /// cluster may have the local id.
    pub fn may_write(&self, now: u64) -> bool {
        self.reported.is_some() && self.lost.is_none() && self.older_duplicate(now).is_none()
    }

    /// Returns the name of the object if, according to `event`, another writer changed or deleted it.
    pub fn undone<'e>(&self, event: &'e ObjectEvent) -> Option<&'e str> {
        if let ObjectEvent::Delete(_, object) = event {
            return Some(&object.name);
        }
        let ObjectEvent::Apply { object: Object::ClusterFacts(object), .. } = event else { return None };
        object.metadata.name.as_deref().filter(|_| !self.is_own(object))
    }

    fn is_own(&self, object: &api::ClusterFacts) -> bool {
        object.spec.instance.as_deref() == Some(&*self.identity.instance)
    }

    /// Stores an object. Returns the cluster whose facts changed.
    ///
    /// A cluster writes its first part last. Until then its facts are incomplete: a service that moved between parts
    /// can be in both or in neither.
    fn store(&mut self, object: api::ClusterFacts, now: u64) -> ChangedFacts {
        let named: Box<str> = object.metadata.name.clone().unwrap_or_default().into();
        self.note_listed(&named);
        // The time of the last local write is the broker's time.
        let time = written(&object).filter(|_| self.is_own(&object) && self.listed.is_none());
        let cluster = self.accept(named, object, now);
        if time.is_some_and(|broker| self.skew_moved(now, broker)) {
            return ChangedFacts::All;
        }
        cluster.filter(|_| self.listed.is_none()).map_or(ChangedFacts::None, ChangedFacts::Of)
    }

    fn note_listed(&mut self, named: &str) {
        if let Some(listed) = &mut self.listed {
            listed.insert(named.into());
        }
    }

    /// Returns the cluster whose facts changed. Returns `None` until its first part arrives.
    fn accept(&mut self, named: Box<str>, object: api::ClusterFacts, now: u64) -> Option<ClusterId> {
        match self.checked(&named, object, now) {
            Ok((part, in_part)) => {
                let cluster = part.facts.cluster.clone();
                match in_part {
                    Some(rejection) => drop(self.rejected.insert(named.clone(), rejection)),
                    None => drop(self.rejected.remove(&named)),
                }
                let first = part.number == 0;
                if first {
                    // The first part has the number of parts.
                    let goes = |known: &Part| known.facts.cluster == cluster && known.number >= part.parts;
                    self.parts.retain(|_, known| !goes(known));
                }
                self.parts.insert(named, part);
                first.then_some(cluster)
            }
            Err(rejection) => {
                // The previous facts stay until they are too old.
                self.rejected.insert(named, rejection);
                None
            }
        }
    }

    /// Returns the part, and why some of it is left out.
    fn checked(
        &mut self,
        named: &str,
        object: api::ClusterFacts,
        now: u64,
    ) -> Result<(Part, Option<Rejection>), Rejection> {
        let written = written(&object);
        let (part, parts) = (object.spec.part.unwrap_or(0), object.spec.parts.unwrap_or(1));
        let owned = name(&object.spec.cluster, part);
        if *named != *owned {
            return Err(Rejection::WrongName { cluster: object.spec.cluster.clone(), part, expected: owned });
        }
        self.check_duplicates(named, &object, written)?;
        let (Accepted::Facts(mut facts), in_part) = accept(Object::ClusterFacts(Box::new(object)))? else {
            return Err(Rejection::Malformed("it has no facts".to_owned()));
        };
        let clusters = self.clusters();
        if clusters.len() >= MAX_CLUSTERS && !clusters.contains(&facts.cluster) {
            return Err(Rejection::TooMany);
        }
        // The local numbers are clipped too: with other numbers than its peers, the local cluster would plan
        // differently.
        let growth = self.growth.entry(facts.cluster.clone()).or_default();
        let clipped = growth.clip(Arc::make_mut(&mut facts.services), now);
        let unusual = (clipped > 0).then_some(Rejection::Unusual(clipped));
        Ok((Part { facts, written, number: part, parts }, in_part.map(Rejection::InPart).or(unusual)))
    }

    /// Refuses an object with the local id that another cluster wrote.
    fn check_duplicates(
        &mut self,
        named: &str,
        object: &api::ClusterFacts,
        written: Option<u64>,
    ) -> Result<(), Rejection> {
        if object.spec.cluster != self.identity.cluster.as_str() {
            return Ok(());
        }
        let since = object.spec.since.as_ref().and_then(unix_seconds);
        if self.is_own(object) {
            self.since = since.or(self.since);
            self.duplicates.remove(named);
            return Ok(());
        }
        let instance = object.spec.instance.clone().unwrap_or_default();
        let duplicate =
            DuplicateId { instance: instance.clone(), since: since.unwrap_or(0), written: written.unwrap_or(0) };
        self.duplicates.insert(named.into(), duplicate);
        Err(Rejection::OwnId(instance))
    }

    fn end_list(&mut self) {
        let listed = self.listed.take().unwrap_or_default();
        let names: BTreeSet<Box<str>> = self.parts.keys().chain(self.rejected.keys()).cloned().collect();
        names.difference(&listed).for_each(|named| drop(self.remove(named)));
        self.lost = None;
        self.reported = None;
    }

    /// Removes an object. Returns the cluster whose facts changed. If the newest part still counts the removed one,
    /// that one is missing, not gone: its facts stay until they are too old.
    fn remove(&mut self, named: &str) -> Option<ClusterId> {
        self.rejected.remove(named);
        self.duplicates.remove(named);
        let (cluster, number) = named.rsplit_once('-')?;
        let number: i32 = number.parse().ok()?;
        let of_owner = self.parts.values().filter(|part| part.facts.cluster.as_str() == cluster);
        let newest = of_owner.max_by_key(|part| part.written);
        let has_first = number != 0 && self.parts.contains_key(&*name(cluster, 0));
        if has_first && newest.is_some_and(|newest| newest.parts > number) {
            return None;
        }
        self.parts.remove(named).map(|part| part.facts.cluster)
    }

    fn event_of(&self, cluster: &ClusterId) -> PeerEvent {
        self.facts(cluster).map_or_else(|| PeerEvent::Gone(cluster.clone()), PeerEvent::Reported)
    }

    /// Returns the facts of a cluster, merged from all its objects. Returns `None` if it has no objects.
    pub fn facts(&self, cluster: &ClusterId) -> Option<Arc<ClusterFacts>> {
        let dated = |part: &Part| {
            let written = part.written.map(|written| written.saturating_add_signed(self.clock_skew));
            let at = written.or(part.facts.observed);
            let mut facts = part.facts.clone();
            facts.observed = at;
            Arc::make_mut(&mut facts.services).values_mut().for_each(|report| report.at = at.unwrap_or(0));
            facts
        };
        let parts: Vec<ClusterFacts> =
            self.parts.values().filter(|part| part.facts.cluster == *cluster).map(dated).collect();
        ClusterFacts::merged(parts.iter()).map(Arc::new)
    }

    fn clusters(&self) -> BTreeSet<ClusterId> {
        self.parts.values().map(|part| part.facts.cluster.clone()).collect()
    }

    fn skew_moved(&mut self, here: u64, broker: u64) -> bool {
        /// Smaller changes come from the duration of a request and from rounding to seconds.
        const NOISE_SECONDS: u64 = 5;
        let skew = i64::try_from(here).unwrap_or(i64::MAX).saturating_sub_unsigned(broker);
        let moved = skew.abs_diff(self.clock_skew) >= NOISE_SECONDS;
        if moved {
            self.clock_skew = skew;
        }
        moved
    }

    /// Returns the time of the first local write, by the broker's clock. Returns the present time if there was none.
    pub fn since(&self, now: u64) -> u64 {
        self.since.unwrap_or_else(|| self.broker_time(now))
    }

    fn broker_time(&self, now: u64) -> u64 {
        now.saturating_add_signed(-self.clock_skew)
    }

    /// Returns the other cluster with the local id if it takes precedence: it is older and still writes.
    fn older_duplicate(&self, now: u64) -> Option<&DuplicateId> {
        const IDLE_TIMEOUT_SECONDS: u64 = 3600;
        let alive = |other: &&DuplicateId| self.broker_time(now).saturating_sub(other.written) < IDLE_TIMEOUT_SECONDS;
        let oldest = self.duplicates.values().filter(alive).min_by_key(|other| other.since);
        // Of two that started in the same second, the one whose instance sorts first takes precedence.
        let older = |other: &&DuplicateId, since| (other.since, &*other.instance) < (since, &*self.identity.instance);
        oldest.filter(|other| self.since.is_none_or(|since| older(other, since)))
    }

    /// Returns the state of the connection, for conditions and metrics.
    pub fn state(&self, now: u64) -> BrokerState {
        let faults = self.rejected.iter();
        BrokerState {
            lost: self.lost.clone(),
            duplicate_id: self.older_duplicate(now).map(|other| other.instance.as_str().into()),
            write_error: self.write_error.clone(),
            rejected: faults.map(|(name, why)| (name.clone(), (why.category(), why.to_string().into()))).collect(),
            incomplete: self.incomplete().into_iter().collect(),
        }
    }

    /// Returns the clusters with a missing part.
    fn incomplete(&self) -> BTreeSet<ClusterId> {
        let missing = |part: &&Part| {
            let cluster = part.facts.cluster.as_str();
            (0..part.parts.min(100)).any(|number| !self.parts.contains_key(&*name(cluster, number)))
        };
        self.parts.values().filter(missing).map(|part| part.facts.cluster.clone()).collect()
    }
}

/// Returns the time of the last write of an object, by the clock of the API server.
pub fn written(object: &api::ClusterFacts) -> Option<u64> {
    let times = object.metadata.managed_fields.iter().flatten().filter_map(|entry| entry.time.as_ref());
    times.filter_map(unix_seconds).max()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
    use landfall_core::name::ServiceKey;
    use serde_json::json;

    use landfall_api::time::from_unix_seconds;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn inbox() -> Inbox {
        let cluster = ClusterId::new("east").unwrap();
        Inbox::new(Identity { cluster, instance: "ours".to_owned() })
    }

    fn object(name: &str, spec: serde_json::Value) -> api::ClusterFacts {
        let mut object = api::ClusterFacts::new(name, serde_json::from_value(spec).unwrap());
        let time = from_unix_seconds(NOW);
        object.metadata.managed_fields = Some(vec![ManagedFieldsEntry { time, ..ManagedFieldsEntry::default() }]);
        object
    }

    /// One part of two, written by `instance`.
    fn by(instance: &str, part: i32, since: u64) -> api::ClusterFacts {
        let mut object =
            object(&name("east", part), json!({"cluster": "east", "part": part, "parts": 2, "instance": instance}));
        object.spec.since = from_unix_seconds(since);
        object
    }

    fn demanding(rps: f64) -> serde_json::Value {
        json!({"cluster": "west", "services": [{"namespace": "shop", "name": "web", "demandRps": rps}]})
    }

    fn demand(inbox: &Inbox) -> Option<f64> {
        let facts = inbox.facts(&ClusterId::new("west").unwrap())?;
        facts.services[&ServiceKey::new("shop", "web").unwrap()].demand_rps
    }

    /// Puts an object into the inbox. Returns the cluster whose facts changed.
    fn put(inbox: &mut Inbox, object: api::ClusterFacts) -> Option<ClusterId> {
        let object = Object::ClusterFacts(Box::new(object));
        match inbox.take(ObjectEvent::Apply { object, origin: None }, NOW).changed {
            ChangedFacts::Of(cluster) => Some(cluster),
            ChangedFacts::None | ChangedFacts::All | ChangedFacts::List => None,
        }
    }

    fn why(inbox: &Inbox, name: &str) -> Option<&'static str> {
        inbox.rejected.get(name).map(Rejection::category)
    }

    #[test]
    fn object_with_a_wrong_name_or_a_newer_version_is_rejected_and_the_previous_facts_stay() {
        let mut inbox = inbox();
        assert_eq!(put(&mut inbox, object("west-0", demanding(50.0))), ClusterId::new("west").ok());
        for (name, spec) in [("north-0", demanding(7.0)), ("west-1", demanding(7.0)), ("west", demanding(7.0))] {
            assert_eq!(put(&mut inbox, object(name, spec)), None);
            assert_eq!(why(&inbox, name), Some("not_its_owners"));
        }
        let mut newer = demanding(7.0);
        newer["version"] = json!(99);
        assert_eq!(put(&mut inbox, object("west-0", newer)), None);
        assert_eq!((why(&inbox, "west-0"), demand(&inbox)), (Some("version"), Some(50.0)));
        put(&mut inbox, object("west-0", demanding(60.0)));
        assert_eq!((why(&inbox, "west-0"), demand(&inbox)), (None, Some(60.0)));
    }

    #[test]
    fn number_out_of_range_is_reported_and_the_rest_of_the_object_is_accepted() {
        let mut inbox = inbox();
        put(&mut inbox, object("west-0", demanding(5000.0)));
        let mut absurd = demanding(1e300);
        absurd["generation"] = json!(8);
        put(&mut inbox, object("west-0", absurd));
        assert_eq!((why(&inbox, "west-0"), demand(&inbox)), (Some("field"), Some(50_000.0)), "clipped");
        assert_eq!(inbox.facts(&ClusterId::new("west").unwrap()).unwrap().generation, 8);
        put(&mut inbox, object("west-0", demanding(5000.0)));
        assert_eq!((why(&inbox, "west-0"), demand(&inbox)), (None, Some(5000.0)));
        put(&mut inbox, object("west-0", demanding(90_000.0)));
        assert_eq!((why(&inbox, "west-0"), demand(&inbox)), (Some("unusual"), Some(50_000.0)), "clipped to ten times");
    }

    #[test]
    fn growth_of_local_facts_is_clipped_as_peers_clip_it() {
        let mut inbox = inbox();
        let ours = |rps: f64| {
            let services = json!([{"namespace": "shop", "name": "web", "demandRps": rps}]);
            object("east-0", json!({"cluster": "east", "instance": "ours", "services": services}))
        };
        put(&mut inbox, ours(5000.0));
        put(&mut inbox, ours(90_000.0));
        let facts = inbox.facts(&ClusterId::new("east").unwrap()).unwrap();
        let demands: Vec<_> = facts.services.values().map(|report| report.demand_rps).collect();
        assert_eq!((why(&inbox, "east-0"), demands), (Some("unusual"), vec![Some(50_000.0)]));
    }

    #[test]
    fn facts_of_a_cluster_change_when_its_first_part_arrives() {
        let mut inbox = inbox();
        let west = ClusterId::new("west").unwrap();
        let mut put = |part: i32, generation: i64| {
            let spec = json!({"cluster": "west", "part": part, "parts": 2, "generation": generation});
            put(&mut inbox, object(&name("west", part), spec))
        };
        let changed = [put(1, 7), put(0, 7), put(1, 8), put(0, 8)];
        assert_eq!(changed, [None, Some(west.clone()), None, Some(west.clone())]);
        assert_eq!(inbox.facts(&west).unwrap().generation, 8);
    }

    #[test]
    fn duplicate_id_lasts_until_no_object_of_the_other_cluster_is_left() {
        let mut inbox = inbox();
        let duplicates = |inbox: &Inbox| inbox.duplicates.values().map(|other| other.since).collect::<Vec<_>>();
        put(&mut inbox, by("ours", 0, 20));
        assert_eq!((inbox.since, duplicates(&inbox)), (Some(20), vec![]));
        put(&mut inbox, by("another", 0, 10));
        put(&mut inbox, by("another", 1, 10));
        assert_eq!((why(&inbox, "east-0"), duplicates(&inbox)), (Some("own_id"), vec![10, 10]));
        inbox.remove("east-1");
        assert_eq!(duplicates(&inbox), [10]);
        put(&mut inbox, by("ours", 0, 20));
        assert_eq!((why(&inbox, "east-0"), duplicates(&inbox)), (None, vec![]));
    }
}
