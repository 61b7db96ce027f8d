//! Drains a cluster: writes `spec.drain` of its ClusterFacts, from which its operator publishes to the other clusters.

use std::time::Duration;

use crate::broker;
use crate::clock::unix_seconds;
use crate::kubernetes::connect::{self, ConnectError};
use crate::kubernetes::identity;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use landfall_api::time::{from_unix_seconds, unix_seconds as unix_seconds_of};
use landfall_api::{ClusterFacts, ClusterFactsSpec};
use landfall_controller::broker::objects::Identity;
use landfall_controller::change::PeerEvent;
use landfall_controller::facts::Drain;
use landfall_core::name::ClusterId;
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};

use crate::actions::inspect::READ_TIMEOUT;
use crate::actions::options::ClusterOptions;

/// Field manager of the drain, separate from the operator's, which must not own it.
const FIELD_MANAGER: &str = "landfall-drain";
/// Limit for the operator to publish a drain. It publishes urgent changes at most every ten seconds.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause between two reads of the broker.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Result of draining a cluster, or of undoing that.
#[derive(Debug)]
pub enum Drained {
    /// Nothing was written, because the cluster is in the desired state already. The text names the state.
    Already(String),
    /// Written, and the other clusters can read it on the broker.
    Published,
    /// Written, but not on the broker yet.
    NotPublished,
    /// Written, but the broker cannot be read, for this reason.
    Unknown(String),
}

/// Reason why a cluster was not drained.
#[derive(Debug, Error)]
pub enum DrainError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the kubeconfig is for cluster {actual}; use the kubeconfig of {wanted}")]
    OtherCluster { actual: ClusterId, wanted: ClusterId },
    #[error("cannot read ClusterFacts {object}")]
    Read { object: String, source: kube::Error },
    #[error("cannot write ClusterFacts {object}")]
    Write { object: String, source: kube::Error },
    #[error("the API server did not store spec.drain; apply the present CRDs: landfall crds | kubectl apply -f -")]
    NotStored,
    #[error("spec.drain of ClusterFacts {object} belongs to {}; remove it there", managers.join(", "))]
    KeptByOthers { object: String, managers: Vec<String> },
    #[error("the clock of the API server is wrong; correct it, because the drain is timed by it")]
    ServerClock,
    #[error(
        "the API server did not answer within {} s; check that it is running and reachable",
        (READ_TIMEOUT + PUBLISH_TIMEOUT).as_secs()
    )]
    TimedOut,
}

/// Drains the cluster evenly over `over_seconds`. A drain in progress continues from its present state.
pub async fn drain(options: &ClusterOptions, cluster: &ClusterId, over_seconds: u32) -> Result<Drained, DrainError> {
    within_timeout(async {
        let object = DrainObject::connect(options, cluster).await?;
        let before = object.stored().await?;
        let now = object.server_time(over_seconds).await?;
        let drain = match before {
            Some(before) if before.remaining(now) <= 0.0 => {
                return Ok(Drained::Already("is already drained".to_owned()));
            }
            Some(before) => before.within(over_seconds, now),
            None => Drain { since: now, over_seconds },
        };
        let written = object.apply(&params(), Some(drain)).await?;
        if written.spec.drain.is_none() {
            return Err(DrainError::NotStored);
        }
        object.published(true).await
    })
    .await
}

/// Lets the cluster serve again, at once.
pub async fn undo(options: &ClusterOptions, cluster: &ClusterId) -> Result<Drained, DrainError> {
    within_timeout(async {
        let object = DrainObject::connect(options, cluster).await?;
        if object.stored().await?.is_none() {
            return Ok(Drained::Already(format!("is not drained: ClusterFacts {} has no spec.drain", object.name())));
        }
        let written = object.apply(&params(), None).await?;
        if written.spec.drain.is_some() {
            let managers = written.metadata.managed_fields.unwrap_or_default().into_iter().filter_map(|it| it.manager);
            let managers = managers.filter(|manager| manager != FIELD_MANAGER).collect();
            return Err(DrainError::KeptByOthers { object: object.name(), managers });
        }
        object.published(false).await
    })
    .await
}

async fn within_timeout(work: impl Future<Output = Result<Drained, DrainError>>) -> Result<Drained, DrainError> {
    timeout(READ_TIMEOUT + PUBLISH_TIMEOUT, work).await.map_err(|_| DrainError::TimedOut)?
}

fn params() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}

/// The ClusterFacts object that holds the drain of a cluster.
struct DrainObject<'a> {
    options: &'a ClusterOptions,
    cluster: &'a ClusterId,
    client: Client,
    api: Api<ClusterFacts>,
}

impl<'a> DrainObject<'a> {
    async fn connect(options: &'a ClusterOptions, cluster: &'a ClusterId) -> Result<Self, DrainError> {
        let client = connect::client(options.kubeconfig.as_deref()).await?;
        // Without Submariner only the flag of the operator names the cluster, so the id cannot be checked here.
        if let Ok(actual) = identity::cluster_id(&client, &options.submariner_namespace).await
            && actual != *cluster
        {
            return Err(DrainError::OtherCluster { actual, wanted: cluster.clone() });
        }
        let api = Api::namespaced(client.clone(), &options.namespace);
        Ok(Self { options, cluster, client, api })
    }

    fn name(&self) -> String {
        format!("{}/{}", self.options.namespace, self.cluster)
    }

    /// Returns the stored drain, whichever field manager wrote it.
    async fn stored(&self) -> Result<Option<Drain>, DrainError> {
        let read = self.api.get_opt(self.cluster.as_str()).await;
        let facts = read.map_err(|source| DrainError::Read { object: self.name(), source })?;
        let drain = facts.and_then(|facts| facts.spec.drain);
        let known = |drain: landfall_api::Drain| {
            let since = unix_seconds_of(&drain.since).unwrap_or(0);
            Drain { since, over_seconds: drain.over_seconds }
        };
        Ok(drain.map(known))
    }

    /// Returns the time of the API server, by a dry run of the write. The clock of this machine may be wrong.
    async fn server_time(&self, over_seconds: u32) -> Result<u64, DrainError> {
        let drain = Drain { since: unix_seconds(), over_seconds };
        let tried = self.apply(&PatchParams { dry_run: true, ..params() }, Some(drain)).await?;
        let entries = tried.metadata.managed_fields.into_iter().flatten();
        let time = entries.filter(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER)).find_map(|entry| entry.time);
        Ok(time.as_ref().and_then(unix_seconds_of).unwrap_or(drain.since))
    }

    async fn apply(&self, params: &PatchParams, drain: Option<Drain>) -> Result<ClusterFacts, DrainError> {
        let wire = |drain: Drain| -> Result<landfall_api::Drain, DrainError> {
            let since = from_unix_seconds(drain.since).ok_or(DrainError::ServerClock)?;
            Ok(landfall_api::Drain { since, over_seconds: drain.over_seconds })
        };
        let cluster = self.cluster.as_str();
        let drain = drain.map(wire).transpose()?;
        let spec = ClusterFactsSpec { cluster: cluster.to_owned(), drain, ..ClusterFactsSpec::default() };
        let written = self.api.patch(cluster, params, &Patch::Apply(&ClusterFacts::new(cluster, spec))).await;
        written.map_err(|source| DrainError::Write { object: self.name(), source })
    }

    /// Waits until the facts of the cluster on the broker have the drain, or have it no more.
    async fn published(&self, drained: bool) -> Result<Drained, DrainError> {
        let source = self.options.broker_source(&self.client);
        let instance = identity::instance(&self.client).await?;
        let identity = Identity { cluster: self.cluster.clone(), instance };
        let own = |event: &PeerEvent| match event {
            PeerEvent::Reported(facts) => facts.cluster == *self.cluster && facts.drain.is_some() == drained,
            PeerEvent::Gone(_) | PeerEvent::Listed(_) | PeerEvent::Broker(_) => false,
        };
        let deadline = Instant::now() + PUBLISH_TIMEOUT;
        while Instant::now() < deadline {
            let changes = match broker::read_once(&source, identity.clone(), unix_seconds).await {
                Ok(changes) => changes,
                Err(why) => return Ok(Drained::Unknown(why)),
            };
            if matches!(changes.as_slice(), [PeerEvent::Broker(None)]) {
                return Ok(Drained::Unknown("no Submariner resource here names a broker".to_owned()));
            }
            if changes.iter().any(own) {
                return Ok(Drained::Published);
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(Drained::NotPublished)
    }
}
