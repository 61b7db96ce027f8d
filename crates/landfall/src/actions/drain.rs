//! Where it is written that a cluster is to be emptied: in its own API server, from which its operator tells the others.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use landfall_api::{ClusterFacts, ClusterFactsSpec};
use landfall_operator::accept::Drain;
use landfall_operator::broker;
use landfall_operator::broker::build::Identity;
use landfall_operator::run::{at, unix_seconds};
use landfall_operator::start;
use landfall_operator::stores::Change;
use tokio::time::{Instant, sleep, timeout};

use crate::actions::inspect::{PATIENCE, source};
use crate::args;
use crate::commands::serve::runtime;

/// Whoever drains; the operator's own fields are none of it.
const MANAGER: &str = "landfall-drain";

/// A cluster tells what cannot wait at most every ten seconds.
pub const TOLD: Duration = Duration::from_secs(20);
/// Between two looks at the broker.
const LOOK: Duration = Duration::from_secs(1);

/// What came of it.
pub enum Marked {
    /// Nothing was written: it is as it should be.
    Already(String),
    /// The other clusters can read it.
    Told,
    /// They cannot read it yet.
    NotTold,
    /// Why nobody can see whether they can.
    NotSeen(String),
}

pub fn drain(args: &args::Drain) -> Result<Marked> {
    within_patience(async {
        let mark = Mark::of(args).await?;
        let before = mark.present().await?;
        let now = mark.clock().await?;
        let drain = match before {
            Some(before) if before.left(now) <= 0.0 => return Ok(Marked::Already("is empty".to_owned())),
            Some(before) => before.within(args.over, now),
            None => Drain { since: now, over_seconds: args.over },
        };
        let written = mark.apply(&mark.params(), Some(drain)).await?;
        ensure!(written.spec.drain.is_some(), "the API server took the drain and did not keep it; is its CRD older?");
        mark.told(true).await
    })
}

pub fn undo(args: &args::Drain) -> Result<Marked> {
    within_patience(async {
        let mark = Mark::of(args).await?;
        if mark.present().await?.is_none() {
            return Ok(Marked::Already(format!("is not drained by ClusterFacts {}", mark.object())));
        }
        let written = mark.apply(&mark.params(), None).await?;
        if written.spec.drain.is_some() {
            let others = written.metadata.managed_fields.unwrap_or_default().into_iter().filter_map(|it| it.manager);
            let others: Vec<String> = others.filter(|manager| manager != MANAGER).collect();
            bail!("spec.drain of ClusterFacts {} is kept by {}; take it out there", mark.object(), others.join(", "));
        }
        mark.told(false).await
    })
}

fn within_patience(work: impl Future<Output = Result<Marked>>) -> Result<Marked> {
    let patience = PATIENCE + TOLD;
    let late = |_| anyhow!("the API server does not answer within {} s; is it up?", patience.as_secs());
    runtime()?.block_on(async { timeout(patience, work).await.map_err(late)? })
}

struct Mark<'a> {
    args: &'a args::Drain,
    client: Client,
    api: Api<ClusterFacts>,
}

impl<'a> Mark<'a> {
    async fn of(args: &'a args::Drain) -> Result<Self> {
        let client = start::client(args.server.kubeconfig.as_deref()).await?;
        let local = start::cluster_id(&client, &args.server.submariner_namespace).await;
        // Without Submariner nobody but the operator's own flag says which cluster this is.
        if let Ok(local) = local {
            ensure!(local == args.cluster, "the kubeconfig is of cluster {local}; use the one of {}", args.cluster);
        }
        let api = Api::namespaced(client.clone(), &args.server.namespace);
        Ok(Self { args, client, api })
    }

    fn object(&self) -> String {
        format!("{}/{}", self.args.server.namespace, self.args.cluster)
    }

    fn params(&self) -> PatchParams {
        PatchParams::apply(MANAGER).force()
    }

    /// Whoever has written it.
    async fn present(&self) -> Result<Option<Drain>> {
        let read = self.api.get_opt(self.args.cluster.as_str()).await;
        let facts = read.with_context(|| format!("cannot read ClusterFacts {}", self.object()))?;
        let drain = facts.and_then(|facts| facts.spec.drain);
        let known = |drain: landfall_api::Drain| {
            let since = u64::try_from(drain.since.0.as_second()).unwrap_or(0);
            Drain { since, over_seconds: drain.over_seconds }
        };
        Ok(drain.map(known))
    }

    /// What time it is in the API server, as whoever types may have any: a write that is only tried tells it.
    async fn clock(&self) -> Result<u64> {
        let drain = Drain { since: unix_seconds(), over_seconds: self.args.over };
        let tried = self.apply(&PatchParams { dry_run: true, ..self.params() }, Some(drain)).await?;
        let ours = tried.metadata.managed_fields.into_iter().flatten();
        let time = ours.filter(|entry| entry.manager.as_deref() == Some(MANAGER)).find_map(|entry| entry.time);
        Ok(time.and_then(|time| u64::try_from(time.0.as_second()).ok()).unwrap_or(drain.since))
    }

    async fn apply(&self, params: &PatchParams, drain: Option<Drain>) -> Result<ClusterFacts> {
        let since = |drain: &Drain| at(drain.since).context("the clock of the API server is wrong");
        let drain = match drain {
            Some(drain) => Some(landfall_api::Drain { since: since(&drain)?, over_seconds: drain.over_seconds }),
            None => None,
        };
        let cluster = self.args.cluster.as_str();
        let spec = ClusterFactsSpec { cluster: cluster.to_owned(), drain, ..ClusterFactsSpec::default() };
        let written = self.api.patch(cluster, params, &Patch::Apply(&ClusterFacts::new(cluster, spec))).await;
        written.with_context(|| format!("cannot write ClusterFacts {}", self.object()))
    }

    /// Waits until the facts of the cluster on the broker say it, or do not any more.
    async fn told(&self, drained: bool) -> Result<Marked> {
        let source = source(&self.args.server, &self.client);
        let instance = start::instance(&self.client).await?;
        let identity = Identity { cluster: self.args.cluster.clone(), instance };
        let until = Instant::now() + TOLD;
        while Instant::now() < until {
            let changes = match broker::look(&source, identity.clone(), unix_seconds).await {
                Ok(changes) => changes,
                Err(why) => return Ok(Marked::NotSeen(why)),
            };
            if matches!(changes.as_slice(), [Change::Broker(None)]) {
                return Ok(Marked::NotSeen("there is no broker in a Submariner resource here".to_owned()));
            }
            let own = |change: &Change| match change {
                Change::Peer(facts) => facts.cluster == self.args.cluster && facts.drain.is_some() == drained,
                _ => false,
            };
            if changes.iter().any(own) {
                return Ok(Marked::Told);
            }
            sleep(LOOK).await;
        }
        Ok(Marked::NotTold)
    }
}
