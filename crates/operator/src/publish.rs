//! From the plan to the objects that users see: pure.

use std::hash::{DefaultHasher, Hash, Hasher};

use landfall_api::{SelectedCluster, ServiceSelectionStatus};
use landfall_core::plan::ServicePlan;
use landfall_core::rule::Fallback;
use landfall_core::snapshot::View;

/// The status of the ServiceSelection of one service, without a time.
pub fn selection_status(planned: &ServicePlan, view: &View) -> ServiceSelectionStatus {
    let selected = planned.rule.candidates.iter().zip(&planned.shares).map(|(candidate, share)| SelectedCluster {
        latency_ms: candidate.terms.and_then(|terms| terms.latency_ms).map(rounded),
        price_ms: candidate.terms.and_then(|terms| terms.price_ms).map(rounded),
        usd_per_million: candidate.terms.and_then(|terms| terms.usd_per_million).map(rounded),
        congestion_ms: candidate.terms.map(|terms| rounded(terms.congestion_ms)),
        capacity_rps: candidate.terms.map(|terms| rounded(terms.capacity_rps)),
        utilisation: candidate.terms.map(|terms| rounded(terms.utilisation)),
        cluster: share.cluster.to_string(),
        weight: share.weight,
        eligible: share.eligible,
        reason: share.reason.to_string(),
        priority: candidate.priority,
        nominal_weight: candidate.nominal,
        min_weight: candidate.floor,
        facts_time: None,
        rtt_ms: view.links.get(&share.cluster).and_then(|link| link.rtt).map(|rtt| rtt.as_micros() as f64 / 1000.0),
    });
    ServiceSelectionStatus {
        source: view.local.to_string(),
        mode: planned.rule.mode.to_string(),
        reason: planned.rule.fallback.map(Fallback::as_str).map(str::to_owned),
        policy: planned.rule.policy.as_deref().map(str::to_owned),
        observed_time: None,
        summary: summary(planned),
        round: None,
        method: None,
        savings: None,
        shadow: None,
        clusters: selected.collect(),
    }
}

/// To what people read: a thousandth.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// `north 50% south 33.3% west 16.7%`: those that get something.
pub fn summary(planned: &ServicePlan) -> String {
    let shares = planned.shares.iter().filter(|share| share.weight > 0);
    let shares: Vec<String> = shares.map(|share| format!("{} {}", share.cluster, percent(share.weight))).collect();
    if shares.is_empty() { "nobody is ready".to_owned() } else { shares.join(" ") }
}

/// A part of 1000 as people read it.
pub fn percent(weight: u32) -> String {
    match weight % 10 {
        0 => format!("{}%", weight / 10),
        tenth => format!("{}.{tenth}%", weight / 10),
    }
}

/// Whether two published selections say the same: all but the time and the round-trip times, which move all the time and
/// would otherwise be a write each.
pub fn fingerprint(status: &ServiceSelectionStatus) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&status.source, &status.mode, &status.reason, &status.policy, &status.summary).hash(&mut hasher);
    for selected in &status.clusters {
        (&selected.cluster, selected.weight, selected.eligible, &selected.reason).hash(&mut hasher);
        (selected.priority, selected.nominal_weight, selected.min_weight).hash(&mut hasher);
    }
    hasher.finish()
}
