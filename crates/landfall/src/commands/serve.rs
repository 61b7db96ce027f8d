//! `landfall operator` and `landfall dns`: the processes in a cluster.

use std::hash::{BuildHasher, RandomState};
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use landfall_core::name::ClusterId;
use landfall_operator::run;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::{WELL, args};

/// The client library complains of every attempt while an API server is away; we say it once, and what follows.
const IN_CLUSTER: &str = "info,kube_client=off";

pub fn operator(args: args::Operator) -> Result<u8> {
    log(IN_CLUSTER);
    let operating = run::Operating {
        identity: args.identity.unwrap_or_else(identity),
        broker: args.broker_kubeconfig.map(|path| (path, args.broker_namespace)),
        dns_replicas: args.dns_replica,
        dns_service: args.dns_service,
        probe_source: args.probe_source,
        prometheus: args.prometheus,
    };
    let cluster = run::Cluster { location: args.location, ..cluster(args.cluster, args.admin)? };
    runtime()?.block_on(async { anyhow::Ok(run::operator(cluster, operating, stopped()?).await?) })?;
    Ok(WELL)
}

pub fn dns(args: args::Dns) -> Result<u8> {
    log(IN_CLUSTER);
    let mut config = answers(&args.answers, args.listen)?;
    if !args.advertise.is_empty() {
        config.advertise = args.advertise;
    }
    if let Some(threads) = args.threads {
        config.udp_threads = threads;
    }
    let cluster = cluster(args.cluster, args.admin)?;
    let probing = run::Probing { listen: args.probe, advertise: args.probe_advertise, source: args.probe_source };
    let drain = Duration::from_secs(args.drain);
    runtime()?.block_on(async { anyhow::Ok(run::dns(cluster, config, probing, drain, stopped()?).await?) })?;
    Ok(WELL)
}

/// Different for every process, also of containers that all have process id 1.
fn identity() -> String {
    format!("landfall-{}-{:08x}", std::process::id(), RandomState::new().hash_one(()) >> 32)
}

fn cluster(args: args::Cluster, admin: SocketAddr) -> Result<run::Cluster> {
    let id = args.cluster_id.filter(|id| !id.is_empty());
    Ok(run::Cluster {
        kubeconfig: args.kubeconfig,
        id: id.map(|id| ClusterId::new(&id)).transpose().context("--cluster-id")?,
        namespace: args.namespace,
        submariner_namespace: args.submariner_namespace,
        location: None,
        admin,
    })
}

/// Work is short and rarely in parallel: watching, planning, a probe now and then.
pub fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("cannot start threads")
}

/// Cancelled by SIGTERM and by Ctrl-C.
pub fn stopped() -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told = stop.clone();
    #[expect(
        clippy::disallowed_methods,
        reason = "the one task that must outlive all sets of tasks, because it ends them"
    )]
    tokio::spawn(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        told.cancel();
    });
    Ok(stop)
}

/// To standard error, at the level of RUST_LOG, else at `level`.
pub fn log(level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal).init();
}

/// What the DNS server is told on the command line.
pub fn answers(args: &args::Answers, listen: SocketAddr) -> Result<landfall_dns::Config> {
    let zone = |zone: &String| zone.parse().with_context(|| format!("--zone {zone}"));
    let zones = args.zone.iter().map(zone).collect::<Result<_>>()?;
    Ok(landfall_dns::Config { zones, ttl: Duration::from_secs(args.ttl.into()), ..landfall_dns::Config::new(listen) })
}
