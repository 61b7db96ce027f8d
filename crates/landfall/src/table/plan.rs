//! The table of a plan.

use std::cmp::Reverse;

use landfall_controller::publish::selection::{percent, summary};
use landfall_core::plan::ServicePlan;
use landfall_core::policy::Mode;
use landfall_core::resolve::Share;
use landfall_core::rule::{Fallback, Reason};
use landfall_core::snapshot::ServiceKind;

use crate::table::align;
use landfall_controller::summary::{ClusterPlan, ServiceSummary, summarize};

/// Formats the shares of all services, and what the optimized ones amount to.
pub fn all(plans: Vec<ClusterPlan>) -> String {
    let summaries = summaries(&plans);
    let gap = if summaries.is_empty() { "" } else { "\n" };
    shares(plans.into_iter()) + gap + &summaries
}

/// Formats the shares: a row per service and source cluster, sorted by service, so that the sources can be compared.
pub fn shares(plans: impl Iterator<Item = ClusterPlan>) -> String {
    let mut rows: Vec<(String, [String; 6])> = Vec::new();
    for source in plans {
        for (key, planned) in source.plan.services() {
            let mode = planned.rule.mode.to_string();
            let policy = planned.rule.policy.as_deref().unwrap_or("-").to_owned();
            let cells = [key.to_string(), source.cluster.to_string(), mode, answers(planned), policy, remarks(planned)];
            rows.push((key.to_string(), cells));
        }
    }
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    let header = ["SERVICE", "CLIENTS IN", "MODE", "ANSWERED BY", "POLICY", "REMARKS"].map(str::to_owned);
    align(std::iter::once(header).chain(rows.into_iter().map(|(_, row)| row)).collect())
}

/// Formats what the optimized services amount to, over the clients of all clusters. Empty if there is none.
pub fn summaries(plans: &[ClusterPlan]) -> String {
    let summaries = summarize(plans);
    if summaries.is_empty() {
        return String::new();
    }
    let header = ["OPTIMIZED", "REQUESTS/S", "MEAN MS", "USD/MILLION", "USD/30 DAYS", "FULLEST"].map(str::to_owned);
    align(std::iter::once(header).chain(summaries.into_iter().map(summary_cells)).collect())
}

fn summary_cells((service, summary): (String, ServiceSummary)) -> [String; 6] {
    let cell = |value: Option<f64>, format: &dyn Fn(f64) -> String| value.map_or_else(|| "-".to_owned(), format);
    [
        service,
        cell(summary.demand_rps, &|rps| format!("{rps:.0}")),
        cell(summary.ms, &|ms| format!("{ms:.1}")),
        cell(summary.usd_per_million, &|usd| format!("{usd:.3}")),
        cell(summary.usd_per_30_days, &|usd| format!("{usd:.0}")),
        cell(summary.fullest, &|utilization| format!("{:.0}%", 100.0 * utilization)),
    ]
}

fn answers(planned: &ServicePlan) -> String {
    if planned.service.kind == ServiceKind::Headless {
        return headless(planned);
    }
    match planned.clusterset_ips() {
        [] => summary(planned),
        ips => {
            let ips: Vec<String> = ips.iter().map(ToString::to_string).collect();
            format!("{} (clusterset IP)", ips.join(" "))
        }
    }
}

/// Formats the answer of a headless service. It has every ready endpoint; a share is how often a cluster's endpoints come
/// first.
fn headless(planned: &ServicePlan) -> String {
    let mut eligible: Vec<_> = planned.shares.iter().filter(|share| share.eligible).collect();
    eligible.sort_by_key(|share| Reverse(share.weight));
    let cluster = |share: &&Share| match share.weight {
        0 => format!("then {}", share.cluster),
        weight => format!("{} first {}", share.cluster, percent(weight)),
    };
    let clusters: Vec<String> = eligible.iter().map(cluster).collect();
    if clusters.is_empty() { summary(planned) } else { clusters.join(", ") }
}

/// Formats why the mode is not the one asked for, and which clusters get nothing, or less than their weight, and why.
fn remarks(planned: &ServicePlan) -> String {
    let fallback = planned.rule.fallback.map(Fallback::as_str).map(str::to_owned);
    // The answers have the clusters of later priorities too, or the network chooses: a weight of 0 is normal.
    let all_answer = planned.service.kind == ServiceKind::Headless || !planned.clusterset_ips().is_empty();
    // In optimized mode most clusters get no share, and nothing is wrong with that.
    let planned_so = planned.rule.mode == Mode::Optimized;
    let usual =
        |share: &Share| all_answer || (planned_so && [Reason::Standby, Reason::Optimized].contains(&share.reason));
    let notable = planned.shares.iter().filter(|share| !share.eligible || (share.weight == 0 && !usual(share)));
    let notable = notable.map(|share| format!("{} {}: {}", share.cluster, percent(share.weight), share.reason));
    let remarks: Vec<String> = fallback.into_iter().chain(notable).collect();
    if remarks.is_empty() { "-".to_owned() } else { remarks.join(", ") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use landfall_core::export::{Endpoint, Export};
    use landfall_core::name::{ByCluster, ClusterId, ServiceKey};
    use landfall_core::optimize::cost::UnitCost;
    use landfall_core::optimize::objective::Objective;
    use landfall_core::optimize::report::{CostMatrix, Report, planning_input};
    use landfall_core::plan::Plan;
    use landfall_core::policy::Policy;
    use landfall_core::snapshot::{Continuation, NetworkView, RuleSource, Service};

    use super::*;

    fn id(cluster: &str) -> ClusterId {
        ClusterId::new(cluster).unwrap()
    }

    /// The plan for `shop/web` of `a`, which exports nothing; `b` is 10 ms away, and no path to `c` is known.
    fn cluster_plan(demand_rps: Option<f64>, ready: &[&str], ips: &[&str]) -> ClusterPlan {
        let export = |cluster: &str, last: u8| {
            let endpoint = ready.contains(&cluster).then(|| Endpoint::new([10, 0, 0, last].into(), None));
            (id(cluster), Export { ready: endpoint.into_iter().collect() })
        };
        let exports: ByCluster<Export> = [export("b", 1), export("c", 2)].into_iter().collect();
        let report = |demand_rps| Report { demand_rps, capacity_rps: Some(200.0), ..Report::default() };
        let reports = [(id("a"), report(demand_rps)), (id("b"), report(Some(0.0)))].into();
        let path = BTreeMap::from([(id("b"), UnitCost { latency_ms: 10.0, price_ms: 5.0 })]);
        let costs =
            CostMatrix::from_iter([(id("a"), path.into()), (id("b"), Arc::default()), (id("c"), Arc::default())]);
        let eligible =
            |cluster: &ClusterId| exports.get(cluster).filter(|export| !export.ready.is_empty()).map(|_| 50.0);
        let known = planning_input(&reports, &costs, eligible, (&Objective::default(), 0));
        let policy = Policy { mode: Mode::Optimized, ..Policy::default() };
        let rule_source = RuleSource::Optimized(policy.into(), known.into(), Continuation::Afresh);
        let kind = ServiceKind::ClusterSetIp { ips: ips.iter().map(|ip| ip.parse().unwrap()).collect() };
        let service = Some(Arc::new(Service { kind, exports, rule_source }));
        let view = NetworkView { local: id("a"), links_complete: false, links: BTreeMap::new() };
        let key = ServiceKey::new("shop", "web").unwrap();
        ClusterPlan { cluster: id("a"), plan: Arc::new(Plan::default().updated(&view, [(key, service)], 1).unwrap()) }
    }

    fn totals(plans: &[ClusterPlan]) -> String {
        let table = summaries(plans);
        table.lines().nth(1).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn means_are_shown_only_if_they_are_known_for_all_requests() {
        // 10 ms there and back; half full, a request waits for one other on average: 1/200 s. 5 ms at 0.01 USD are 0.05.
        assert_eq!(totals(&[cluster_plan(Some(100.0), &["b"], &[])]), "shop/web 100 15.0 0.050 13 50%");
        assert_eq!(totals(&[cluster_plan(Some(100.0), &["c"], &[])]), "shop/web 100 - - - -", "no path is known");
        let both = [cluster_plan(Some(100.0), &["b"], &[]), cluster_plan(Some(100.0), &["c"], &[])];
        assert_eq!(totals(&both), "shop/web 200 - - - -", "known for one half");
        assert_eq!(totals(&[cluster_plan(Some(100.0), &[], &[])]), "shop/web 100 - - - -", "no cluster answers");
        assert_eq!(totals(&[cluster_plan(Some(0.0), &["b"], &[])]), "shop/web 0 - - - -", "no demand");
        assert_eq!(totals(&[cluster_plan(None, &["b"], &[])]), "shop/web - - - - -", "the demand is not known");
    }

    #[test]
    fn service_with_a_clusterset_ip_has_no_summary() {
        assert_eq!(summaries(&[cluster_plan(Some(100.0), &["b"], &["243.0.0.1"])]), "");
    }
}
