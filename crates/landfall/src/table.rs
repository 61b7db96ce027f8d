//! Tables for people.

use std::cmp::Reverse;
use std::sync::Arc;

use landfall_core::name::ClusterId;
use landfall_core::plan::{Plan, ServicePlan};
use landfall_core::resolve::Share;
use landfall_core::rule::Fallback;
use landfall_core::snapshot::Kind;
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
    let notable = planned.shares.iter().filter(|share| !share.eligible || (share.weight == 0 && !all_answer));
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
