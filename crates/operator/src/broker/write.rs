//! The own facts, on their way to the broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use landfall_api::{ClusterFacts, ClusterFactsSpec};
use tokio::time::{Instant, timeout};

use super::build::{Identity, name, parts};
use crate::accept::Facts;
use crate::apply::FIELD_MANAGER;
use crate::metrics::Metrics;
use crate::watch::chain;

/// For one request.
const REQUEST: Duration = Duration::from_secs(10);
/// After a write that failed: a broker that says "too many requests" is asked less and less often.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// A part in which nothing changed is written again after so many rounds, so that it does not look forgotten.
const UNCHANGED: i64 = 3;

pub(super) struct Writer {
    api: Api<ClusterFacts>,
    identity: Identity,
    /// What is written, by part.
    written: BTreeMap<i32, ClusterFactsSpec>,
    /// The facts that are written as a whole.
    done: Option<Arc<Facts>>,
    failures: u32,
    /// Of the last attempt.
    failure: Option<Arc<str>>,
    /// Not before.
    next: Option<Instant>,
    /// Parts of an earlier process may be more than ours are.
    cleaned: bool,
}

impl Writer {
    pub(super) fn new(api: Api<ClusterFacts>, identity: Identity) -> Self {
        Self {
            api,
            identity,
            written: BTreeMap::new(),
            done: None,
            failures: 0,
            failure: None,
            next: None,
            cleaned: false,
        }
    }

    /// Writes what of these facts is not written yet, unless the last attempt failed a moment ago.
    pub(super) async fn write(&mut self, facts: &Arc<Facts>, since: u64, metrics: &Metrics) {
        let waits = self.next.is_some_and(|next| Instant::now() < next);
        if waits || self.done.as_ref().is_some_and(|done| Arc::ptr_eq(done, facts)) {
            return;
        }
        match self.write_parts(facts, since, metrics).await {
            Ok(()) => {
                self.done = Some(Arc::clone(facts));
                (self.failures, self.failure, self.next) = (0, None, None);
            }
            Err(why) => {
                let pause = RETRY_MIN.saturating_mul(1 << self.failures.min(6)).min(RETRY_MAX);
                if self.failures == 0 {
                    tracing::warn!(why, "facts not written to the broker; trying again");
                }
                self.failures += 1;
                self.failure = Some(why.into());
                self.next = Some(Instant::now() + pause);
            }
        }
    }

    /// Somebody deleted or replaced this object: it is to be written again.
    pub(super) fn forget(&mut self, named: &str) {
        let before = self.written.len();
        self.written.retain(|number, _| name(self.identity.cluster.as_str(), *number) != named);
        if self.written.len() < before {
            self.done = None;
        }
    }

    /// Why nothing is written. The first failure may be a broker that restarts.
    pub(super) fn trouble(&self) -> Option<Arc<str>> {
        self.failure.clone().filter(|_| self.failures > 1)
    }

    async fn write_parts(&mut self, facts: &Facts, since: u64, metrics: &Metrics) -> Result<(), String> {
        let parts = parts(facts, &self.identity, since);
        let count = i32::try_from(parts.len()).unwrap_or(i32::MAX);
        for (number, spec) in (0..).zip(parts) {
            if self.written.get(&number).is_some_and(|before| number > 0 && is_as_before(before, &spec)) {
                continue;
            }
            let named = name(self.identity.cluster.as_str(), number);
            let bytes = serde_json::to_vec(&spec).map_or(0, |json| json.len());
            let object = ClusterFacts::new(&named, spec.clone());
            let params = PatchParams::apply(FIELD_MANAGER).force();
            let patched = request(self.api.patch(&named, &params, &Patch::Apply(&object))).await;
            metrics.facts_written(patched.is_ok(), bytes);
            patched?;
            self.written.insert(number, spec);
        }
        self.remove_beyond(count).await
    }

    async fn remove_beyond(&mut self, count: i32) -> Result<(), String> {
        let mut beyond: Vec<i32> = self.written.range(count..).map(|(number, _)| *number).collect();
        if !self.cleaned {
            let all = request(self.api.list(&ListParams::default())).await?.items;
            let own = all.into_iter().filter(|object| object.spec.cluster == self.identity.cluster.as_str());
            beyond.extend(own.filter_map(|object| object.spec.part).filter(|part| *part >= count));
        }
        for number in beyond {
            let named = name(self.identity.cluster.as_str(), number);
            match timeout(REQUEST, self.api.delete(&named, &DeleteParams::default())).await {
                Ok(Err(kube::Error::Api(status))) if status.code == 404 => {}
                Ok(result) => drop(result.map_err(|error| chain(&error))?),
                Err(_) => return Err("no answer in time".to_owned()),
            }
            self.written.remove(&number);
        }
        self.cleaned = true;
        Ok(())
    }
}

/// The same but for the time, which is not long ago.
fn is_as_before(before: &ClusterFactsSpec, now: &ClusterFactsSpec) -> bool {
    let rounds = now.generation.unwrap_or(0).saturating_sub(before.generation.unwrap_or(0));
    let then =
        ClusterFactsSpec { generation: now.generation, observed_time: now.observed_time.clone(), ..before.clone() };
    rounds < UNCHANGED && then == *now
}

async fn request<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match timeout(REQUEST, request).await {
        Ok(result) => result.map_err(|error| chain(&error)),
        Err(_) => Err("no answer in time".to_owned()),
    }
}
