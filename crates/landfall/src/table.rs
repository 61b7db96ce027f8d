//! Tables for people.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_core::name::ClusterId;
use landfall_core::plan::{Plan, ServicePlan};
use landfall_core::policy::Mode;
use landfall_core::resolve::{Share, TOTAL_WEIGHT};
use landfall_core::rule::{Fallback, Reason};
use landfall_core::snapshot::{Guidance, Kind};
use landfall_operator::pipeline::Pipeline;
use landfall_operator::publish::{percent, summary};

/// The clients of one cluster, and the plan for them.
#[derive(Debug, Clone)]
pub struct Source {
    pub cluster: ClusterId,
    pub plan: Arc<Plan>,
}

impl Source {
    /// `None`: nothing was loaded yet.
    pub fn of(pipeline: &Pipeline) -> Option<Self> {
        Some(Self { cluster: pipeline.perspective().local.clone(), plan: Arc::clone(pipeline.plan()?) })
    }
}

/// Who answers whom, and what that comes to where it was optimised.
pub fn all(sources: Vec<Source>) -> String {
    let expected = expected(&sources);
    let gap = if expected.is_empty() { "" } else { "\n" };
    shares(sources.into_iter()) + gap + &expected
}

/// Who answers whom: a row per service and source cluster, by service, so that the sources can be compared.
pub fn shares(sources: impl Iterator<Item = Source>) -> String {
    let mut rows: Vec<(String, [String; 6])> = Vec::new();
    for source in sources {
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

/// What the optimised services come to, over the clients of all clusters. Empty without any.
pub fn expected(sources: &[Source]) -> String {
    let mut totals: BTreeMap<String, Total> = BTreeMap::new();
    for source in sources {
        for (key, planned) in source.plan.services() {
            if let Guidance::Optimized(_, known) = &planned.service.guidance
                && let Some(demand_rps) = known.facts.sources.get(&source.cluster).map(|own| own.demand_rps)
            {
                totals.entry(key.to_string()).or_default().add(planned, demand_rps);
            }
        }
    }
    if totals.is_empty() {
        return String::new();
    }
    let header = ["OPTIMIZED", "REQUESTS/S", "MEAN MS", "USD/MILLION", "USD/30 DAYS", "FULLEST"].map(str::to_owned);
    align(std::iter::once(header).chain(totals.into_iter().map(|(service, total)| total.cells(service))).collect())
}

#[derive(Debug, Default)]
struct Total {
    demand_rps: f64,
    /// Of what is known the time and the price of.
    known_rps: f64,
    ms: f64,
    usd: f64,
    utilisation: f64,
}

impl Total {
    fn add(&mut self, planned: &ServicePlan, demand_rps: f64) {
        self.demand_rps += demand_rps;
        for (candidate, share) in planned.rule.candidates.iter().zip(&planned.shares) {
            let Some(terms) = candidate.terms else { continue };
            self.utilisation = self.utilisation.max(terms.utilisation);
            if let (Some(ms), Some(usd)) = (terms.answered_ms(), terms.usd_per_million) {
                let rps = demand_rps * f64::from(share.weight) / f64::from(TOTAL_WEIGHT);
                self.known_rps += rps;
                self.ms += rps * ms;
                self.usd += rps * usd;
            }
        }
    }

    fn cells(self, service: String) -> [String; 6] {
        const MILLIONS_IN_30_DAYS: f64 = 30.0 * 86_400.0 / 1e6;
        let mean = |sum: f64| if self.known_rps > 0.0 { sum / self.known_rps } else { 0.0 };
        let month = mean(self.usd) * self.demand_rps * MILLIONS_IN_30_DAYS;
        let requests = format!("{:.0}", self.demand_rps);
        let (ms, usd) = (format!("{:.1}", mean(self.ms)), format!("{:.3}", mean(self.usd)));
        [service, requests, ms, usd, format!("{month:.0}"), format!("{:.0}%", 100.0 * self.utilisation)]
    }
}

fn answers(planned: &ServicePlan) -> String {
    if planned.service.kind == Kind::Headless {
        return everybody(planned);
    }
    match planned.clusterset_ips() {
        [] => summary(planned),
        ips => {
            let ips: Vec<String> = ips.iter().map(ToString::to_string).collect();
            format!("{} (clusterset IP)", ips.join(" "))
        }
    }
}

/// Of a headless service every ready endpoint is in the answer; the shares say which of them come first.
fn everybody(planned: &ServicePlan) -> String {
    let mut eligible: Vec<_> = planned.shares.iter().filter(|share| share.eligible).collect();
    eligible.sort_by_key(|share| Reverse(share.weight));
    let cluster = |share: &&Share| match share.weight {
        0 => format!("then {}", share.cluster),
        weight => format!("{} first {}", share.cluster, percent(weight)),
    };
    let clusters: Vec<String> = eligible.iter().map(cluster).collect();
    if clusters.is_empty() { summary(planned) } else { clusters.join(", ") }
}

/// Why the mode is another one, and who gets nothing or less than their part, and why.
fn remarks(planned: &ServicePlan) -> String {
    let fallback = planned.rule.fallback.map(Fallback::as_str).map(str::to_owned);
    // Who waits for its turn is in the answers all the same, or the network chooses.
    let all_answer = planned.service.kind == Kind::Headless || !planned.clusterset_ips().is_empty();
    // In the optimised mode most have nothing, and nothing is wrong.
    let planned_so = planned.rule.mode == Mode::Optimized;
    let usual =
        |share: &Share| all_answer || (planned_so && [Reason::Standby, Reason::Optimized].contains(&share.reason));
    let notable = planned.shares.iter().filter(|share| !share.eligible || (share.weight == 0 && !usual(share)));
    let notable = notable.map(|share| format!("{} {}: {}", share.cluster, percent(share.weight), share.reason));
    let remarks: Vec<String> = fallback.into_iter().chain(notable).collect();
    if remarks.is_empty() { "-".to_owned() } else { remarks.join(", ") }
}

/// Columns, two spaces apart.
pub fn align<const N: usize>(rows: Vec<[String; N]>) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
