//! The processes: make each component, one set of tasks, and the first one to end ends all.

pub mod error;
pub mod options;

mod tasks;

mod feed;

mod outlets;

mod dns;
mod operator;

use std::sync::Arc;

use landfall_core::plan::Plan;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

pub use self::dns::dns;
use self::error::StartError;
pub use self::operator::operator;
use crate::admin::collectors::PlanState;
use crate::metrics::Metrics;

fn registry(metrics: &Metrics, plan: &watch::Receiver<Option<Arc<Plan>>>) -> Registry {
    let mut registry = Registry::with_prefix("landfall");
    metrics.register(&mut registry);
    registry.register_collector(Box::new(PlanState(plan.clone())));
    registry
}

fn synced(plan: &watch::Receiver<Option<Arc<Plan>>>) -> Vec<&'static str> {
    if plan.borrow().is_some() { Vec::new() } else { vec!["the first complete list of objects"] }
}

async fn done(task: impl Future<Output = ()>) -> Result<(), StartError> {
    task.await;
    Ok(())
}
