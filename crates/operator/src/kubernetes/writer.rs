//! The writes themselves, and only while this replica leads.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::core::Status;
use kube::{Client, ResourceExt};
use landfall_api::labels::{FIELD_MANAGER, MANAGED_BY};
use landfall_api::{ClusterFacts, SelectionPolicy, ServiceSelection, Submariner};
use landfall_core::name::ServiceKey;
use serde_json::json;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::error_chain::chain;
use crate::kubernetes::lease::Leadership;
use crate::kubernetes::outbox::{Outbox, Outcome, Target, Write};
use crate::object::ObjectRef;
use crate::publish::conditions::kept;

/// Writes under way at once: enough to publish 1,000 services in seconds, few enough not to crowd others out.
const CONCURRENT: usize = 16;
/// For one request.
const REQUEST: Duration = Duration::from_secs(10);

/// Counts the writes by how they ended.
pub trait Count: Send + Sync {
    fn count(&self, outcome: &'static str);
}

/// Empties the outbox while `leadership` is held; never returns otherwise than by being dropped.
pub async fn run(
    client: Client,
    outbox: Arc<Outbox>,
    mut leadership: watch::Receiver<Leadership>,
    clock: fn() -> Time,
    counter: Arc<dyn Count>,
) {
    loop {
        if leadership.wait_for(|leadership| *leadership == Leadership::Leader).await.is_err() {
            return;
        }
        tokio::select! {
            () = write_all(&client, &outbox, clock, counter.as_ref()) => {}
            _ = leadership.wait_for(|leadership| *leadership != Leadership::Leader) => {}
        }
    }
}

async fn write_all(client: &Client, outbox: &Outbox, clock: fn() -> Time, counter: &dyn Count) {
    outbox.begin_term(Instant::now());
    let mut under_way = FuturesUnordered::new();
    loop {
        let mut pause = None;
        while under_way.len() < CONCURRENT {
            match outbox.take(Instant::now()) {
                Ok((target, write)) => under_way.push(async {
                    let result = timeout(REQUEST, perform(client, &target, &write, clock())).await;
                    (target, write, result.unwrap_or(Err(WriteError::Timeout)))
                }),
                Err(next) => {
                    pause = next;
                    break;
                }
            }
        }
        tokio::select! {
            Some((target, write, result)) = under_way.next() => {
                let outcome = match &result {
                    Ok(()) => Outcome::Written,
                    Err(WriteError::NotKept) => Outcome::NotKept,
                    Err(_) => Outcome::Failed,
                };
                outbox.done(&target, &write, outcome, Instant::now());
                counter.count(category(&result));
                if let Err(error) = result {
                    tracing::warn!(target = %describe(&target), error = chain(&error), "not written");
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
        Target::SubmarinerStatus(object) => format!("status of Submariner {object}"),
        Target::Head(object) => format!("ClusterFacts {object}"),
    }
}

async fn perform(client: &Client, target: &Target, write: &Write, now: Time) -> Result<(), WriteError> {
    let client = client.clone();
    match (target, write) {
        (Target::Selection(key), Write::Selection(status)) => {
            let mut selection = ServiceSelection::new(key.name(), Default::default());
            selection.metadata.namespace = Some(key.namespace().to_owned());
            selection.labels_mut().insert(MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned());
            selection.status = Some((**status).clone());
            if let Some(status) = &mut selection.status {
                status.observed_time = Some(now);
            }
            selections(client, key).patch(key.name(), &apply(), &Patch::Apply(selection)).await?;
        }
        (Target::Selection(key), _) => {
            match selections(client, key).delete(key.name(), &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                result => drop(result?),
            }
        }
        (Target::PolicyStatus(ObjectRef { namespace, name }), Write::PolicyStatus(status)) => {
            let api: Api<SelectionPolicy> = Api::namespaced(client, namespace);
            let patch = json!({"apiVersion": "landfall.dev/v1alpha1", "kind": "SelectionPolicy", "status": status});
            api.patch_status(name, &apply(), &Patch::Apply(patch)).await?;
        }
        (
            Target::SubmarinerStatus(ObjectRef { namespace, name }),
            Write::SubmarinerConditions { conditions, resource_version },
        ) => {
            // Whoever's definition is installed may say that the list is replaced as a whole. So it is sent whole, and
            // only to the version that it was made from: what others wrote since is never lost.
            let api: Api<Submariner> = Api::namespaced(client, namespace);
            let version = json!({"resourceVersion": resource_version});
            let patch = json!({"metadata": version, "status": {"conditions": conditions}});
            let stored = api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
            if !kept(conditions, &stored.status.unwrap_or_default().conditions) {
                return Err(WriteError::NotKept);
            }
        }
        (Target::Head(ObjectRef { namespace, name }), Write::Head(spec)) => {
            let mut head = ClusterFacts::new(name, (**spec).clone());
            head.labels_mut().insert(MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned());
            let api: Api<ClusterFacts> = Api::namespaced(client, namespace);
            api.patch(name, &apply(), &Patch::Apply(head)).await?;
        }
        (Target::Head(ObjectRef { namespace, name }), _) => {
            let api: Api<ClusterFacts> = Api::namespaced(client, namespace);
            match api.delete(name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                result => drop(result?),
            }
        }
        (Target::PolicyStatus(_) | Target::SubmarinerStatus(_), _) => {}
    }
    Ok(())
}

fn selections(client: Client, key: &ServiceKey) -> Api<ServiceSelection> {
    Api::namespaced(client, key.namespace())
}

fn apply() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}
