//! `landfall operator` and `landfall dns`: the processes that run in a cluster.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use landfall_core::name::ClusterId;
use landfall_operator::run;
use landfall_operator::run::options::{OperatorOptions, ProbeOptions, ProcessOptions};

use crate::args::{Cluster, DnsArgs, OperatorArgs};
use crate::output;
use crate::process::{cancelled_by_signals, init_log, runtime};

/// Log filter. The client library logs every failed attempt while an API server is away; Landfall logs the first one.
const LOG_FILTER: &str = "info,kube_client=off";

pub fn operator(args: OperatorArgs) -> Result<u8> {
    init_log(LOG_FILTER);
    let options = OperatorOptions {
        identity: args.identity.unwrap_or_else(identity),
        broker: args.broker_kubeconfig.map(|path| (path, args.broker_namespace)),
        dns_replicas: args.dns_replica,
        dns_service: args.dns_service,
        probe_source: args.probe_source,
        prometheus: args.prometheus,
    };
    let process = ProcessOptions { location: args.location, ..process(args.cluster, args.admin)? };
    runtime()?.block_on(async { anyhow::Ok(run::operator(process, options, cancelled_by_signals()?).await?) })?;
    Ok(output::OK)
}

pub fn dns(args: DnsArgs) -> Result<u8> {
    init_log(LOG_FILTER);
    let mut config = args.answers.config(args.listen)?;
    if !args.advertise.is_empty() {
        config.advertise = args.advertise;
    }
    if let Some(threads) = args.threads {
        config.udp_threads = threads;
    }
    let process = process(args.cluster, args.admin)?;
    let probing = ProbeOptions { listen: args.probe, advertise: args.probe_advertise, source: args.probe_source };
    let drain = Duration::from_secs(args.drain);
    runtime()?
        .block_on(async { anyhow::Ok(run::dns(process, config, probing, drain, cancelled_by_signals()?).await?) })?;
    Ok(output::OK)
}

/// Returns a name that no other process has. The process id alone is not enough: containers often all have id 1.
fn identity() -> String {
    format!("landfall-{}-{:08x}", std::process::id(), RandomState::new().hash_one(()) >> 32)
}

fn process(args: Cluster, admin: SocketAddr) -> Result<ProcessOptions> {
    let id = args.cluster_id.filter(|id| !id.is_empty());
    Ok(ProcessOptions {
        kubeconfig: args.kubeconfig,
        id: id.map(|id| ClusterId::new(&id)).transpose().context("--cluster-id")?,
        namespace: args.namespace,
        submariner_namespace: args.submariner_namespace,
        location: None,
        admin,
    })
}
