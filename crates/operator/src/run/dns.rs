//! A DNS replica: answers what the operator published, and the probes of other clusters.

use super::error::StartError;
use super::pipeline_task::{Feed, Tellers};
use super::options::{Cluster, Probing};
use super::tasks::Tasks;
use super::tasks::done;
use crate::admin::{self, Admin};
use crate::admin::{not_synced, registry};
use crate::error_chain::chain;
use crate::kubernetes::connect;
use crate::measure::probe_server as echo;
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

/// A DNS replica: answers what the operator published, and the probes of other clusters.
pub async fn dns(
    cluster: Cluster,
    config: landfall_dns::Config,
    probing: Probing,
    drain: Duration,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let server = landfall_dns::bind(config).map_err(|error| StartError::Dns(chain(&error)))?;
    let listener = admin::bind(cluster.admin).await?;
    let (probes, probed_at) = echo::bind(probing.listen).await?;
    let client = connect::client(cluster.kubeconfig.as_deref()).await?;
    let metrics = Metrics::default();
    let (plans, plan) = watch::channel(None);

    let mut registry = registry(&metrics, &plan);
    registry.register_collector(Box::new(admin::collectors::Dns(server.metrics())));
    let advertised = if probing.advertise.is_empty() { vec![probed_at] } else { probing.advertise };
    let answers = Box::new(answers(plan.clone(), advertised));
    let ready = { (plan.clone(), stop.clone()) };
    let missing = move || match ready.1.is_cancelled() {
        true => vec!["its end"],
        false => not_synced(&ready.0),
    };
    let admin = Admin { registry, missing: Box::new(missing), answers: Some(answers) };

    let serving = CancellationToken::new();
    let observer = |_: &Pipeline, _: &Touched| {};
    let probe_source = probing.source;
    let feed = Feed { client, cluster, rules_from: RulesFrom::Selections, probe_source, plans, metrics };
    let feed = feed.run(observer, |_| Tellers::new(), serving.clone());
    let mut tasks = Tasks::new(serving.clone());
    tasks.spawn("admin port", done(admin::serve(listener, Arc::new(admin))));
    tasks.spawn("probe port", done(echo::serve(probes)));
    tasks.spawn("pipeline", feed);
    tasks.spawn_drained("DNS server", {
        let serving = serving.clone();
        async move { server.serve(plan, serving).await.map_err(|error| StartError::Dns(chain(&error))) }
    });
    tasks.spawn_drained("drain", async move {
        // Clients go on asking until they have heard that this replica is going.
        tokio::select! {
            () = serving.cancelled() => {}
            () = async { stop.cancelled().await; tokio::time::sleep(drain).await } => serving.cancel(),
        }
        Ok(())
    });
    tasks.first_to_end().await
}

/// The page that says how often this process named whom, under an id that no other one has.
fn answers(
    plan: watch::Receiver<Option<Arc<Plan>>>,
    probe: Vec<SocketAddr>,
) -> impl Fn() -> String + Send + Sync + 'static {
    let boot = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
    move || {
        let plan = plan.borrow().clone();
        report::write(&boot, &probe, plan.as_deref())
    }
}
