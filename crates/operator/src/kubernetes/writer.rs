//! The writes themselves, and only while this replica leads.

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

/// Writes under way at once: enough to publish 1,000 services in seconds, few enough not to crowd others out.
const CONCURRENT: usize = 16;
/// For one request.
const REQUEST: Duration = Duration::from_secs(10);

/// Empties the outbox while `leadership` is held; never returns otherwise than by being dropped.
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
    let mut under_way = FuturesUnordered::new();
    loop {
        let mut pause = None;
        while under_way.len() < CONCURRENT {
            match outbox.take(Instant::now()) {
                Ok(write) => under_way.push(async {
                    let result = timeout(REQUEST, write_one(client.clone(), write.clone(), clock())).await;
                    (write, result.unwrap_or(Err(WriteError::Timeout)))
                }),
                Err(next) => {
                    pause = next;
                    break;
                }
            }
        }
        tokio::select! {
            Some((write, result)) = under_way.next() => {
                let outcome = match &result {
                    Ok(()) => WriteResult::Written,
                    Err(WriteError::NotKept) => WriteResult::NotKept,
                    Err(_) => WriteResult::Failed,
                };
                outbox.done(&write, outcome, Instant::now());
                metrics.written(category(&result));
                if let Err(error) = result {
                    tracing::warn!(target = %describe(&write.target()), error = chain(&error), "not written");
                }
            }
            () = outbox.filled() => {}
            () = sleep(pause.unwrap_or_default()), if pause.is_some() => {}
        }
    }
}

#[derive(Debug, Error)]
enum WriteError {
    #[error("no answer within {} s", REQUEST.as_secs())]
    Timeout,
    #[error(
        "the installed definition of Submariner drops conditions; `landfall crds` prints one that keeps them, and without \
         it this is not tried again"
    )]
    NotKept,
    #[error("the API server refuses it")]
    Refused(#[source] Box<Status>),
    #[error("the API server cannot be reached")]
    Unreachable(#[source] kube::Error),
}

impl From<kube::Error> for WriteError {
    fn from(error: kube::Error) -> Self {
        if let kube::Error::Api(status) = error { Self::Refused(status) } else { Self::Unreachable(error) }
    }
}

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

/// Sends the whole list, and only to the version that it was made from, so that what others wrote since is never lost: the
/// installed definition may say that the list is replaced as a whole.
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
