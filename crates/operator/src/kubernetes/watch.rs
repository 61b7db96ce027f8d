//! Watches the objects of an API server, one watch per kind. A watch survives restarts and outages of the server.
//!
//! Each object is received as text and parsed here, so that a malformed object costs only itself and not the whole
//! list.

use std::fmt;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ApiResource};
use kube::runtime::watcher::{self, Event};
use kube::{Client, Resource};
use landfall_api::Meta;
use landfall_api::labels::SERVICE_NAME;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::discovery::{Discovered, served};
use super::patience::{Limits, Outcome, Patience};
use crate::error_chain::chain;
use crate::log_once::LogOnce;
use crate::retry::Backoff;
use crate::stopping::{Stopping, send};
use landfall_controller::change::ObjectEvent;
use landfall_controller::object::{Kind, Object, ObjectRef, Problem};
use landfall_controller::text::Text;

/// Limits of a watch. A server that comes back is noticed within half a second, and a few refused connections a second
/// are no load. A denial of 60 attempts in a row is final, and the server is then asked less often.
const LIMITS: Limits = Limits {
    denials: 60,
    denials_after_silence: 60,
    backoff: Backoff::new(Duration::from_millis(50), Duration::from_millis(500)),
    slow_after: 60,
    slow_pause: Duration::from_secs(5),
};
/// Pause before a watch that failed is resumed from where it was.
const RESUME_PAUSE: Duration = Duration::from_millis(50);
/// Duration after its list from which a watch counts as healthy. Its end does not count as a further failure.
const MIN_HEALTHY: Duration = Duration::from_secs(10);
/// Limit of failures in a row after which a watch is resumed from where it was. After one more everything is listed
/// again.
const MAX_RESUMES: u32 = 3;
/// Limit for finding out whether a kind is served.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// Duration of one watch request. A dead connection is noticed after this time and 5 s more.
const WATCH_SECONDS: u32 = 50;

/// Limit of the size of a ClusterFacts object, which other clusters write. Our own objects have at most half of it.
const MAX_FACTS_BYTES: usize = 512 * 1024;

/// Objects to be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// ClusterFacts of all clusters, in this namespace of the broker.
    Broker(String),
    /// Objects in one namespace of this cluster.
    Namespace(String),
    /// Objects in all namespaces. EndpointSlices include those of local services, which have the pods to be counted.
    All,
    /// Objects in all namespaces, but of EndpointSlices only those of the clusterset: enough for answering queries. The
    /// others are many, and change with every pod.
    Clusterset,
}

impl Scope {
    /// Returns the scope for objects of this kind, where `own` is our namespace. ClusterFacts are read from `own`
    /// alone, where users write them. If the broker is another namespace of this cluster, the ClusterFacts there come
    /// from other clusters, and only the inbox of the broker may read them.
    #[must_use]
    pub fn of(self, kind: Kind, own: &str) -> Self {
        if kind == Kind::ClusterFacts { Self::Namespace(own.to_owned()) } else { self }
    }
}

/// Sends all events of one kind until the receiver is gone. Calls `on_interruption` for each interruption.
pub async fn watch<E: From<ObjectEvent>>(
    client: Client,
    kind: Kind,
    scope: Scope,
    events: mpsc::Sender<E>,
    on_interruption: impl Fn() + Send,
) {
    let mut patience = Patience::new(LIMITS);
    let mut log = LogOnce::default();
    let mut was_served = false;
    // A process that may not read the broker must not take it for an empty one.
    let optional = !kind.is_required() && !matches!(scope, Scope::Broker(_));
    loop {
        let ended = match discover(&client, kind).await {
            Ok(resource) => {
                was_served = true;
                let mut listed = None;
                let result = send_events(&client, (kind, &scope), &resource, &events, &mut listed).await;
                if let Some(listed) = listed {
                    let lasted = listed.elapsed() >= MIN_HEALTHY;
                    patience.succeed(lasted);
                    if lasted {
                        log.resolve(kind.name());
                    }
                }
                match result {
                    Ok(ended) => ended,
                    Err(Stopping) => return,
                }
            }
            Err(ended) => ended,
        };
        let next = patience.step(ended.outcome());
        // A kind that was never served is not installed. Plans must not wait for it.
        let never_served = matches!(ended, Ended::Missing(_)) && !was_served;
        if optional && (never_served || next.is_final) && send_empty_list(kind, &events).await.is_err() {
            return;
        }
        on_interruption();
        let why = ended.why();
        if send(&events, ObjectEvent::Interrupted(kind, why.as_str().into())).await.is_err() {
            return;
        }
        if log.is_new(kind.name(), &why) {
            tracing::warn!(%kind, why, "watch interrupted; keeping the objects seen last, and retrying");
        }
        sleep(next.pause).await;
    }
}

async fn discover(client: &Client, kind: Kind) -> Result<ApiResource, Ended> {
    match timeout(DISCOVERY_TIMEOUT, served(client, kind)).await {
        Ok(Ok(Discovered::Served(resource))) => Ok(resource),
        Ok(Ok(Discovered::Missing)) => Err(Ended::Missing(not_served(kind))),
        Ok(Err(error)) => Err(Ended::of(&error)),
        Err(_) => Err(Ended::Lost("the API server does not answer".to_owned())),
    }
}

/// Reason why a watch ended.
enum Ended {
    /// The server does not serve the kind.
    Missing(String),
    /// Access to the kind is forbidden.
    Forbidden(String),
    /// The server answers with another error.
    Refused(String),
    /// The server does not answer.
    Lost(String),
}

impl Ended {
    fn of(error: &kube::Error) -> Self {
        let kube::Error::Api(status) = error else { return Self::Lost(chain(error)) };
        if status.code == 403 { Self::Forbidden(status.to_string()) } else { Self::Refused(status.to_string()) }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::Missing(_) | Self::Forbidden(_) => Outcome::Denied,
            Self::Refused(_) => Outcome::Refused,
            Self::Lost(_) => Outcome::Lost,
        }
    }

    fn why(self) -> String {
        match self {
            Self::Missing(why) | Self::Forbidden(why) | Self::Refused(why) | Self::Lost(why) => why,
        }
    }
}

fn not_served(kind: Kind) -> String {
    let remedy = match kind.group() {
        "landfall.dev" => "; install its CRD with `landfall crds | kubectl apply -f -`",
        _ => "",
    };
    format!("{} is not served{remedy}", kind.resource())
}

/// Reports that there are no objects of this kind.
async fn send_empty_list<E: From<ObjectEvent>>(kind: Kind, events: &mpsc::Sender<E>) -> Result<(), Stopping> {
    send(events, ObjectEvent::ListBegins(kind)).await?;
    send(events, ObjectEvent::ListEnds(kind)).await
}

/// Sends the events of one watch until it ends. Sets `listed` to the time at which the first list was complete.
async fn send_events<E: From<ObjectEvent>>(
    client: &Client,
    (kind, scope): (Kind, &Scope),
    resource: &ApiResource,
    events: &mpsc::Sender<E>,
    listed: &mut Option<Instant>,
) -> Result<Ended, Stopping> {
    let api: Api<Raw> = match scope {
        Scope::Broker(namespace) | Scope::Namespace(namespace) => {
            Api::namespaced_with(client.clone(), namespace, resource)
        }
        Scope::All | Scope::Clusterset => Api::all_with(client.clone(), resource),
    };
    let mut config = watcher::Config::default().timeout(WATCH_SECONDS);
    if kind == Kind::EndpointSlice && *scope == Scope::Clusterset {
        config = config.labels(SERVICE_NAME);
    }
    let mut stream = std::pin::pin!(watcher::watcher(api, config));
    let mut failures = 0;
    while let Some(event) = stream.next().await {
        let read = match event {
            Ok(Event::Init) => {
                // This event precedes the request, so it does not show that the server answers.
                send(events, ObjectEvent::ListBegins(kind)).await?;
                continue;
            }
            Ok(Event::InitDone) => {
                listed.get_or_insert_with(Instant::now);
                ObjectEvent::ListEnds(kind)
            }
            Ok(Event::InitApply(raw) | Event::Apply(raw)) => raw.read(kind),
            Ok(Event::Delete(raw)) => ObjectEvent::Delete(kind, raw.reference()),
            Err(error) => match interruption(&error) {
                Some(ended) => return Ok(ended),
                None if failures >= MAX_RESUMES => return Ok(Ended::Lost(chain(&error))),
                None => {
                    failures += 1;
                    sleep(RESUME_PAUSE).await;
                    continue;
                }
            },
        };
        failures = 0;
        send(events, read).await?;
    }
    Ok(Ended::Lost("the stream of events ended".to_owned()))
}

/// Returns why the watch ends. Returns `None` if the watcher resumes it by itself, from where it was.
fn interruption(error: &watcher::Error) -> Option<Ended> {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => Some(Ended::of(error)),
        watcher::Error::NoResourceVersion => Some(Ended::Refused(error.to_string())),
        watcher::Error::WatchError(_) | watcher::Error::WatchFailed(_) => None,
    }
}

/// The text of an object, and the part of its metadata that a watch needs.
#[derive(Clone)]
struct Raw {
    metadata: ObjectMeta,
    text: Box<RawValue>,
}

impl Raw {
    fn reference(&self) -> ObjectRef {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        ObjectRef::new(&text(&self.metadata.namespace), &text(&self.metadata.name))
    }

    fn read(&self, kind: Kind) -> ObjectEvent {
        let bytes = self.text.get().len();
        if kind == Kind::ClusterFacts && bytes > MAX_FACTS_BYTES {
            let what = format!("it has {bytes} bytes; at most {MAX_FACTS_BYTES} are read");
            return ObjectEvent::Malformed(Problem { origin: None, kind, object: self.reference(), what });
        }
        match Object::read(kind, Text::Json(self.text.get())) {
            Ok(object) => ObjectEvent::Apply { object, origin: None },
            Err(error) => ObjectEvent::Malformed(Problem {
                origin: None,
                kind,
                object: self.reference(),
                what: error.to_string(),
            }),
        }
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reference())
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct HasMetadata {
            metadata: Meta,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let HasMetadata { metadata } = serde_json::from_str(text.get()).unwrap_or_default();
        let metadata = ObjectMeta {
            name: Some(metadata.name),
            namespace: Some(metadata.namespace),
            resource_version: Some(metadata.resource_version),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, text })
    }
}

impl Resource for Raw {
    type DynamicType = ApiResource;
    type Scope = kube::core::DynamicResourceScope;

    fn kind(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
