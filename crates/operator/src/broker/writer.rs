//! Writes the facts of this cluster to the broker.

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

/// Limit for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses after a failed write. A broker that answers "too many requests" is asked less and less often.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), RETRY_MAX);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Rounds after which an unchanged part is written again, so that it does not look abandoned.
const MAX_UNCHANGED_ROUNDS: i64 = 3;

/// State of the own objects on the broker.
pub(super) struct Writer {
    api: Api<api::ClusterFacts>,
    identity: Identity,
    /// Parts as they were written.
    written: BTreeMap<i32, ClusterFactsSpec>,
    /// Facts of which all parts are written.
    done: Option<Arc<ClusterFacts>>,
    failures: u32,
    /// Error of the last attempt.
    failure: Option<Arc<str>>,
    /// Earliest time of the next attempt.
    next: Option<Instant>,
    /// True once the surplus parts of an earlier process are deleted.
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

    /// Writes the parts of these facts that are not written yet, unless an attempt failed a moment ago.
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
                    tracing::warn!(why, "facts not written to the broker; retrying");
                }
                self.failures += 1;
                self.failure = Some(why.into());
                self.next = Some(Instant::now() + pause);
            }
        }
    }

    /// Schedules an object to be written again, because another client deleted or replaced it.
    pub(super) fn forget(&mut self, named: &str) {
        let before = self.written.len();
        self.written.retain(|number, _| name(self.identity.cluster.as_str(), *number) != named);
        if self.written.len() < before {
            self.done = None;
        }
    }

    /// Returns why the facts are not written. Returns `None` after a single failure, which may be a restart of the
    /// broker.
    pub(super) fn problem(&self) -> Option<Arc<str>> {
        self.failure.clone().filter(|_| self.failures > 1)
    }

    /// Writes all parts that changed, then deletes surplus ones.
    async fn write_parts(&mut self, facts: &ClusterFacts, since: u64, metrics: &Metrics) -> Result<(), String> {
        let parts: Vec<(i32, ClusterFactsSpec)> = (0..).zip(parts(facts, &self.identity, since)).collect();
        let count = i32::try_from(parts.len()).unwrap_or(i32::MAX);
        let mut refused = None;
        // The first part is written last: readers use the facts once it is there.
        for (number, spec) in parts.into_iter().rev() {
            if self
                .written
                .get(&number)
                .is_some_and(|before| *before == spec || number > 0 && is_unchanged(before, &spec))
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
                // The broker may still accept the others, and the first one matters most: it has the facts of the
                // cluster.
                Err(Failure::Refused(why)) => refused = refused.or(Some(why)),
                Err(Failure::Lost(why)) => return Err(why),
            }
        }
        refused.map_or(Ok(()), Err)?;
        self.delete_from(count).await
    }

    /// Deletes the parts from number `count` on.
    async fn delete_from(&mut self, count: i32) -> Result<(), String> {
        let mut surplus: Vec<i32> = self.written.range(count..).map(|(number, _)| *number).collect();
        if !self.cleaned {
            let all = request(self.api.list(&ListParams::default())).await.map_err(Failure::why)?.items;
            let own = all.into_iter().filter(|object| object.spec.cluster == self.identity.cluster.as_str());
            surplus.extend(own.filter_map(|object| object.spec.part).filter(|part| *part >= count));
        }
        for number in surplus {
            let named = name(self.identity.cluster.as_str(), number);
            match timeout(REQUEST_TIMEOUT, self.api.delete(&named, &DeleteParams::default())).await {
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

/// Returns true if the part differs in the time alone and was written recently.
fn is_unchanged(before: &ClusterFactsSpec, now: &ClusterFactsSpec) -> bool {
    let rounds = now.generation.unwrap_or(0).saturating_sub(before.generation.unwrap_or(0));
    let then =
        ClusterFactsSpec { generation: now.generation, observed_time: now.observed_time.clone(), ..before.clone() };
    rounds < MAX_UNCHANGED_ROUNDS && then == *now
}

/// Failure of one request.
enum Failure {
    /// The broker does not accept this object.
    Refused(String),
    /// The broker accepts nothing at the moment.
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
    match timeout(REQUEST_TIMEOUT, request).await {
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

    /// Returns a client of a broker that accepts every object but one. `written` gets the names of the objects.
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

    /// Writes three parts of facts in two attempts. Returns the names of the accepted objects, and the error that is
    /// left.
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
    async fn parts_are_written_once_each_and_the_first_one_last() {
        assert_eq!(
            written("nothing").await,
            (vec!["east-2".to_owned(), "east-1".to_owned(), "east-0".to_owned()], None)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn refused_part_does_not_stop_the_others_and_is_reported() {
        let (written, why) = written("east-1").await;
        assert_eq!(written, ["east-2", "east-0"]);
        assert!(why.is_some_and(|why| why.contains("exceeded quota")));
    }
}
