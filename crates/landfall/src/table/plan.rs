//! Tables for people.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;
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

/// What the optimised services come to, over the clients of all clusters. Empty without any. Behind a clusterset IP the
/// network decides who answers, and what that comes to is not known here.
pub fn expected(sources: &[Source]) -> String {
    let mut totals: BTreeMap<String, Total> = BTreeMap::new();
    for source in sources {
        for (key, planned) in source.plan.services() {
            if let Guidance::Optimized(_, known, _) = planned.service.guidance.served()
                && planned.clusterset_ips().is_empty()
                && let Some(own) = known.facts.sources.get(&source.cluster)
            {
                let demand_rps = (!known.facts.demand_unknown).then_some(own.demand_rps);
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
    /// Some cluster does not know what its clients ask for.
    demand_unknown: bool,
    /// Of what is known the time and the price of.
    known_rps: f64,
    ms: f64,
    usd: f64,
    /// Of each exporter: what the shares bring to it, minimum shares and local preference included, and its capacity.
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

    /// A mean of what happens to be known would look like one of all: it is shown when all is known, but for the rounding. In
    /// an overload queues grow without an end, and there is no mean time.
    fn cells(self, service: String) -> [String; 6] {
        const MILLIONS_IN_30_DAYS: f64 = 30.0 * 86_400.0 / 1e6;
        const WHOLE: f64 = 1.0 - 1e-9;
        let whole = !self.demand_unknown && self.known_rps > 0.0 && self.known_rps >= WHOLE * self.demand_rps;
        let cell = |known: bool, text: String| if known { text } else { "-".to_owned() };
        let fullest = self.loads.values().map(|(load, capacity)| load / capacity).fold(0.0, f64::max);
        let (ms, usd) = (self.ms / self.known_rps, self.usd / self.known_rps);
        let month = usd * self.demand_rps * MILLIONS_IN_30_DAYS;
        [
            service,
            cell(!self.demand_unknown, format!("{:.0}", self.demand_rps)),
            cell(whole && fullest <= 1.0, format!("{ms:.1}")),
            cell(whole, format!("{usd:.3}")),
            cell(whole, format!("{month:.0}")),
            cell(whole, format!("{:.0}%", 100.0 * fullest)),
        ]
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

/// Numbers stand on the right of these columns.
pub fn right<const N: usize>(rows: &mut [[String; N]], columns: Range<usize>) {
    for column in columns {
        let width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        rows.iter_mut().for_each(|row| row[column] = format!("{:>width$}", row[column]));
    }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use landfall_core::name::ByCluster;
    use landfall_core::name::ServiceKey;
    use landfall_core::optimize::cost::UnitCost;
    use landfall_core::optimize::objective::Objective;
    use landfall_core::optimize::report::{Costs, Report, facts};
    use landfall_core::policy::Policy;
    use landfall_core::snapshot::{Endpoint, Export, Service, View};

    use super::*;

    fn id(cluster: &str) -> ClusterId {
        ClusterId::new(cluster).unwrap()
    }

    /// `shop/web` from `a`, which asks for 100 rps and exports nothing; `b` is 10 ms away, and to `c` no way is known.
    fn source(demand_rps: Option<f64>, ready: &[&str], ips: &[&str]) -> Source {
        let export = |cluster: &str, last: u8| {
            let endpoint = ready.contains(&cluster).then(|| Endpoint::new([10, 0, 0, last].into(), None));
            (id(cluster), Export { ready: endpoint.into_iter().collect() })
        };
        let exports: ByCluster<Export> = [export("b", 1), export("c", 2)].into_iter().collect();
        let report = |demand_rps| Report { demand_rps, capacity_rps: Some(200.0), ..Report::default() };
        let reports = [(id("a"), report(demand_rps)), (id("b"), report(Some(0.0)))].into();
        let way = BTreeMap::from([(id("b"), UnitCost { latency_ms: 10.0, price_ms: 5.0 })]);
        let costs = Costs::from_iter([(id("a"), way.into()), (id("b"), Arc::default()), (id("c"), Arc::default())]);
        let eligible =
            |cluster: &ClusterId| exports.get(cluster).filter(|export| !export.ready.is_empty()).map(|_| 50.0);
        let known = facts(&reports, &costs, eligible, (&Objective::default(), 0));
        let policy = Policy { mode: Mode::Optimized, ..Policy::default() };
        let guidance = Guidance::Optimized(policy.into(), known.into(), None);
        let kind = Kind::ClusterSetIp { ips: ips.iter().map(|ip| ip.parse().unwrap()).collect() };
        let service = Some(Arc::new(Service { kind, exports, guidance }));
        let view = View { local: id("a"), measured: false, links: BTreeMap::new() };
        let key = ServiceKey::new("shop", "web").unwrap();
        Source { cluster: id("a"), plan: Arc::new(Plan::default().updated(&view, [(key, service)], 1).unwrap()) }
    }

    fn totals(sources: &[Source]) -> String {
        let table = expected(sources);
        table.lines().nth(1).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_known_of_all_requests_is_shown_and_what_is_known_of_some_is_not() {
        // 10 ms there and back; half full, a request waits for one other on average: 1/200 s. 5 ms at 0.01 USD are 0.05.
        assert_eq!(totals(&[source(Some(100.0), &["b"], &[])]), "shop/web 100 15.0 0.050 13 50%");
        assert_eq!(totals(&[source(Some(100.0), &["c"], &[])]), "shop/web 100 - - - -", "no way is known");
        let both = [source(Some(100.0), &["b"], &[]), source(Some(100.0), &["c"], &[])];
        assert_eq!(totals(&both), "shop/web 200 - - - -", "of one half");
        assert_eq!(totals(&[source(Some(100.0), &[], &[])]), "shop/web 100 - - - -", "nobody answers");
        assert_eq!(totals(&[source(Some(0.0), &["b"], &[])]), "shop/web 0 - - - -", "nobody asks");
        assert_eq!(totals(&[source(None, &["b"], &[])]), "shop/web - - - - -", "nobody knows who asks");
    }

    #[test]
    fn where_the_network_decides_nothing_is_expected_of_the_plan() {
        assert_eq!(expected(&[source(Some(100.0), &["b"], &["243.0.0.1"])]), "");
    }
}
