//! Builds ServiceSelections from a plan: pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_api::time::from_unix_seconds;
use landfall_api::{Saved, Savings, SelectedCluster, ServiceSelectionStatus, ShadowSelection};
use landfall_core::name::ClusterId;
use landfall_core::optimize::report::Method;
use landfall_core::plan::{ServicePlan, Shadow};
use landfall_core::resolve::Share;
use landfall_core::rule::Fallback;
use landfall_core::savings;
use landfall_core::snapshot::{NetworkView, RuleSource};

use crate::facts::ClusterFacts;

/// Round of the local cluster, and the facts that plans come from.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoundInfo<'a> {
    /// `None` if the local cluster has published no facts.
    pub round: Option<i64>,
    pub facts: Option<&'a BTreeMap<ClusterId, Arc<ClusterFacts>>>,
}

/// Returns the savings as they are published. Returns `None` like [`savings_of`].
pub fn savings_status(planned: &ServicePlan, view: &NetworkView) -> Option<Savings> {
    savings_of(planned, view).map(|savings| Savings {
        round_robin: saved(savings.against(&savings.round_robin)),
        local_first: saved(savings.against(&savings.local_first)),
    })
}

/// Returns the status of the ServiceSelection of one service, without time and savings. Savings take as long as
/// planning, and are added by the caller.
pub fn selection_status(
    planned: &ServicePlan,
    view: &NetworkView,
    round_info: RoundInfo<'_>,
) -> ServiceSelectionStatus {
    let optimized = matches!(planned.service.rule_source.served(), RuleSource::Optimized(..));
    let facts_time = |cluster: &ClusterId| {
        let observed = round_info.facts.filter(|_| optimized)?.get(cluster)?.observed?;
        from_unix_seconds(observed)
    };
    let selected = planned.rule.candidates.iter().zip(&planned.shares).map(|(candidate, share)| SelectedCluster {
        latency_ms: candidate.terms.and_then(|terms| terms.latency_ms).map(rounded),
        price_ms: candidate.terms.and_then(|terms| terms.price_ms).map(rounded),
        usd_per_million: candidate.terms.and_then(|terms| terms.usd_per_million).map(rounded),
        congestion_ms: candidate.terms.map(|terms| rounded(terms.congestion_ms)),
        capacity_rps: candidate.terms.map(|terms| rounded(terms.capacity_rps)),
        utilization: candidate.terms.map(|terms| rounded(terms.utilization)),
        former_utilization: None,
        cluster: share.cluster.to_string(),
        weight: share.weight,
        eligible: share.eligible,
        reason: share.reason.to_string(),
        priority: candidate.priority,
        nominal_weight: candidate.nominal,
        min_weight: candidate.floor,
        facts_time: facts_time(&share.cluster),
        rtt_ms: view.links.get(&share.cluster).and_then(|link| link.rtt).map(|rtt| rtt.as_micros() as f64 / 1000.0),
    });
    ServiceSelectionStatus {
        source: view.local.to_string(),
        mode: planned.rule.mode.to_string(),
        reason: planned.rule.fallback.map(Fallback::as_str).map(str::to_owned),
        policy: planned.rule.policy.as_deref().map(str::to_owned),
        observed_time: None,
        summary: summary(planned),
        round: round_info.round.filter(|_| optimized),
        method: planned.rule.method.map(Method::as_str).map(str::to_owned),
        savings: None,
        shadow: planned.shadow.as_ref().map(shadow),
        clusters: selected.collect(),
    }
}

/// Returns what the present shares save for the clients of the local cluster. Returns `None` if the service is not
/// optimized, or too many facts are unknown.
pub fn savings_of(planned: &ServicePlan, view: &NetworkView) -> Option<savings::Savings> {
    match planned.service.rule_source.served() {
        RuleSource::Optimized(policy, known, _) if planned.clusterset_ips().is_empty() => {
            savings::savings(known, &policy.objective, &view.local, &planned.shares)
        }
        RuleSource::Optimized(..) | RuleSource::Policy(_) | RuleSource::Published(_) | RuleSource::Shadowed { .. } => {
            None
        }
    }
}

fn saved(saved: savings::Saved) -> Saved {
    let savings::Saved { usd_per_million, usd_per_month, ms } = saved;
    Saved {
        usd_per_million: rounded(usd_per_million),
        usd_per_month: (usd_per_month * 100.0).round() / 100.0,
        ms: ms.map(rounded),
    }
}

fn shadow(shadow: &Shadow) -> ShadowSelection {
    let weight = |share: &Share| (share.cluster.to_string(), share.weight);
    ShadowSelection {
        policy: shadow.rule.policy.as_deref().unwrap_or_default().to_owned(),
        mode: shadow.rule.mode.to_string(),
        reason: shadow.rule.fallback.map(Fallback::as_str).map(str::to_owned),
        summary: describe(&shadow.shares),
        weights: shadow.shares.iter().map(weight).collect(),
    }
}

/// Rounds to three decimals, for people.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// Describes the shares above 0, such as `north 50% south 33.3% west 16.7%`.
pub fn summary(planned: &ServicePlan) -> String {
    describe(&planned.shares)
}

fn describe(shares: &[Share]) -> String {
    let shares = shares.iter().filter(|share| share.weight > 0);
    let shares: Vec<String> = shares.map(|share| format!("{} {}", share.cluster, percent(share.weight))).collect();
    if shares.is_empty() { "no cluster is ready".to_owned() } else { shares.join(" ") }
}

/// Formats a weight, in thousandths, as a percentage.
pub fn percent(weight: u32) -> String {
    match weight % 10 {
        0 => format!("{}%", weight / 10),
        tenth => format!("{}.{tenth}%", weight / 10),
    }
}
