//! Objects from an API server: one watch per kind, each of which survives whatever happens to the server.
//!
//! The text of an object is kept as it came and read here, so that one that cannot be read costs that object and not the
//! list it came in.

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
use landfall_controller::change::ObjectEvent;
use landfall_controller::object::{Json, Kind, Object, ObjectRef, Problem};

/// A server that comes back is noticed within half a second, and a handful of refused connections a second is no load for
/// anything. A server that denies a kind for 60 attempts in a row means it, and is asked less often.
const LIMITS: Limits = Limits {
    denials: 60,
    denials_after_silence: 60,
    backoff: Backoff::new(Duration::from_millis(50), Duration::from_millis(500)),
    slow_after: 60,
    slow_pause: Duration::from_secs(5),
};
/// Pause before a watch that failed is resumed from where it was.
const RESUME_PAUSE: Duration = Duration::from_millis(50);
/// A watch that lasted this long was a healthy one, and its end is a new beginning.
const HEALTHY: Duration = Duration::from_secs(10);
/// How often in a row a watch may fail and be resumed from where it was, before everything is listed again.
const FAILURES: u32 = 3;
/// For the answer whether a kind is served.
const DISCOVERY: Duration = Duration::from_secs(10);
/// A connection that died in silence is noticed after this time and 5 s more.
const WATCH_SECONDS: u32 = 50;

/// Of ClusterFacts, which other clusters write. Ours are half as large at most.
const MOST_FACTS_BYTES: usize = 512 * 1024;

/// Which objects are of use; of kinds that are no EndpointSlices all of them, or all of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All that the clusters say in a namespace of the broker.
    Broker(String),
    /// All of one namespace of this cluster.
    Namespace(String),
    /// Those of the local services too: who counts pods.
    All,
    /// Those of the clusterset: who answers. The others are many, and change with every pod.
    Clusterset,
}

impl Scope {
    /// The same for objects of this kind, with `own` as our namespace. What people say of clusters is there. In another one is
    /// what clusters say, where the broker is a namespace of this cluster: nobody is to believe that before the board has seen it.
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
    // A process that may not see what other clusters report must not take it for nothing.
    let optional = !kind.is_required() && !matches!(scope, Scope::Broker(_));
    loop {
        let ended = match discover(&client, kind).await {
            Ok(resource) => {
                was_served = true;
                let began = Instant::now();
                let followed = follow(&client, (kind, &scope), &resource, &events).await;
                if began.elapsed() >= HEALTHY {
                    patience.reset();
                    log.resolve(kind.name());
                }
                match followed {
                    Ok(ended) => ended,
                    Err(Stopping) => return,
                }
            }
            Err(ended) => ended,
        };
        let next = patience.step(ended.outcome());
        // A kind that was never served is not installed: that must not keep the other kinds from being planned.
        let never_served = matches!(ended, Ended::Missing(_)) && !was_served;
        if optional && (never_served || next.is_believed) && send_empty_list(kind, &events).await.is_err() {
            return;
        }
        on_interruption();
        let why = ended.why();
        if send(&events, ObjectEvent::Interrupted(kind, why.as_str().into())).await.is_err() {
            return;
        }
        if log.is_new(kind.name(), &why) {
            tracing::warn!(%kind, why, "not watching; going on with what was seen last, and trying again");
        }
        sleep(next.pause).await;
    }
}

async fn discover(client: &Client, kind: Kind) -> Result<ApiResource, Ended> {
    match timeout(DISCOVERY, served(client, kind)).await {
        Ok(Ok(Discovered::Served(resource))) => Ok(resource),
        Ok(Ok(Discovered::Missing)) => Err(Ended::Missing(not_served(kind))),
        Ok(Err(error)) => Err(Ended::of(&error)),
        Err(_) => Err(Ended::Lost("the API server does not answer".to_owned())),
    }
}

/// Why a watch ended.
enum Ended {
    /// The server does not know the kind.
    Missing(String),
    /// The kind is not for us.
    Forbidden(String),
    /// The server answers, and not as it should.
    Refused(String),
    /// It does not answer.
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

/// The receiver is gone: the process is stopping.
struct Stopping;

async fn send<E: From<ObjectEvent>>(events: &mpsc::Sender<E>, event: ObjectEvent) -> Result<(), Stopping> {
    events.send(event.into()).await.map_err(|_| Stopping)
}

fn not_served(kind: Kind) -> String {
    let remedy = match kind.group() {
        "landfall.dev" => "; `landfall crds` prints its definition, and it is read as soon as that is there",
        _ => "",
    };
    format!("{} is not served{remedy}", kind.resource())
}

/// A kind that is not installed has no objects.
async fn send_empty_list<E: From<ObjectEvent>>(kind: Kind, events: &mpsc::Sender<E>) -> Result<(), Stopping> {
    send(events, ObjectEvent::ListBegins(kind)).await?;
    send(events, ObjectEvent::ListEnds(kind)).await
}

async fn follow<E: From<ObjectEvent>>(
    client: &Client,
    (kind, scope): (Kind, &Scope),
    resource: &ApiResource,
    events: &mpsc::Sender<E>,
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
                // Said before the server was asked, so it is no sign of life.
                send(events, ObjectEvent::ListBegins(kind)).await?;
                continue;
            }
            Ok(Event::InitDone) => ObjectEvent::ListEnds(kind),
            Ok(Event::InitApply(raw) | Event::Apply(raw)) => raw.read(kind),
            Ok(Event::Delete(raw)) => ObjectEvent::Delete(kind, raw.reference()),
            Err(error) => match interruption(&error) {
                Some(ended) => return Ok(ended),
                None if failures >= FAILURES => return Ok(Ended::Lost(chain(&error))),
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

/// `None`: the watcher goes on by itself, from where it was.
fn interruption(error: &watcher::Error) -> Option<Ended> {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => Some(Ended::of(error)),
        watcher::Error::NoResourceVersion => Some(Ended::Refused(error.to_string())),
        watcher::Error::WatchError(_) | watcher::Error::WatchFailed(_) => None,
    }
}

/// An object as it came, and of its metadata what a watch needs.
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
        if kind == Kind::ClusterFacts && bytes > MOST_FACTS_BYTES {
            let what = format!("it has {bytes} bytes; at most {MOST_FACTS_BYTES} are read");
            return ObjectEvent::Malformed(Problem { origin: None, kind, object: self.reference(), what });
        }
        match Object::read(kind, Json(self.text.get())) {
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
        struct Head {
            metadata: Meta,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let Head { metadata } = serde_json::from_str(text.get()).unwrap_or_default();
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
