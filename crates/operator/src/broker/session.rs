//! A session with the broker: reads the facts of all clusters, and writes those of this one.

use std::time::Duration;

use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use landfall_api as api;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, timeout};

use super::io::BrokerIo;
use super::writer::Writer;
use crate::error_chain::chain;
use crate::kubernetes::lease::Leadership;
use crate::kubernetes::watch::{self as source, Scope};
use crate::log_once::LogOnce;
use crate::stopping::{Stopping, send};
use landfall_controller::broker::host_clock::HostClock;
use landfall_controller::broker::inbox::{Inbox, Taken, written};
use landfall_controller::broker::objects::{self, Identity, name};
use landfall_controller::change::{BrokerState, ObjectEvent, PeerEvent};
use landfall_controller::facts::ClusterFacts;
use landfall_controller::object::{Kind, Object};

/// Limit of queued events of the watch. A full queue holds back the watch.
const MAX_QUEUED_EVENTS: usize = 256;
/// Interval at which failed writes are considered again and the clock of this host is checked.
const TICK_INTERVAL: Duration = Duration::from_secs(1);
/// Limit for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs until the receiver of changes is gone.
pub(super) async fn run(client: &Client, namespace: &str, io: &mut BrokerIo) {
    let (sender, mut queue) = mpsc::channel::<ObjectEvent>(MAX_QUEUED_EVENTS);
    let metrics = io.metrics.clone();
    let scope = Scope::Broker(namespace.to_owned());
    let watch = source::watch(client.clone(), Kind::ClusterFacts, scope, sender, move || metrics.broker_error());
    let mut watch = std::pin::pin!(watch);
    let mut session = Session::new(Api::namespaced(client.clone(), namespace), io);
    let mut tick = interval(TICK_INTERVAL);
    loop {
        let outcome = tokio::select! {
            () = &mut watch => return,
            Some(event) = queue.recv() => session.take(event, io).await,
            _ = tick.tick() => session.check_host_clock(io).await,
            changed = io.own.changed() => changed.map_err(|_| Stopping),
            changed = io.leadership.changed() => changed.map_err(|_| Stopping),
        };
        if outcome.is_err() || session.write(io).await.is_err() {
            return;
        }
    }
}

/// Returns the present facts of all clusters and the state of the broker.
pub(super) async fn read_once(
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
    if let Some(broker) = broker_time(&api, &identity).await {
        inbox.compare_clocks(clock(), broker);
    }
    Ok(inbox.report(&taken, clock()))
}

/// State of a session.
struct Session {
    api: Api<api::ClusterFacts>,
    inbox: Inbox,
    writer: Writer,
    host_clock: HostClock,
    /// Start of the session.
    began: Instant,
    /// Rejected objects.
    log: LogOnce,
}

impl Session {
    fn new(api: Api<api::ClusterFacts>, io: &BrokerIo) -> Self {
        Self {
            inbox: Inbox::new(io.identity.clone()),
            writer: Writer::new(api.clone(), io.identity.clone()),
            api,
            host_clock: HostClock::default(),
            began: Instant::now(),
            log: LogOnce::default(),
        }
    }

    /// Takes in an event of the watch, and reports what follows from it.
    async fn take(&mut self, event: ObjectEvent, io: &BrokerIo) -> Result<(), Stopping> {
        if let Some(named) = self.inbox.undone(&event) {
            self.writer.forget(named);
        }
        let taken = self.inbox.take(event, (io.clock)());
        if taken.ask_time {
            self.compare_clocks(io).await;
        }
        self.report(&taken, io).await
    }

    /// Sends the pipeline the events that follow from what was taken in.
    async fn report(&mut self, taken: &Taken, io: &BrokerIo) -> Result<(), Stopping> {
        for event in self.inbox.report(taken, (io.clock)()) {
            if let PeerEvent::Broker(Some(state)) = &event {
                self.log_rejected(state);
            }
            send(&io.changes, event).await?;
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
    async fn write(&mut self, io: &BrokerIo) -> Result<(), Stopping> {
        let now = (io.clock)();
        let leads = *io.leadership.borrow() == Leadership::Leader;
        let own = io.own.borrow().clone();
        let Some(own) = own.filter(|_| leads && self.inbox.may_write(now)) else { return Ok(()) };
        self.writer.write(&own, self.inbox.since(now), &io.metrics).await;
        let taken = self.inbox.set_write_error(self.writer.problem());
        self.report(&taken, io).await
    }

    /// Compares the clocks again if the clock of this host was set.
    async fn check_host_clock(&mut self, io: &BrokerIo) -> Result<(), Stopping> {
        if self.inbox.is_lost() {
            return Ok(());
        }
        let Some(seconds) = self.host_clock.step((io.clock)(), self.began.elapsed()) else { return Ok(()) };
        tracing::warn!(seconds, "the clock of this host was set; comparing it with the broker's again");
        let taken = self.compare_clocks(io).await;
        self.report(&taken, io).await
    }

    async fn compare_clocks(&mut self, io: &BrokerIo) -> Taken {
        match broker_time(&self.api, &io.identity).await {
            Some(broker) => self.inbox.compare_clocks((io.clock)(), broker),
            None => Taken::default(),
        }
    }
}

/// Returns the time of the broker, from a dry run of a write: the answer has the time that the write would have.
/// Returns `None` if the dry run fails; the known skew then stays until the next real write.
async fn broker_time(api: &Api<api::ClusterFacts>, identity: &Identity) -> Option<u64> {
    let named = name(identity.cluster.as_str(), 0);
    let mut object =
        api::ClusterFacts::new(&named, objects::cluster_part(&ClusterFacts::empty(identity.cluster.clone())));
    object.spec.part = Some(0);
    let params = PatchParams { dry_run: true, ..PatchParams::apply("landfall-clock").force() };
    match timeout(REQUEST_TIMEOUT, api.patch(&named, &params, &Patch::Apply(&object))).await {
        Ok(Ok(answer)) => written(&answer),
        Ok(Err(error)) => {
            tracing::warn!(
                error = chain(&error),
                "cannot read the time of the broker; keeping the clock skew known so far"
            );
            None
        }
        Err(_) => None,
    }
}
