//! The own facts, on their way to the broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use landfall_api as api;
use landfall_api::ClusterFactsSpec;
use landfall_api::labels::FIELD_MANAGER;
use tokio::time::{Instant, timeout};

use crate::error_chain::chain;
use crate::metrics::Metrics;
use crate::retry::Backoff;
use landfall_controller::broker::objects::{Identity, name, parts};
use landfall_controller::facts::ClusterFacts;

/// For one request.
const REQUEST: Duration = Duration::from_secs(10);
/// After a write that failed: a broker that says "too many requests" is asked less and less often.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), RETRY_MAX);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// A part in which nothing changed is written again after so many rounds, so that it does not look forgotten.
const UNCHANGED: i64 = 3;

pub(super) struct Writer {
    api: Api<api::ClusterFacts>,
    identity: Identity,
    /// What is written, by part.
    written: BTreeMap<i32, ClusterFactsSpec>,
    /// The facts that are written as a whole.
    done: Option<Arc<ClusterFacts>>,
    failures: u32,
    /// Of the last attempt.
    failure: Option<Arc<str>>,
    /// Not before.
    next: Option<Instant>,
    /// Parts of an earlier process may be more than ours are.
    cleaned: bool,
}

impl Writer {
    pub(super) fn new(api: Api<api::ClusterFacts>, identity: Identity) -> Self {
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
    pub(super) async fn write(&mut self, facts: &Arc<ClusterFacts>, since: u64, metrics: &Metrics) {
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
                let pause = BACKOFF.pause(self.failures);
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

    async fn write_parts(&mut self, facts: &ClusterFacts, since: u64, metrics: &Metrics) -> Result<(), String> {
        let parts: Vec<(i32, ClusterFactsSpec)> = (0..).zip(parts(facts, &self.identity, since)).collect();
        let count = i32::try_from(parts.len()).unwrap_or(i32::MAX);
        let mut refused = None;
        // The first part last: what is said counts when it is there.
        for (number, spec) in parts.into_iter().rev() {
            if self
                .written
                .get(&number)
                .is_some_and(|before| *before == spec || number > 0 && is_as_before(before, &spec))
            {
                continue;
            }
            let named = name(self.identity.cluster.as_str(), number);
            let bytes = serde_json::to_vec(&spec).map_or(0, |json| json.len());
            let object = api::ClusterFacts::new(&named, spec.clone());
            let params = PatchParams::apply(FIELD_MANAGER).force();
            let patched = request(self.api.patch(&named, &params, &Patch::Apply(&object))).await;
            metrics.facts_written(patched.is_ok(), bytes);
            match patched {
                Ok(_) => drop(self.written.insert(number, spec)),
                // The others may be taken all the same, and the first must be: it tells of the cluster as a whole.
                Err(Failure::Refused(why)) => refused = refused.or(Some(why)),
                Err(Failure::Lost(why)) => return Err(why),
            }
        }
        refused.map_or(Ok(()), Err)?;
        self.remove_beyond(count).await
    }

    async fn remove_beyond(&mut self, count: i32) -> Result<(), String> {
        let mut beyond: Vec<i32> = self.written.range(count..).map(|(number, _)| *number).collect();
        if !self.cleaned {
            let all = request(self.api.list(&ListParams::default())).await.map_err(Failure::why)?.items;
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

enum Failure {
    /// This object is not taken.
    Refused(String),
    /// Nothing is, now.
    Lost(String),
}

impl Failure {
    fn of(error: &kube::Error) -> Self {
        let refused = matches!(error, kube::Error::Api(status) if [400, 403, 409, 413, 422].contains(&status.code));
        if refused { Self::Refused(chain(error)) } else { Self::Lost(chain(error)) }
    }

    fn why(self) -> String {
        match self {
            Self::Refused(why) | Self::Lost(why) => why,
        }
    }
}

async fn request<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    match timeout(REQUEST, request).await {
        Ok(result) => result.map_err(|error| Failure::of(&error)),
        Err(_) => Err(Failure::Lost("no answer in time".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;

    use http_body_util::{BodyExt, Full};
    use hyper::{Method, Request, Response};
    use kube::Client;
    use kube::client::Body;
    use landfall_core::name::{ClusterId, ServiceKey};
    use landfall_core::optimize::report::Report;

    use super::*;

    /// Takes whatever is written, but for one object, and notes the names.
    fn broker(refuses: &'static str, written: &Arc<Mutex<Vec<String>>>) -> Client {
        let written = Arc::clone(written);
        let service = tower::service_fn(move |request: Request<Body>| {
            let named = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            let (lists, takes) = (request.method() == Method::GET, named != refuses);
            if takes && !lists {
                written.lock().unwrap().push(named);
            }
            async move {
                let sent = request.into_body().collect().await.unwrap().to_bytes();
                let body = match (lists, takes) {
                    (true, _) => r#"{"metadata": {}, "items": []}"#.into(),
                    (false, true) => sent,
                    (false, false) => r#"{"status": "Failure", "code": 403, "message": "exceeded quota"}"#.into(),
                };
                let response = Response::builder().status(if takes { 200 } else { 403 }).body(Full::new(body));
                Ok::<_, Infallible>(response.unwrap())
            }
        });
        Client::new(service, "landfall-broker")
    }

    /// Three parts of facts: what is written of them in two attempts, and why not more.
    async fn written(refuses: &'static str) -> (Vec<String>, Option<String>) {
        let mut facts = ClusterFacts::empty(ClusterId::new("east").unwrap());
        for i in 0..1000 {
            let key = ServiceKey::new("shop", &format!("web-{i}")).unwrap();
            let report = Report { demand_rps: Some(1.0), ..Report::default() };
            Arc::make_mut(&mut facts.services).insert(key, report);
        }
        let written = Arc::default();
        let identity = Identity { cluster: facts.cluster.clone(), instance: "ours".to_owned() };
        let mut writer = Writer::new(Api::default_namespaced(broker(refuses, &written)), identity);
        let (facts, metrics) = (Arc::new(facts), Metrics::default());
        writer.write(&facts, 1, &metrics).await;
        tokio::time::advance(RETRY_MAX).await;
        writer.write(&facts, 1, &metrics).await;
        let written = written.lock().unwrap().clone();
        (written, writer.failure.map(|why| why.to_string()))
    }

    #[tokio::test(start_paused = true)]
    async fn each_part_is_written_once_and_the_first_one_last() {
        assert_eq!(
            written("nothing").await,
            (vec!["east-2".to_owned(), "east-1".to_owned(), "east-0".to_owned()], None)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_the_broker_refuses_costs_itself_and_is_told() {
        let (written, why) = written("east-1").await;
        assert_eq!(written, ["east-2", "east-0"]);
        assert!(why.is_some_and(|why| why.contains("exceeded quota")));
    }
}
