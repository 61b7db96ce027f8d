//! One connection to the broker: reads what all say, and writes what this cluster says.

use std::time::Duration;

use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use landfall_api as api;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, timeout};

use super::ends::Ends;
use super::writer::Writer;
use crate::error_chain::chain;
use crate::kubernetes::lease::Leadership;
use crate::kubernetes::watch::{self as source, Scope};
use crate::log_once::LogOnce;
use landfall_controller::broker::host_clock::HostClock;
use landfall_controller::broker::inbox::{Inbox, Taken, written};
use landfall_controller::broker::objects::{self, Identity, name};
use landfall_controller::change::{BrokerState, ObjectEvent, PeerEvent};
use landfall_controller::facts::ClusterFacts;
use landfall_controller::object::{Kind, Object};

/// Changes that wait for us.
const QUEUE: usize = 256;
/// How often writes that failed are thought of again, and our own clock is looked at.
const TICK: Duration = Duration::from_secs(1);
/// For one request.
const REQUEST: Duration = Duration::from_secs(10);

/// Returns when the receiver of changes is gone.
pub(super) async fn run(client: &Client, namespace: &str, ends: &mut Ends) {
    let (sender, mut queue) = mpsc::channel::<ObjectEvent>(QUEUE);
    let metrics = ends.metrics.clone();
    let scope = Scope::Broker(namespace.to_owned());
    let watch = source::watch(client.clone(), Kind::ClusterFacts, scope, sender, move || metrics.broker_error());
    let mut watch = std::pin::pin!(watch);
    let mut session = Session::new(Api::namespaced(client.clone(), namespace), ends);
    let mut tick = interval(TICK);
    loop {
        let outcome = tokio::select! {
            () = &mut watch => return,
            Some(event) = queue.recv() => session.take(event, ends).await,
            _ = tick.tick() => session.look_at_clocks(ends).await,
            changed = ends.own.changed() => changed.map_err(|_| Stopping),
            changed = ends.leadership.changed() => changed.map_err(|_| Stopping),
        };
        if outcome.is_err() || session.write(ends).await.is_err() {
            return;
        }
    }
}

/// Returns all that is on the broker now.
pub(super) async fn once(
    client: &Client,
    namespace: &str,
    identity: Identity,
    clock: fn() -> u64,
) -> Result<Vec<PeerEvent>, String> {
    let api: Api<api::ClusterFacts> = Api::namespaced(client.clone(), namespace);
    let all = api.list(&Default::default()).await.map_err(|error| chain(&error))?.items;
    let mut inbox = Inbox::new(identity.clone());
    inbox.take(ObjectEvent::ListBegins(Kind::ClusterFacts), clock());
    for object in all {
        let object = Object::ClusterFacts(Box::new(object));
        inbox.take(ObjectEvent::Apply { object, origin: None }, clock());
    }
    let taken = inbox.take(ObjectEvent::ListEnds(Kind::ClusterFacts), clock());
    if let Some(broker) = ask_time(&api, &identity).await {
        inbox.compare_clocks(clock(), broker);
    }
    Ok(inbox.report(&taken, clock()))
}

/// The receiver of changes is gone.
struct Stopping;

struct Session {
    api: Api<api::ClusterFacts>,
    inbox: Inbox,
    writer: Writer,
    host_clock: HostClock,
    /// Begin of the session.
    began: Instant,
    /// Faults of objects.
    log: LogOnce,
}

impl Session {
    fn new(api: Api<api::ClusterFacts>, ends: &Ends) -> Self {
        Self {
            inbox: Inbox::new(ends.identity.clone()),
            writer: Writer::new(api.clone(), ends.identity.clone()),
            api,
            host_clock: HostClock::default(),
            began: Instant::now(),
            log: LogOnce::default(),
        }
    }

    async fn take(&mut self, event: ObjectEvent, ends: &Ends) -> Result<(), Stopping> {
        if let Some(named) = self.inbox.undone(&event) {
            self.writer.forget(named);
        }
        let taken = self.inbox.take(event, (ends.clock)());
        if taken.ask_time {
            self.compare_clocks(ends).await;
        }
        self.report(&taken, ends).await
    }

    /// Sends what was taken in to the pipeline.
    async fn report(&mut self, taken: &Taken, ends: &Ends) -> Result<(), Stopping> {
        for event in self.inbox.report(taken, (ends.clock)()) {
            if let PeerEvent::Broker(Some(state)) = &event {
                self.log_rejected(state);
            }
            ends.changes.send(event.into()).await.map_err(|_| Stopping)?;
        }
        Ok(())
    }

    fn log_rejected(&mut self, state: &BrokerState) {
        self.log.retain(|object| state.rejected.contains_key(object));
        for (object, (_, why)) in &state.rejected {
            if self.log.is_new(object, why) {
                tracing::warn!(%object, %why, "facts on the broker left out");
            }
        }
    }

    /// Writes the own facts, if this replica leads and they may be written.
    async fn write(&mut self, ends: &Ends) -> Result<(), Stopping> {
        let now = (ends.clock)();
        let leads = *ends.leadership.borrow() == Leadership::Leader;
        let own = ends.own.borrow().clone();
        let Some(own) = own.filter(|_| leads && self.inbox.may_write(now)) else { return Ok(()) };
        self.writer.write(&own, self.inbox.since(now), &ends.metrics).await;
        let taken = self.inbox.set_write_error(self.writer.trouble());
        self.report(&taken, ends).await
    }

    async fn look_at_clocks(&mut self, ends: &Ends) -> Result<(), Stopping> {
        if self.inbox.is_lost() {
            return Ok(());
        }
        let Some(seconds) = self.host_clock.step((ends.clock)(), self.began.elapsed()) else { return Ok(()) };
        tracing::warn!(seconds, "the clock of this host was set");
        let taken = self.compare_clocks(ends).await;
        self.report(&taken, ends).await
    }

    async fn compare_clocks(&mut self, ends: &Ends) -> Taken {
        match ask_time(&self.api, &ends.identity).await {
            Some(broker) => self.inbox.compare_clocks((ends.clock)(), broker),
            None => Taken::default(),
        }
    }
}

/// Asks the broker for its time: a write that is only tried is answered with the time at which it would have been made. If
/// that is refused, the skew that is known stays until we really write.
async fn ask_time(api: &Api<api::ClusterFacts>, identity: &Identity) -> Option<u64> {
    let named = name(identity.cluster.as_str(), 0);
    let mut object =
        api::ClusterFacts::new(&named, objects::cluster_part(&ClusterFacts::empty(identity.cluster.clone())));
    object.spec.part = Some(0);
    let params = PatchParams { dry_run: true, ..PatchParams::apply("landfall-clock").force() };
    match timeout(REQUEST, api.patch(&named, &params, &Patch::Apply(&object))).await {
        Ok(Ok(answer)) => written(&answer),
        Ok(Err(error)) => {
            tracing::warn!(error = chain(&error), "the broker does not tell the time");
            None
        }
        Err(_) => None,
    }
}
