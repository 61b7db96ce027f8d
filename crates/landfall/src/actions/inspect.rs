//! The present, for commands that look at it once: from a folder, or from the API server of one cluster.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use kube::Client;
use landfall_operator::broker;
use landfall_operator::broker::build::Identity;
use landfall_operator::broker::credentials::Source;
use landfall_operator::object::Kind;
use landfall_operator::observe::{Guide, Perspective};
use landfall_operator::pipeline::{Age, Pipeline, required};
use landfall_operator::run::unix_seconds;
use landfall_operator::stores::Change;
use landfall_operator::{start, watch};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::commands::serve::{log, runtime};
use crate::{args, fleet};

/// A person waits for it.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// Why the API server does not answer, once; kinds that are not installed there are none of a reader's business.
pub const ONLY_WHY: &str = "off,landfall_operator::start=warn";
/// Changes that wait to be taken in.
const CHANGES: usize = 1024;

/// One pipeline per cluster that is seen from inside, each with a plan.
pub struct Present {
    pub clusters: Vec<Pipeline>,
    /// Seconds since 1970, where facts have an age.
    pub now: Option<u64>,
    /// One line each.
    pub problems: Vec<String>,
}

impl Present {
    /// From the folder, or else from the API server.
    pub fn load(dir: Option<&Path>, server: &args::ApiServer) -> Result<Self> {
        if let Some(dir) = dir {
            let (clusters, problems) =
                fleet::loaded(&args::Fleet { dir: dir.to_owned(), namespace: server.namespace.clone() })?;
            return Ok(Self { clusters, now: None, problems });
        }
        log(ONLY_WHY);
        let pipeline = runtime()?.block_on(load_live(server))?;
        let problems = fleet::problems(&pipeline).into_iter().chain(unheard(&pipeline)).collect();
        Ok(Self { clusters: vec![pipeline], now: Some(unix_seconds()), problems })
    }
}

/// Why it is not known what the other clusters say.
pub fn unheard(pipeline: &Pipeline) -> Option<String> {
    match &pipeline.stores().broker {
        None => Some(
            "there is no broker in a Submariner resource here, so what the other clusters say is not known; if the operator \
             has one, name it with --broker-kubeconfig"
                .to_owned(),
        ),
        Some(broker) => broker.lost.as_ref().map(|why| format!("the broker does not tell what the others say: {why}")),
    }
}

/// Where the credentials of the broker are.
pub fn source(server: &args::ApiServer, client: &Client) -> Source {
    match &server.broker_kubeconfig {
        Some(path) => Source::Kubeconfig { path: path.clone(), namespace: server.broker_namespace.clone() },
        None => Source::Submariner { client: client.clone(), namespace: server.submariner_namespace.clone() },
    }
}

/// All lists once, from the API server of a cluster.
async fn load_live(server: &args::ApiServer) -> Result<Pipeline> {
    let client = start::client(server.kubeconfig.as_deref()).await?;
    let mut untold: BTreeMap<Kind, Option<Box<str>>> =
        required(Guide::Policies).iter().map(|kind| (*kind, None)).collect();
    let listed = async {
        start::preflight(&client).await?;
        let local = match &server.cluster_id {
            Some(id) => id.clone(),
            None => start::cluster_id(&client, &server.submariner_namespace).await?,
        };
        let perspective = Perspective {
            local,
            namespace: server.namespace.as_str().into(),
            submariner_namespace: Some(server.submariner_namespace.as_str().into()),
            guide: Guide::Policies,
        };
        let source = source(server, &client);
        let identity = Identity { cluster: perspective.local.clone(), instance: start::instance(&client).await? };
        let said = broker::look(&source, identity, unix_seconds).await;
        // What is published is there all the same, and stays in force without a broker.
        let lost = |why: String| {
            vec![Change::Broker(Some(broker::State { lost: Some(why.into()), ..broker::State::default() }))]
        };
        let said = said.unwrap_or_else(lost);
        let mut pipeline = Pipeline::new(perspective, Age::Live).in_cluster(start::location(&client).await?);
        pipeline.apply(said, unix_seconds());
        let (changes, mut queue) = mpsc::channel(CHANGES);
        let mut watches = JoinSet::new();
        for &kind in required(Guide::Policies) {
            let scope = watch::Scope::All.of(kind, &server.namespace);
            watches.spawn(watch::watch(client.clone(), kind, scope, changes.clone(), || {}));
        }
        let mut batch = Vec::with_capacity(CHANGES);
        while pipeline.plan().is_none() {
            if queue.recv_many(&mut batch, CHANGES).await == 0 {
                bail!("the watches ended");
            }
            for change in &batch {
                if let Change::Interrupted(kind, why) = change {
                    untold.entry(*kind).and_modify(|known| *known = Some(why.clone()));
                } else if let Change::ListEnds(kind) = change {
                    untold.remove(kind);
                }
            }
            pipeline.apply(batch.drain(..), unix_seconds());
        }
        // Who could be reached when the operator here last said so: nothing is probed for one look.
        let own = pipeline.stores().peers.get(&pipeline.perspective().local).map(|own| own.links.clone());
        pipeline.apply(own.map(Change::Links), unix_seconds());
        Ok(pipeline)
    };
    timeout(PATIENCE, listed).await.unwrap_or_else(|_| bail!("{}", late(&untold)))
}

/// What was not told in time, and as far as the API server says so, why.
fn late(untold: &BTreeMap<Kind, Option<Box<str>>>) -> String {
    let begin = format!("the API server has not told everything within {} s", PATIENCE.as_secs());
    let mut whys: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (kind, why) in untold.iter().filter_map(|(kind, why)| Some((kind, why.as_deref()?))) {
        whys.entry(why).or_default().push(kind.name());
    }
    let whys: Vec<String> = whys.into_iter().map(|(why, kinds)| format!("{}: {why}", kinds.join(", "))).collect();
    if whys.is_empty() { format!("{begin}; is it up?") } else { format!("{begin}: {}", whys.join("; ")) }
}
