//! What is on the broker, as far as it can be believed: pure.
//!
//! Whatever is there was written by others. Each object must be its owner's, which its name says and the broker's admission
//! policy enforces; it must be small enough, and its numbers are those of [`accept`](crate::accept). **Nobody's clock counts
//! but the broker's**: an object is as old as the API server says that its last write is, so a cluster whose clock is an hour
//! off has facts as fresh as anybody's.

use landfall_api::time::unix_seconds;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use landfall_api as api;
use landfall_core::name::ClusterId;
use landfall_core::optimize::usual::Usual;
use thiserror::Error;

use super::objects::{Identity, name};
use super::state::BrokerState;
use crate::accept::{Accepted, Refused, accept};
use crate::facts::Facts;
use crate::object::Object;

/// As many clusters as others can name.
const MOST_CLUSTERS: usize = 256;

/// Why an object is left out, or something in it.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Rejection {
    #[error("it says that it is of cluster {said:?}, part {part}, which would be named {named:?}: not its owner's")]
    NotItsOwners { said: String, part: i32, named: String },
    #[error("there are more than {MOST_CLUSTERS} clusters already")]
    TooMany,
    #[error("another cluster with this id, {0}, has written it")]
    OwnId(String),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("{0}")]
    Malformed(String),
    /// The rest of it counts.
    #[error(transparent)]
    InPart(Refused),
    /// It counts as far as it is believed.
    #[error("numbers of more than ten times what is usual: {0}; ten times counts, and the usual follows within hours")]
    Unusual(usize),
}

impl Rejection {
    /// For metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::NotItsOwners { .. } => "not_its_owners",
            Self::TooMany => "too_many",
            Self::OwnId(_) => "own_id",
            Self::Refused(Refused::Version { .. }) => "version",
            Self::Refused(_) | Self::InPart(_) => "field",
            Self::Malformed(_) => "malformed",
            Self::Unusual(_) => "unusual",
        }
    }
}

/// One object that was accepted.
#[derive(Debug, Clone)]
struct Part {
    facts: Facts,
    /// When it was last written, in seconds since 1970 by the broker's clock.
    written: Option<u64>,
    number: i32,
    parts: i32,
}

/// Who else has our id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Double {
    pub instance: String,
    /// In seconds since 1970.
    pub since: u64,
    pub written: u64,
}

#[derive(Debug)]
pub struct Board {
    identity: Identity,
    parts: BTreeMap<Box<str>, Part>,
    rejected: BTreeMap<Box<str>, Rejection>,
    /// How far our clock is ahead of the broker's, in seconds.
    ahead: i64,
    /// When we first wrote, as the broker has it.
    since: Option<u64>,
    /// By the name of the object that says so.
    doubles: BTreeMap<Box<str>, Double>,
    usual: BTreeMap<ClusterId, Usual>,
}

impl Board {
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            parts: BTreeMap::new(),
            rejected: BTreeMap::new(),
            ahead: 0,
            since: None,
            doubles: BTreeMap::new(),
            usual: BTreeMap::new(),
        }
    }

    /// Takes an object in. Whose facts are others now: a cluster writes its first part last, so that until then a part is missing
    /// of what it says, and services that went from one part to another are in both or in none.
    pub fn put(&mut self, object: api::ClusterFacts, now: u64) -> Option<ClusterId> {
        let named: Box<str> = object.metadata.name.clone().unwrap_or_default().into();
        match self.accepted(&named, object, now) {
            Ok((part, in_part)) => {
                let cluster = part.facts.cluster.clone();
                match in_part {
                    Some(rejection) => drop(self.rejected.insert(named.clone(), rejection)),
                    None => drop(self.rejected.remove(&named)),
                }
                let first = part.number == 0;
                if first {
                    // It says how many there are.
                    let goes = |known: &Part| known.facts.cluster == cluster && known.number >= part.parts;
                    self.parts.retain(|_, known| !goes(known));
                }
                self.parts.insert(named, part);
                first.then_some(cluster)
            }
            Err(rejection) => {
                // What it said before stays until it is too old.
                self.rejected.insert(named, rejection);
                None
            }
        }
    }

    /// And what in it is left out.
    fn accepted(
        &mut self,
        named: &str,
        object: api::ClusterFacts,
        now: u64,
    ) -> Result<(Part, Option<Rejection>), Rejection> {
        let written = written(&object);
        let (part, parts) = (object.spec.part.unwrap_or(0), object.spec.parts.unwrap_or(1));
        if *named != *name(&object.spec.cluster, part) {
            let said = object.spec.cluster.clone();
            return Err(Rejection::NotItsOwners { said, part, named: name(&object.spec.cluster, part) });
        }
        self.look_for_doubles(named, &object, written)?;
        let (Accepted::Facts(mut facts), in_part) = accept(Object::ClusterFacts(Box::new(object)))? else {
            return Err(Rejection::Malformed("it holds no facts".to_owned()));
        };
        let clusters: BTreeSet<&ClusterId> = self.parts.values().map(|part| &part.facts.cluster).collect();
        if clusters.len() >= MOST_CLUSTERS && !clusters.contains(&facts.cluster) {
            return Err(Rejection::TooMany);
        }
        // The own numbers too: whoever believed itself more than others do would plan something else than they.
        let usual = self.usual.entry(facts.cluster.clone()).or_default();
        let cut = usual.believe(Arc::make_mut(&mut facts.services), now);
        let unusual = (cut > 0).then_some(Rejection::Unusual(cut));
        Ok((Part { facts, written, number: part, parts }, in_part.map(Rejection::InPart).or(unusual)))
    }

    /// Our own objects must be ours.
    fn look_for_doubles(
        &mut self,
        named: &str,
        object: &api::ClusterFacts,
        written: Option<u64>,
    ) -> Result<(), Rejection> {
        if object.spec.cluster != self.identity.cluster.as_str() {
            return Ok(());
        }
        let instance = object.spec.instance.clone().unwrap_or_default();
        let since = object.spec.since.as_ref().and_then(unix_seconds);
        if instance == self.identity.instance {
            self.since = since.or(self.since);
            self.doubles.remove(named);
            return Ok(());
        }
        let double = Double { instance: instance.clone(), since: since.unwrap_or(0), written: written.unwrap_or(0) };
        self.doubles.insert(named.into(), double);
        Err(Rejection::OwnId(instance))
    }

    /// An object that cannot be read.
    pub fn reject(&mut self, named: &str, why: String) {
        self.rejected.insert(named.into(), Rejection::Malformed(why));
    }

    /// An object is gone. A part that its owner's other parts count on is missing rather than gone: what it said stays until
    /// it is too old.
    pub fn remove(&mut self, named: &str) -> Option<ClusterId> {
        self.rejected.remove(named);
        self.doubles.remove(named);
        let (cluster, number) = named.rsplit_once('-')?;
        let number: i32 = number.parse().ok()?;
        let of_owner = self.parts.values().filter(|part| part.facts.cluster.as_str() == cluster);
        let newest = of_owner.filter(|part| part.facts.cluster.as_str() == cluster).max_by_key(|part| part.written);
        let head_is_there = number != 0 && self.parts.contains_key(&*name(cluster, 0));
        if head_is_there && newest.is_some_and(|newest| newest.parts > number) {
            return None;
        }
        self.parts.remove(named).map(|part| part.facts.cluster)
    }

    /// All names that are there.
    pub fn names(&self) -> Vec<Box<str>> {
        self.parts.keys().chain(self.rejected.keys()).cloned().collect()
    }

    /// What a cluster says, in all of its objects together. `None`: it says nothing any more.
    pub fn facts(&self, cluster: &ClusterId) -> Option<Arc<Facts>> {
        let dated = |part: &Part| {
            let at = part.written.map(|written| written.saturating_add_signed(self.ahead)).or(part.facts.observed);
            let mut facts = part.facts.clone();
            facts.observed = at;
            Arc::make_mut(&mut facts.services).values_mut().for_each(|report| report.at = at.unwrap_or(0));
            facts
        };
        let parts: Vec<Facts> = self.parts.values().filter(|part| part.facts.cluster == *cluster).map(dated).collect();
        Facts::united(parts.iter()).map(Arc::new)
    }

    pub fn clusters(&self) -> BTreeSet<ClusterId> {
        self.parts.values().map(|part| part.facts.cluster.clone()).collect()
    }

    /// Our clock against the broker's, when it said what time it is there. Whether that is another one than before.
    pub fn compare_clocks(&mut self, here: u64, there: u64) -> bool {
        /// Less is the time that an answer takes, and the rest of a second.
        const NOISE: u64 = 5;
        let ahead = i64::try_from(here).unwrap_or(i64::MAX).saturating_sub_unsigned(there);
        let moved = ahead.abs_diff(self.ahead) >= NOISE;
        if moved {
            self.ahead = ahead;
        }
        moved
    }

    pub fn ahead(&self) -> i64 {
        self.ahead
    }

    /// When we first wrote, as the broker has it.
    pub fn since(&self) -> Option<u64> {
        self.since
    }

    pub fn doubles(&self) -> impl Iterator<Item = &Double> {
        self.doubles.values()
    }

    /// What time it is by the broker's clock.
    pub fn there(&self, now: u64) -> u64 {
        now.saturating_add_signed(-self.ahead)
    }

    /// Of two clusters with one id the older one goes on, unless it has been silent for long.
    pub fn elder(&self, now: u64) -> Option<&Double> {
        const SILENT: u64 = 3600;
        let alive = |double: &&Double| self.there(now).saturating_sub(double.written) < SILENT;
        let eldest = self.doubles.values().filter(alive).min_by_key(|double| double.since);
        // Of two that began in the same second, the one whose id comes first.
        let elder = |double: &&Double, since| (double.since, &*double.instance) < (since, &*self.identity.instance);
        eldest.filter(|double| self.since.is_none_or(|since| elder(double, since)))
    }

    /// How it stands with what is there, for conditions and metrics.
    pub fn state(&self, lost: Option<Arc<str>>, now: u64) -> BrokerState {
        BrokerState {
            lost,
            double: self.elder(now).map(|double| double.instance.as_str().into()),
            unwritten: None,
            rejected: self
                .rejected
                .iter()
                .map(|(name, why)| (name.clone(), (why.category(), why.to_string().into())))
                .collect(),
            incomplete: self.incomplete().into_iter().collect(),
        }
    }

    /// The clusters with a part missing.
    pub fn incomplete(&self) -> BTreeSet<ClusterId> {
        let missing = |part: &&Part| {
            let cluster = part.facts.cluster.as_str();
            (0..part.parts.min(100)).any(|number| !self.parts.contains_key(&*name(cluster, number)))
        };
        self.parts.values().filter(missing).map(|part| part.facts.cluster.clone()).collect()
    }

    pub fn rejected(&self) -> &BTreeMap<Box<str>, Rejection> {
        &self.rejected
    }
}

/// When the API server last wrote it down, by its own clock.
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

    fn board() -> Board {
        let cluster = ClusterId::new("east").unwrap();
        Board::new(Identity { cluster, instance: "ours".to_owned() })
    }

    fn said(name: &str, spec: serde_json::Value) -> api::ClusterFacts {
        let mut object = api::ClusterFacts::new(name, serde_json::from_value(spec).unwrap());
        let time = from_unix_seconds(NOW);
        object.metadata.managed_fields = Some(vec![ManagedFieldsEntry { time, ..ManagedFieldsEntry::default() }]);
        object
    }

    /// One part of two.
    fn by(instance: &str, part: i32, since: u64) -> api::ClusterFacts {
        let mut object =
            said(&name("east", part), json!({"cluster": "east", "part": part, "parts": 2, "instance": instance}));
        object.spec.since = from_unix_seconds(since);
        object
    }

    fn demanding(rps: f64) -> serde_json::Value {
        json!({"cluster": "west", "services": [{"namespace": "shop", "name": "web", "demandRps": rps}]})
    }

    fn demand(board: &Board) -> Option<f64> {
        let facts = board.facts(&ClusterId::new("west").unwrap())?;
        facts.services[&ServiceKey::new("shop", "web").unwrap()].demand_rps
    }

    fn why(board: &Board, name: &str) -> Option<&'static str> {
        board.rejected().get(name).map(Rejection::category)
    }

    #[test]
    fn what_is_not_its_owners_or_too_new_is_left_out_and_what_was_said_before_stays() {
        let mut board = board();
        assert_eq!(board.put(said("west-0", demanding(50.0)), NOW), ClusterId::new("west").ok());
        for (name, object) in [("north-0", demanding(7.0)), ("west-1", demanding(7.0)), ("west", demanding(7.0))] {
            assert_eq!(board.put(said(name, object), NOW), None);
            assert_eq!(why(&board, name), Some("not_its_owners"));
        }
        let mut newer = demanding(7.0);
        newer["version"] = json!(99);
        assert_eq!(board.put(said("west-0", newer), NOW), None);
        assert_eq!((why(&board, "west-0"), demand(&board)), (Some("version"), Some(50.0)));
        board.put(said("west-0", demanding(60.0)), NOW);
        assert_eq!((why(&board, "west-0"), demand(&board)), (None, Some(60.0)));
    }

    #[test]
    fn a_number_that_cannot_be_is_named_and_the_rest_of_its_object_counts() {
        let mut board = board();
        board.put(said("west-0", demanding(5000.0)), NOW);
        let mut absurd = demanding(1e300);
        absurd["generation"] = json!(8);
        board.put(said("west-0", absurd), NOW);
        assert_eq!((why(&board, "west-0"), demand(&board)), (Some("field"), Some(50_000.0)), "nor is it believed");
        assert_eq!(board.facts(&ClusterId::new("west").unwrap()).unwrap().generation, 8);
        board.put(said("west-0", demanding(5000.0)), NOW);
        assert_eq!((why(&board, "west-0"), demand(&board)), (None, Some(5000.0)));
        board.put(said("west-0", demanding(90_000.0)), NOW);
        assert_eq!((why(&board, "west-0"), demand(&board)), (Some("unusual"), Some(50_000.0)), "ten times as much is");
    }

    #[test]
    fn what_others_would_not_believe_of_us_we_do_not_either() {
        let mut board = board();
        let ours = |rps: f64| {
            let services = json!([{"namespace": "shop", "name": "web", "demandRps": rps}]);
            said("east-0", json!({"cluster": "east", "instance": "ours", "services": services}))
        };
        board.put(ours(5000.0), NOW);
        board.put(ours(90_000.0), NOW);
        let facts = board.facts(&ClusterId::new("east").unwrap()).unwrap();
        let demands: Vec<_> = facts.services.values().map(|report| report.demand_rps).collect();
        assert_eq!((why(&board, "east-0"), demands), (Some("unusual"), vec![Some(50_000.0)]));
    }

    #[test]
    fn what_a_cluster_says_is_others_when_its_first_part_is_there_which_it_writes_last() {
        let mut board = board();
        let west = ClusterId::new("west").unwrap();
        let mut put = |part: i32, generation: i64| {
            let spec = json!({"cluster": "west", "part": part, "parts": 2, "generation": generation});
            board.put(said(&name("west", part), spec), NOW)
        };
        let told = [put(1, 7), put(0, 7), put(1, 8), put(0, 8)];
        assert_eq!(told, [None, Some(west.clone()), None, Some(west.clone())]);
        assert_eq!(board.facts(&west).unwrap().generation, 8);
    }

    #[test]
    fn another_cluster_with_our_id_is_there_until_the_last_of_its_objects_is_gone_or_ours() {
        let mut board = board();
        let doubles = |board: &Board| board.doubles().map(|double| double.since).collect::<Vec<_>>();
        board.put(by("ours", 0, 20), NOW);
        assert_eq!((board.since(), doubles(&board)), (Some(20), vec![]));
        board.put(by("another", 0, 10), NOW);
        board.put(by("another", 1, 10), NOW);
        assert_eq!((why(&board, "east-0"), doubles(&board)), (Some("own_id"), vec![10, 10]));
        board.remove("east-1");
        assert_eq!(doubles(&board), [10]);
        board.put(by("ours", 0, 20), NOW);
        assert_eq!((why(&board, "east-0"), doubles(&board)), (None, vec![]));
    }
}
