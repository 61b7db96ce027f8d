//! Leader election: the replica that holds the Lease leads.
//!
//! A holder is judged by our own clock. It counts as dead once its Lease has not changed for the lease duration since
//! *we* saw a change, so clocks that differ do no harm. A leader stops writing before another replica may take over.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::error_chain::chain;

/// Time without a renewal after which another replica may take the Lease. With one more attempt, a leader that died is
/// replaced within 12 s.
const LEASE_DURATION: Duration = Duration::from_secs(10);
/// Time without a renewal after which a leader stops writing: 2 s before another replica may start.
const RENEW_DEADLINE: Duration = Duration::from_secs(8);
/// Pause of a leader between two renewals.
const RENEW_INTERVAL: Duration = Duration::from_secs(2);
/// Pause of a waiting replica between two attempts. A leader that resigns is replaced within this time.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Limit for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Role of this replica in the election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    Waiting,
    Leader,
}

/// A replica that takes part in the election.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub namespace: String,
    /// Name of the Lease.
    pub lease: &'static str,
    /// Unique name of the replica.
    pub identity: String,
    pub clock: fn() -> MicroTime,
}

/// Tries to take and to keep the Lease until `stop` is cancelled, then gives it up.
pub async fn run(client: Client, candidate: Candidate, leadership: watch::Sender<Leadership>, stop: CancellationToken) {
    let api: Api<Lease> = Api::namespaced(client, &candidate.namespace);
    let mut term = Term { renewed: None, seen: None };
    loop {
        let now = Instant::now();
        let limit = term.left(now).unwrap_or(REQUEST_TIMEOUT).min(REQUEST_TIMEOUT);
        let outcome = timeout(limit, attempt(&api, &candidate, &mut term, now)).await;
        match &outcome {
            Ok(Ok(held)) => term.renewed = held.then_some(now),
            Ok(Err(error)) => tracing::warn!(error = chain(error), "cannot read or write the Lease; retrying"),
            Err(_) => tracing::warn!("the API server did not answer about the Lease in time; retrying"),
        }
        let left = term.left(Instant::now());
        publish(&leadership, left.is_some());
        let pause = match (left, &outcome) {
            (Some(left), Ok(Ok(_))) => RENEW_INTERVAL.min(left),
            (Some(left), _) => RETRY_INTERVAL.min(left),
            (None, _) => RETRY_INTERVAL,
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
        // Best effort: if this fails, another replica waits for the lease duration.
        let _ = timeout(REQUEST_TIMEOUT, resign(&api, &candidate)).await;
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

/// State of a replica between two attempts.
struct Term {
    /// Time of our last renewal. `None`: the Lease is not ours.
    renewed: Option<Instant>,
    /// Last version of the Lease that we saw, and when we saw it first.
    seen: Option<(String, Instant)>,
}

impl Term {
    /// Returns for how long we may still write without a renewal. Returns `None` if we may not write.
    fn left(&self, now: Instant) -> Option<Duration> {
        let left = RENEW_DEADLINE.saturating_sub(now.duration_since(self.renewed?));
        (!left.is_zero()).then_some(left)
    }
}

/// Takes or renews the Lease if possible. Returns true if it is ours now.
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

/// Returns true if the Lease is ours already, was given up, or was not renewed for the lease duration.
fn may_take(holder: &str, identity: &str, unchanged: Duration) -> bool {
    holder == identity || holder.is_empty() || unchanged >= LEASE_DURATION
}

/// Returns false for a conflict: another replica was faster, which is not an error.
fn accepted(result: kube::Result<Lease>) -> kube::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the Lease as held by this candidate. `metadata` has the version that was read, so that of two concurrent
/// writes one is refused.
fn held(candidate: &Candidate, before: Option<LeaseSpec>, metadata: ObjectMeta) -> Lease {
    let now = (candidate.clock)();
    let before = before.unwrap_or_default();
    let ours = before.holder_identity.as_deref() == Some(candidate.identity.as_str());
    let transitions = before.lease_transitions.unwrap_or(0);
    let spec = LeaseSpec {
        holder_identity: Some(candidate.identity.clone()),
        lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
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
    fn lease_is_taken_if_it_is_ours_or_free_or_was_not_renewed_for_its_duration() {
        let silent = |seconds| Duration::from_secs(seconds);
        assert!(may_take("me", "me", silent(0)));
        assert!(may_take("", "me", silent(0)));
        assert!(!may_take("other", "me", silent(9)));
        assert!(may_take("other", "me", silent(10)));
    }
}
