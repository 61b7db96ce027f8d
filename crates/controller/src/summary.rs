//! Summary of a plan for each optimized service: demand, mean response time, cost, and the highest utilization.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_core::apportion::TOTAL_WEIGHT;
use landfall_core::name::ClusterId;
use landfall_core::plan::{Plan, ServicePlan};
use landfall_core::snapshot::RuleSource;

use crate::pipeline::Pipeline;

/// Plan for the clients of one cluster.
#[derive(Debug, Clone)]
pub struct ClusterPlan {
    pub cluster: ClusterId,
    pub plan: Arc<Plan>,
}

impl ClusterPlan {
    /// Returns `None` if nothing has been loaded yet.
    pub fn of(pipeline: &Pipeline) -> Option<Self> {
        Some(Self { cluster: pipeline.perspective().local.clone(), plan: Arc::clone(pipeline.plan()?) })
    }
}

/// One service, summarized over the clients of all clusters.
///
/// A mean over some requests would look like a mean over all. The means are therefore `None` unless path, price and
/// demand of all requests are known, up to rounding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ServiceSummary {
    /// `None` if a cluster does not know its demand.
    pub demand_rps: Option<f64>,
    /// Mean response time. Also `None` if a cluster is overloaded: the queue then grows without limit.
    pub ms: Option<f64>,
    pub usd_per_million: Option<f64>,
    pub usd_per_30_days: Option<f64>,
    /// Utilization of the cluster with the highest one, 1 being its capacity.
    pub fullest: Option<f64>,
}

/// Summarizes the optimized services over the clients of all clusters, by service name. Services with a clusterset IP
/// are left out: the network chooses the cluster, so the result is not known.
pub fn summarize(plans: &[ClusterPlan]) -> BTreeMap<String, ServiceSummary> {
    let mut totals: BTreeMap<String, Total> = BTreeMap::new();
    for source in plans {
        for (key, planned) in source.plan.services() {
            if let RuleSource::Optimized(_, known, _) = planned.service.rule_source.served()
                && planned.clusterset_ips().is_empty()
                && let Some(own) = known.facts.sources.get(&source.cluster)
            {
                let demand_rps = (!known.facts.demand_unknown).then_some(own.demand_rps);
                totals.entry(key.to_string()).or_default().add(planned, demand_rps);
            }
        }
    }
    totals.into_iter().map(|(service, total)| (service, total.summary())).collect()
}

/// Sums over the source clusters.
#[derive(Debug, Default)]
struct Total {
    demand_rps: f64,
    /// True if a source does not know its demand.
    demand_unknown: bool,
    /// Requests whose path and price are known.
    known_rps: f64,
    ms: f64,
    usd: f64,
    /// Load from all sources and capacity of each exporter. The load includes minimum shares and local preference.
    loads: BTreeMap<ClusterId, (f64, f64)>,
}

impl Total {
    fn add(&mut self, planned: &ServicePlan, demand_rps: Option<f64>) {
        self.demand_unknown |= demand_rps.is_none();
        let demand_rps = demand_rps.unwrap_or_default();
        self.demand_rps += demand_rps;
        for (candidate, share) in planned.rule.candidates.iter().zip(&planned.shares) {
            let Some(terms) = candidate.terms else { continue };
            let rps = demand_rps * f64::from(share.weight) / f64::from(TOTAL_WEIGHT);
            let (load, capacity) = self.loads.entry(candidate.cluster.clone()).or_default();
            *load += rps;
            *capacity = terms.capacity_rps;
            if let (Some(ms), Some(usd)) = (terms.answered_ms(), terms.usd_per_million) {
                self.known_rps += rps;
                self.ms += rps * ms;
                self.usd += rps * usd;
            }
        }
    }

    fn summary(&self) -> ServiceSummary {
        const MILLIONS_IN_30_DAYS: f64 = 30.0 * 86_400.0 / 1e6;
        /// Less than all, so that rounded weights do not hide the means.
        const ALL: f64 = 1.0 - 1e-9;
        let all_known = !self.demand_unknown && self.known_rps > 0.0 && self.known_rps >= ALL * self.demand_rps;
        let fullest = self.loads.values().map(|(load, capacity)| load / capacity).fold(0.0, f64::max);
        let usd_per_million = self.usd / self.known_rps;
        ServiceSummary {
            demand_rps: (!self.demand_unknown).then_some(self.demand_rps),
            ms: (all_known && fullest <= 1.0).then_some(self.ms / self.known_rps),
            usd_per_million: all_known.then_some(usd_per_million),
            usd_per_30_days: all_known.then_some(usd_per_million * self.demand_rps * MILLIONS_IN_30_DAYS),
            fullest: all_known.then_some(fullest),
        }
    }
}
