//! One connection to the broker: reads what all say, and writes what this cluster says.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use landfall_api::ClusterFacts;
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

use super::ends::Ends;
use super::writer::Writer;
use crate::error_chain::chain;
use crate::kubernetes::lease::Leadership;
use crate::kubernetes::watch::{self as source, Scope};
use landfall_controller::broker::inbox::{Board, written};
use landfall_controller::broker::objects::{self, Identity, name};
use landfall_controller::broker::state::BrokerState;
use landfall_controller::change::Change;
use landfall_controller::object::{Kind, Object};

/// Changes that wait for us.
const QUEUE: usize = 256;
/// How often writes that failed are thought of again, and our own clock is looked at.
const TICK: Duration = Duration::from_secs(1);
/// For one request.
const REQUEST: Duration = Duration::from_secs(10);

/// Returns when the receiver of changes is gone.
pub(super) async fn run(client: &Client, namespace: &str, ends: &mut Ends) {
    let (sender, mut queue) = mpsc::channel(QUEUE);
    let metrics = ends.metrics.clone();
    let scope = Scope::Broker(namespace.to_owned());
    let watch = source::watch(client.clone(), Kind::ClusterFacts, scope, sender, move || metrics.broker_error());
    let mut watch = std::pin::pin!(watch);
    let api: Api<ClusterFacts> = Api::namespaced(client.clone(), namespace);
    let mut reader = Reader::new(Board::new(ends.identity.clone()));
    let mut writer = Writer::new(api.clone(), ends.identity.clone());
    let mut tick = interval(TICK);
    loop {
        let outcome = tokio::select! {
            () = &mut watch => return,
            Some(change) = queue.recv() => {
                if let Some(named) = undone(&change, &ends.identity) {
                    writer.forget(named);
                }
                reader.take(change, &api, ends).await
            }
            _ = tick.tick() => reader.look_at_clocks(&api, ends).await,
            changed = ends.own.changed() => if changed.is_err() { return } else { Ok(()) },
            changed = ends.leadership.changed() => if changed.is_err() { return } else { Ok(()) },
        };
        if outcome.is_err() {
            return;
        }
        let leads = *ends.leadership.borrow() == Leadership::Leader;
        let own = ends.own.borrow().clone();
        if let Some(own) = own.filter(|_| leads && reader.may_write((ends.clock)())) {
            let since = reader.board.since().unwrap_or_else(|| reader.board.there((ends.clock)()));
            writer.write(&own, since, &ends.metrics).await;
            reader.unwritten = writer.trouble();
            if reader.tell_state(ends).await.is_err() {
                return;
            }
        }
    }
}

/// All that is there now.
pub(super) async fn once(
    client: &Client,
    namespace: &str,
    identity: Identity,
    clock: fn() -> u64,
) -> Result<Vec<Change>, String> {
    let api: Api<ClusterFacts> = Api::namespaced(client.clone(), namespace);
    let all = api.list(&Default::default()).await.map_err(|error| chain(&error))?.items;
    let mut board = Board::new(identity.clone());
    for object in all {
        board.put(object, clock());
    }
    ask_the_time(&api, &identity, &mut board, clock).await;
    let said = board.clusters().into_iter().filter_map(|cluster| board.facts(&cluster)).map(Change::Peer);
    let state = board.state(None, clock());
    Ok(said.chain([Change::Broker(Some(state))]).collect())
}

/// The object that is not, or no longer, what this cluster has written.
fn undone<'a>(change: &'a Change, identity: &Identity) -> Option<&'a str> {
    if let Change::Delete(_, object) = change {
        return Some(&object.name);
    }
    let Change::Apply { object: Object::ClusterFacts(object), .. } = change else { return None };
    let ours = object.spec.instance.as_deref() == Some(&*identity.instance);
    object.metadata.name.as_deref().filter(|_| !ours)
}

/// The receiver of changes is gone.
pub(super) struct Stopping;

struct Reader {
    board: Board,
    /// Between the beginning and the end of a list: those that were in it.
    listed: Option<Vec<Box<str>>>,
    state: BrokerState,
    /// Why our own facts are not written.
    unwritten: Option<Arc<str>>,
    /// Whether the state was told, and after a complete list.
    told: bool,
    /// What our clock was ahead of the time that has passed since the first look, in seconds.
    clocks: Option<(u64, tokio::time::Instant)>,
}

impl Reader {
    fn new(board: Board) -> Self {
        let lost = Some("nothing was heard of it yet; the chart landfall-broker must be installed there".into());
        let state = BrokerState { lost, ..BrokerState::default() };
        Self { board, listed: None, state, unwritten: None, told: false, clocks: None }
    }

    /// What is written must not be somebody else's, and what is there must be known first.
    fn may_write(&self, now: u64) -> bool {
        self.told && self.state.lost.is_none() && self.board.elder(now).is_none()
    }

    async fn take(&mut self, change: Change, api: &Api<ClusterFacts>, ends: &Ends) -> Result<(), Stopping> {
        let now = (ends.clock)();
        match change {
            Change::ListBegins(_) => self.listed = Some(Vec::new()),
            Change::Apply { object: Object::ClusterFacts(object), .. } => {
                let named: Box<str> = object.metadata.name.clone().unwrap_or_default().into();
                self.listed.iter_mut().for_each(|listed| listed.push(named.clone()));
                // Our own last write tells what time it is there.
                let own = object.spec.instance.as_deref() == Some(&*ends.identity.instance);
                let clock = written(&object).filter(|_| own && self.listed.is_none());
                let cluster = self.board.put(*object, now);
                if clock.is_some_and(|there| self.board.compare_clocks(now, there)) {
                    self.tell_all(ends).await?;
                } else if let Some(cluster) = cluster.filter(|_| self.listed.is_none()) {
                    self.tell(&cluster, ends).await?;
                }
            }
            Change::Malformed(problem) => {
                self.listed.iter_mut().for_each(|listed| listed.push(problem.object.name.clone()));
                self.board.reject(&problem.object.name, problem.what);
            }
            Change::Delete(_, object) => {
                if let Some(cluster) = self.board.remove(&object.name) {
                    self.tell(&cluster, ends).await?;
                }
            }
            Change::ListEnds(_) => {
                let listed = self.listed.take().unwrap_or_default();
                let gone: Vec<_> = self.board.names().into_iter().filter(|name| !listed.contains(name)).collect();
                gone.iter().for_each(|name| drop(self.board.remove(name)));
                ask_the_time(api, &ends.identity, &mut self.board, ends.clock).await;
                send(ends, Change::PeersListed(self.board.clusters())).await?;
                self.tell_all(ends).await?;
                self.state.lost = None;
                self.told = false;
            }
            Change::Interrupted(..) => {
                let why = "the connection is interrupted; it is tried again twice a second".into();
                self.state.lost.get_or_insert(why);
                self.told = false;
            }
            // No watch says these.
            Change::Apply { .. }
            | Change::Peer(_)
            | Change::PeerGone(_)
            | Change::PeersListed(_)
            | Change::Broker(_)
            | Change::Links(_)
            | Change::Measured(_)
            | Change::Leads(_) => {}
        }
        self.tell_state(ends).await
    }

    async fn tell(&self, cluster: &landfall_core::name::ClusterId, ends: &Ends) -> Result<(), Stopping> {
        let change = self.board.facts(cluster).map_or_else(|| Change::PeerGone(cluster.clone()), Change::Peer);
        send(ends, change).await
    }

    async fn tell_all(&self, ends: &Ends) -> Result<(), Stopping> {
        for cluster in self.board.clusters() {
            self.tell(&cluster, ends).await?;
        }
        Ok(())
    }

    async fn tell_state(&mut self, ends: &Ends) -> Result<(), Stopping> {
        let state = BrokerState {
            unwritten: self.unwritten.clone(),
            ..self.board.state(self.state.lost.clone(), (ends.clock)())
        };
        if self.told && state == self.state {
            return Ok(());
        }
        for (name, (_, why)) in state.rejected.iter().filter(|(name, why)| self.state.rejected.get(*name) != Some(why))
        {
            tracing::warn!(object = %name, %why, "facts on the broker left out");
        }
        self.state = state;
        self.told = true;
        send(ends, Change::Broker(Some(self.state.clone()))).await
    }

    /// When somebody sets our clock, facts do not grow older by it.
    async fn look_at_clocks(&mut self, api: &Api<ClusterFacts>, ends: &Ends) -> Result<(), Stopping> {
        const SET: u64 = 5;
        let (now, passed) = ((ends.clock)(), tokio::time::Instant::now());
        let (then, since) = *self.clocks.get_or_insert((now, passed));
        let expected = then.saturating_add((passed - since).as_secs());
        if expected.abs_diff(now) < SET || self.state.lost.is_some() {
            return Ok(());
        }
        self.clocks = Some((now, passed));
        tracing::warn!(seconds = now.abs_diff(expected), "the clock of this host was set");
        ask_the_time(api, &ends.identity, &mut self.board, ends.clock).await;
        self.tell_all(ends).await
    }
}

async fn send(ends: &Ends, change: Change) -> Result<(), Stopping> {
    ends.changes.send(change).await.map_err(|_| Stopping)
}

/// A write that is only tried is answered with the time at which it would have been made. When that is refused, both clocks
/// count as the same until we really write.
async fn ask_the_time(api: &Api<ClusterFacts>, identity: &Identity, board: &mut Board, clock: fn() -> u64) {
    let head = objects::head(&landfall_controller::facts::Facts::silent(identity.cluster.clone()));
    let mut object = ClusterFacts::new(&name(identity.cluster.as_str(), 0), head);
    object.spec.part = Some(0);
    let params = PatchParams { dry_run: true, ..PatchParams::apply("landfall-clock").force() };
    match timeout(REQUEST, api.patch(&name(identity.cluster.as_str(), 0), &params, &Patch::Apply(&object))).await {
        Ok(Ok(answer)) => {
            written(&answer).map(|there| board.compare_clocks(clock(), there));
        }
        Ok(Err(error)) => tracing::warn!(error = chain(&error), "the broker does not tell the time"),
        Err(_) => {}
    }
}
