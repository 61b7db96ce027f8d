//! A DNS replica: answers what the operator published, and the probes of other clusters.

use super::error::StartError;
use super::options::{ProbeOptions, ProcessOptions};
use super::pipeline_task::{ChangeSources, PipelineTask};
use super::tasks::Tasks;
use super::tasks::done;
use crate::admin::{self, Admin};
use crate::admin::{not_synced, registry};
use crate::error_chain::chain;
use crate::kubernetes::connect;
use crate::measure::probe_server;
use crate::metrics::Metrics;
use landfall_controller::answers::report;
use landfall_controller::change::Touched;
use landfall_controller::observe::perspective::RulesFrom;
use landfall_controller::pipeline::Pipeline;
use landfall_core::plan::Plan;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Runs a DNS replica until `stop` is cancelled. It then goes on answering for the duration `drain`.
pub async fn dns(
    process: ProcessOptions,
    config: landfall_dns::Config,
    probing: ProbeOptions,
    drain: Duration,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let server = landfall_dns::bind(config).map_err(|error| StartError::Dns(chain(&error)))?;
    let listener = admin::bind(process.admin).await?;
    let (probes, probed_at) = probe_server::bind(probing.listen).await?;
    let client = connect::client(process.kubeconfig.as_deref()).await?;
    let metrics = Metrics::default();
    let (plans, plan) = watch::channel(None);

    let mut registry = registry(&metrics, &plan);
    registry.register_collector(Box::new(admin::collectors::Dns(server.metrics())));
    let advertised = if probing.advertise.is_empty() { vec![probed_at] } else { probing.advertise };
    let answers = Box::new(answers(plan.clone(), advertised));
    let (synced, stopping) = (plan.clone(), stop.clone());
    let missing = move || match stopping.is_cancelled() {
        true => vec!["the end of this process"],
        false => not_synced(&synced),
    };
    let admin = Admin { registry, missing: Box::new(missing), answers: Some(answers) };

    let serving = CancellationToken::new();
    let observer = |_: &Pipeline, _: &Touched| {};
    let probe_source = probing.source;
    let rules_from = RulesFrom::Selections;
    let pipeline = PipelineTask { client, process, rules_from, probe_source, plans, metrics };
    let pipeline = pipeline.run(observer, |_| ChangeSources::new(), serving.clone());
    let mut tasks = Tasks::new(serving.clone());
    tasks.spawn("admin port", done(admin::serve(listener, Arc::new(admin))));
    tasks.spawn("probe port", done(probe_server::serve(probes)));
    tasks.spawn("pipeline", pipeline);
    tasks.spawn_drained("DNS server", {
        let serving = serving.clone();
        async move { server.serve(plan, serving).await.map_err(|error| StartError::Dns(chain(&error))) }
    });
    tasks.spawn_drained("drain", async move {
        // Clients send queries until they have learnt that this replica is not ready any more.
        tokio::select! {
            () = serving.cancelled() => {}
            () = async { stop.cancelled().await; tokio::time::sleep(drain).await } => serving.cancel(),
        }
        Ok(())
    });
    tasks.first_to_end().await
}

/// Returns a function that writes the report of answers, with an id that no other process has.
fn answers(
    plan: watch::Receiver<Option<Arc<Plan>>>,
    probe: Vec<SocketAddr>,
) -> impl Fn() -> String + Send + Sync + 'static {
    let process_id = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
    move || {
        let plan = plan.borrow().clone();
        report::write(&process_id, &probe, plan.as_deref())
    }
}
