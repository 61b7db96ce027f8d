//! Which of the replicas leads: the one that holds the Lease.
//!
//! A holder is judged by our own clock: it is dead when its Lease has not changed for the lease time since *we* saw it
//! change, so that clocks that differ do no harm. A leader stops writing before another one can believe it dead.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::error_chain::chain;

/// A leader that died is replaced after this time and one attempt more: within 12 s.
const LEASE: Duration = Duration::from_secs(10);
/// A leader that could not renew for this long stops writing: 2 s before another one may start.
const RENEW_DEADLINE: Duration = Duration::from_secs(8);
/// Between two attempts of a leader to renew.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// Between two looks of a replica that waits: a leader that resigns is replaced within this time.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For one request.
const REQUEST: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    Waiting,
    Leader,
}

#[derive(Debug, Clone)]
pub struct Candidate {
    pub namespace: String,
    pub lease: &'static str,
    /// Different for each replica.
    pub identity: String,
    pub clock: fn() -> MicroTime,
}

/// Tries to get and to keep the Lease until `stop` is cancelled, and then gives it up.
pub async fn run(client: Client, candidate: Candidate, leadership: watch::Sender<Leadership>, stop: CancellationToken) {
    let api: Api<Lease> = Api::namespaced(client, &candidate.namespace);
    let mut term = Term { renewed: None, seen: None };
    loop {
        let now = Instant::now();
        let limit = term.left(now).unwrap_or(REQUEST).min(REQUEST);
        let outcome = timeout(limit, attempt(&api, &candidate, &mut term, now)).await;
        match &outcome {
            Ok(Ok(held)) => term.renewed = held.then_some(now),
            Ok(Err(error)) => tracing::warn!(error = chain(error), "no access to the lease"),
            Err(_) => tracing::warn!("the API server did not answer about the lease in time"),
        }
        let left = term.left(Instant::now());
        publish(&leadership, left.is_some());
        let pause = match (left, &outcome) {
            (Some(left), Ok(Ok(_))) => RENEW_EVERY.min(left),
            (Some(left), _) => LOOK_EVERY.min(left),
            (None, _) => LOOK_EVERY,
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => break,
        }
        if term.left(Instant::now()).is_none() {
            publish(&leadership, false);
        }
    }
    leadership.send_replace(Leadership::Waiting);
    if term.renewed.is_some() {
        // Best effort: without it another replica waits for the lease time.
        let _ = timeout(REQUEST, resign(&api, &candidate)).await;
    }
}

fn publish(leadership: &watch::Sender<Leadership>, leads: bool) {
    let next = if leads { Leadership::Leader } else { Leadership::Waiting };
    if leadership.send_if_modified(|current| std::mem::replace(current, next) != next) {
        match next {
            Leadership::Leader => tracing::info!("leading: this replica writes"),
            Leadership::Waiting => tracing::warn!("not leading any more: another replica may write"),
        }
    }
}

/// What a replica remembers between two looks.
struct Term {
    /// When we last renewed it, if it is ours.
    renewed: Option<Instant>,
    /// The version of the Lease that we saw last, and when we first saw it.
    seen: Option<(String, Instant)>,
}

impl Term {
    /// How long we may still write without renewing it; `None`: not at all.
    fn left(&self, now: Instant) -> Option<Duration> {
        let left = RENEW_DEADLINE.saturating_sub(now.duration_since(self.renewed?));
        (!left.is_zero()).then_some(left)
    }
}

/// Whether the Lease is ours now.
async fn attempt(api: &Api<Lease>, candidate: &Candidate, term: &mut Term, now: Instant) -> kube::Result<bool> {
    let Some(mut lease) = api.get_opt(candidate.lease).await? else {
        let lease = held(candidate, None, ObjectMeta { name: Some(candidate.lease.to_owned()), ..Default::default() });
        return accepted(api.create(&PostParams::default(), &lease).await);
    };
    let version = lease.metadata.resource_version.clone().unwrap_or_default();
    if term.seen.as_ref().is_none_or(|(seen, _)| *seen != version) {
        term.seen = Some((version, now));
    }
    let since = term.seen.as_ref().map_or(now, |(_, since)| *since);
    let spec = lease.spec.take().unwrap_or_default();
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    if !may_take(holder, &candidate.identity, now.duration_since(since)) {
        return Ok(false);
    }
    let lease = held(candidate, Some(spec), lease.metadata);
    accepted(api.replace(candidate.lease, &PostParams::default(), &lease).await)
}

/// Ours already, given up, or not renewed for the lease time.
fn may_take(holder: &str, identity: &str, unchanged: Duration) -> bool {
    holder == identity || holder.is_empty() || unchanged >= LEASE
}

/// Somebody who was faster is no error.
fn accepted(result: kube::Result<Lease>) -> kube::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

/// The metadata carry the version that was read, so that of two replicas that write one is refused.
fn held(candidate: &Candidate, before: Option<LeaseSpec>, metadata: ObjectMeta) -> Lease {
    let now = (candidate.clock)();
    let before = before.unwrap_or_default();
    let ours = before.holder_identity.as_deref() == Some(candidate.identity.as_str());
    let transitions = before.lease_transitions.unwrap_or(0);
    let spec = LeaseSpec {
        holder_identity: Some(candidate.identity.clone()),
        lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
        acquire_time: if ours { before.acquire_time } else { Some(now.clone()) },
        renew_time: Some(now),
        lease_transitions: Some(if ours { transitions } else { transitions + 1 }),
        ..LeaseSpec::default()
    };
    Lease { metadata, spec: Some(spec) }
}

async fn resign(api: &Api<Lease>, candidate: &Candidate) -> kube::Result<()> {
    let Some(mut lease) = api.get_opt(candidate.lease).await? else { return Ok(()) };
    let Some(spec) = lease.spec.as_mut() else { return Ok(()) };
    if spec.holder_identity.as_deref() == Some(candidate.identity.as_str()) {
        spec.holder_identity = Some(String::new());
        api.replace(candidate.lease, &PostParams::default(), &lease).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_when_it_is_ours_or_free_or_its_holder_has_been_silent_for_the_lease_time() {
        let silent = |seconds| Duration::from_secs(seconds);
        assert!(may_take("me", "me", silent(0)));
        assert!(may_take("", "me", silent(0)));
        assert!(!may_take("other", "me", silent(9)));
        assert!(may_take("other", "me", silent(10)));
    }
}
