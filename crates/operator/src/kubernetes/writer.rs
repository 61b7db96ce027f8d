//! Writes to the API server, only while this replica leads.

use crate::metrics::Metrics;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::core::{NamespaceResourceScope, Status};
use kube::{Client, Resource, ResourceExt};
use landfall_api::labels::{FIELD_MANAGER, MANAGED_BY};
use landfall_api::{ClusterFacts, SelectionPolicy, ServiceSelection, ServiceSelectionStatus, Submariner};
use serde::de::DeserializeOwned;
use serde_json::json;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::outbox::{Outbox, WriteResult};
use crate::error_chain::chain;
use crate::kubernetes::lease::Leadership;
use landfall_controller::object::ObjectRef;
use landfall_controller::publish::conditions::stored_as_sent;
use landfall_controller::publish::write::{Target, Write};

/// Limit of writes in flight: enough to publish 1,000 services in seconds, few enough to leave the server to other
/// clients.
const MAX_CONCURRENT_WRITES: usize = 16;
/// Limit for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Empties the outbox while `leadership` is held. Returns when the sender of `leadership` is gone.
pub async fn run(
    client: Client,
    outbox: Arc<Outbox>,
    mut leadership: watch::Receiver<Leadership>,
    clock: fn() -> Time,
    metrics: Metrics,
) {
    loop {
        if leadership.wait_for(|leadership| *leadership == Leadership::Leader).await.is_err() {
            return;
        }
        tokio::select! {
            () = write_all(&client, &outbox, clock, &metrics) => {}
            _ = leadership.wait_for(|leadership| *leadership != Leadership::Leader) => {}
        }
    }
}

async fn write_all(client: &Client, outbox: &Outbox, clock: fn() -> Time, metrics: &Metrics) {
    outbox.begin_term(Instant::now());
    let mut in_flight = FuturesUnordered::new();
    loop {
        let mut pause = None;
        while in_flight.len() < MAX_CONCURRENT_WRITES {
            match outbox.take(Instant::now()) {
                Ok(write) => in_flight.push(async {
                    let result = timeout(REQUEST_TIMEOUT, write_one(client.clone(), write.clone(), clock())).await;
                    (write, result.unwrap_or(Err(WriteError::Timeout)))
                }),
                Err(next) => {
                    pause = next;
                    break;
                }
            }
        }
        tokio::select! {
            Some((write, result)) = in_flight.next() => {
                let outcome = match &result {
                    Ok(()) => WriteResult::Written,
                    Err(WriteError::NotKept) => WriteResult::NotKept,
                    Err(_) => WriteResult::Failed,
                };
                outbox.done(&write, outcome, Instant::now());
                metrics.written(category(&result));
                if let Err(error) = result {
                    let next = if outcome == WriteResult::NotKept { "" } else { "; retrying" };
                    let (target, error) = (describe(&write.target()), chain(&error));
                    tracing::warn!(%target, error, "object not written{next}");
                }
            }
            () = outbox.filled() => {}
            () = sleep(pause.unwrap_or_default()), if pause.is_some() => {}
        }
    }
}

#[derive(Debug, Error)]
enum WriteError {
    #[error("no answer within {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout,
    #[error(
        "the installed CRD of Submariner drops conditions, so the write is not repeated; install a CRD that keeps them \
         with `landfall crds | kubectl apply -f -`"
    )]
    NotKept,
    #[error("the API server refuses the write")]
    Refused(#[source] Box<Status>),
    #[error("the API server cannot be reached")]
    Unreachable(#[source] kube::Error),
}

impl From<kube::Error> for WriteError {
    fn from(error: kube::Error) -> Self {
        if let kube::Error::Api(status) = error { Self::Refused(status) } else { Self::Unreachable(error) }
    }
}

/// Returns the label of a result in the metrics.
fn category(result: &Result<(), WriteError>) -> &'static str {
    match result {
        Ok(()) => "written",
        Err(WriteError::Timeout) => "timeout",
        Err(WriteError::NotKept) => "not_kept",
        Err(WriteError::Unreachable(_)) => "unreachable",
        Err(WriteError::Refused(status)) => match status.code {
            403 => "forbidden",
            404 => "not_found",
            409 => "conflict",
            429 => "throttled",
            _ => "refused",
        },
    }
}

fn describe(target: &Target) -> String {
    match target {
        Target::Selection(key) => format!("ServiceSelection {key}"),
        Target::PolicyStatus(object) => format!("status of SelectionPolicy {object}"),
        Target::SubmarinerConditions(object) => format!("status of Submariner {object}"),
        Target::PeerRecord(object) => format!("ClusterFacts {object}"),
    }
}

async fn write_one(client: Client, write: Write, now: Time) -> Result<(), WriteError> {
    match write {
        Write::Selection(key, status) => {
            let mut selection = ServiceSelection::new(key.name(), Default::default());
            selection.metadata.namespace = Some(key.namespace().to_owned());
            selection.labels_mut().insert(MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned());
            selection.status = Some(ServiceSelectionStatus { observed_time: Some(now), ..*status });
            let api: Api<ServiceSelection> = Api::namespaced(client, key.namespace());
            drop(api.patch(key.name(), &apply(), &Patch::Apply(selection)).await?);
            Ok(())
        }
        Write::DeleteSelection(key) => delete::<ServiceSelection>(client, key.namespace(), key.name()).await,
        Write::PolicyStatus(ObjectRef { namespace, name }, status) => {
            let api: Api<SelectionPolicy> = Api::namespaced(client, &namespace);
            let patch = json!({"apiVersion": "landfall.dev/v1alpha1", "kind": "SelectionPolicy", "status": status});
            drop(api.patch_status(&name, &apply(), &Patch::Apply(patch)).await?);
            Ok(())
        }
        Write::SubmarinerConditions { object, conditions, resource_version } => {
            write_conditions(client, &object, &conditions, &resource_version).await
        }
        Write::PeerRecord(ObjectRef { namespace, name }, spec) => {
            let mut record = ClusterFacts::new(&name, *spec);
            record.labels_mut().insert(MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned());
            let api: Api<ClusterFacts> = Api::namespaced(client, &namespace);
            drop(api.patch(&name, &apply(), &Patch::Apply(record)).await?);
            Ok(())
        }
        Write::DeletePeerRecord(ObjectRef { namespace, name }) => {
            delete::<ClusterFacts>(client, &namespace, &name).await
        }
    }
}

/// Writes the whole list of conditions, but only onto the version of the object that the list was made from. The
/// installed CRD may replace the list as a whole, and conditions that other programs wrote since must not be lost.
async fn write_conditions(
    client: Client,
    ObjectRef { namespace, name }: &ObjectRef,
    conditions: &[Condition],
    resource_version: &str,
) -> Result<(), WriteError> {
    let api: Api<Submariner> = Api::namespaced(client, namespace);
    let version = json!({"resourceVersion": resource_version});
    let patch = json!({"metadata": version, "status": {"conditions": conditions}});
    let stored = api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    match stored_as_sent(conditions, &stored.status.unwrap_or_default().conditions) {
        true => Ok(()),
        false => Err(WriteError::NotKept),
    }
}

async fn delete<K>(client: Client, namespace: &str, name: &str) -> Result<(), WriteError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    match Api::<K>::namespaced(client, namespace).delete(name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        result => drop(result?),
    }
    Ok(())
}

fn apply() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}
