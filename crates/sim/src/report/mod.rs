//! Reports of a run: a page, pictures and a table. The same run gives the same bytes.
//!
//! ```text
//! input                                    what is reported
//!   │
//! numbers, markup, style, scale            numbers as text, elements, colors, axes
//!   │
//! picture, labels, time, plot, clusters    parts that several pictures share
//!   │
//! split, utilization, cost, pareto         the four pictures
//!   │
//! page                                     all of it as HTML
//! ```

mod input;

mod numbers;
mod markup;
mod style;
mod scale;

mod picture;
mod labels;
mod time;
mod plot;
mod clusters;

mod split;
mod utilization;
mod cost;
mod pareto;

mod page;

pub use input::{EXCHANGE_RATES, OPTIMUM_LEGEND, RateResult, RunReport, headline};
pub use numbers::{COLUMNS, cells};
pub use picture::Picture;

impl RunReport<'_> {
    /// Returns an HTML page that needs no other file.
    pub fn html(&self) -> String {
        page::html(self, &self.pictures())
    }

    /// Returns the pictures of the page.
    pub fn pictures(&self) -> [Picture; 4] {
        [split::split(self), utilization::utilization(self), cost::cost(self), pareto::pareto(self)]
    }
}

#[cfg(test)]
mod tests {
    use landfall_core::optimize::facts::Tuning;

    use super::*;
    use crate::contender::Contender;
    use crate::run::{RoundOutcome, run};
    use crate::scenario::Scenario;
    use crate::summary::{Summary, summarize};
    use crate::world::World;

    fn scenario(change: impl Fn(&mut Scenario)) -> Scenario {
        let mut scenario = Scenario::read(
            "
apiVersion: landfall.dev/v1alpha1
kind: Scenario
name: two
rounds: 12
clusters: [east, west]
rttMs: [[1, 20], [20, 1]]
egressUsdPerGb: [[0, 0.1], [0.1, 0]]
service: {capacityRps: [100, 100], baseLatencyMs: [20, 20]}
demandRps: [80, 50]
objective: {mode: mixed}
events: [{type: outage, cluster: west, fromRound: 5, toRound: 8}]
",
        )
        .unwrap();
        change(&mut scenario);
        scenario.validate().unwrap();
        scenario
    }

    fn grown(scenario: &mut Scenario, size: usize) {
        let square = |value: f64| vec![vec![value; size]; size];
        scenario.clusters = (0..size).map(|i| format!("c{i}")).collect();
        (scenario.rtt_ms, scenario.egress_usd_per_gb) = (square(10.0), square(0.1));
        (scenario.service.capacity_rps, scenario.service.base_latency_ms) = (vec![100.0; size], vec![20.0; size]);
        scenario.demand_rps = (0..size).map(|i| 50.0 + i as f64).collect();
        scenario.events.clear();
    }

    /// Returns all files: the page, and each picture.
    fn written(scenario: &Scenario, contenders: &[&str]) -> Vec<String> {
        let world = World::expand(scenario);
        let runs: Vec<(&str, Vec<RoundOutcome>)> = contenders
            .iter()
            .map(|name| {
                let contender = Contender::parse(name).unwrap();
                (*name, run(&world, contender.policy(&world, Tuning::default()).as_mut()))
            })
            .collect();
        let optimum_ms = vec![20.0; world.rounds.len()];
        let summaries: Vec<Summary> =
            runs.iter().map(|(name, outcomes)| summarize(name, &world, outcomes, &optimum_ms)).collect();
        let trade =
            |rate: f64| RateResult { usd_per_ms_per_million: rate, mean_ms: 20.0 - rate, usd_per_million: 0.1 * rate };
        let report = RunReport {
            scenario,
            world: &world,
            summaries: &summaries,
            shown: 0,
            outcomes: &runs[0].1,
            target_utilization: 0.9,
            sweep: &EXCHANGE_RATES.map(trade),
        };
        let mut written = vec![report.html()];
        written.extend(report.pictures().iter().map(Picture::file));
        written
    }

    /// Asserts that elements end in the right order and attributes have quoted values.
    fn assert_well_formed(text: &str) {
        let mut open = Vec::new();
        for tag in text.strip_prefix("<!DOCTYPE html>").unwrap_or(text).split('<').skip(1) {
            let (tag, after) = tag.split_once('>').expect("a tag ends");
            assert!(!after.contains('>'), "{after}");
            let name = tag.split_whitespace().next().unwrap();
            assert!(tag.matches('"').count() % 2 == 0, "{tag}");
            if let Some(name) = name.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    fn assert_good(written: &[String]) {
        for text in written {
            assert_well_formed(text);
            assert!(!text.contains("NaN") && !text.contains("inf\"") && !text.contains("inf "), "{text}");
            let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!elsewhere.contains("http") && !elsewhere.contains("<script"), "it needs no other file");
        }
    }

    #[test]
    fn report_is_complete_well_formed_and_reproducible() {
        let scenario = scenario(|_| {});
        let texts = written(&scenario, &["optimized", "nearest", "selfish"]);
        assert_good(&texts);
        assert_eq!(texts, written(&scenario, &["optimized", "nearest", "selfish"]));
        let page = &texts[0];
        for expected in
            ["optimized", "nearest", "outage of west, rounds 5 to 8", "id=\"pareto\"", "role=\"img\"", "v = 0.0001"]
        {
            assert!(page.contains(expected), "{expected}");
        }
        assert_eq!((page.matches("<svg").count(), texts.len()), (4, 5));
    }

    #[test]
    fn names_are_escaped() {
        let scenario = scenario(|scenario| {
            scenario.clusters[0] = "<script>alert(\"1\")</script>&".to_owned();
            scenario.name = "a < b & c".to_owned();
            scenario.description = "line\nline \u{1b}[31m".to_owned();
        });
        assert_good(&written(&scenario, &["optimized"]));
        assert_eq!(headline(&scenario).lines().count(), 1);
        assert!(!headline(&scenario).contains('\u{1b}'));
    }

    #[test]
    fn large_fleet_shows_the_sources_with_the_most_demand() {
        let scenario = scenario(|scenario| grown(scenario, 30));
        let texts = written(&scenario, &["round-robin"]);
        assert_good(&texts);
        let split = &texts[1];
        assert!(split.contains("The 12 sources with the most demand, of 30.") && split.contains("14 others"));
        assert!(split.contains("from c29") && !split.contains("from c3<"));
    }

    #[test]
    fn long_run_is_drawn_in_coarser_steps() {
        let scenario = scenario(|scenario| {
            scenario.rounds = 2_000;
            scenario.noise.demand_log_sigma = 0.2;
        });
        let texts = written(&scenario, &["optimized"]);
        assert_good(&texts);
        assert!(texts[1].contains("Each step is 4 rounds"));
        assert!(
            texts.iter().all(|text| text.len() < 500_000),
            "{:?}",
            texts.iter().map(String::len).collect::<Vec<_>>()
        );
    }

    #[test]
    fn unusual_scenarios_have_a_report() {
        let edges: [fn(&mut Scenario); 5] = [
            |scenario| grown(scenario, 1),
            |scenario| scenario.demand_rps = vec![0.0; 2],
            |scenario| scenario.service.capacity_rps = vec![0.0; 2],
            |scenario| scenario.rounds = 1,
            |scenario| scenario.egress_usd_per_gb = vec![vec![0.0; 2]; 2],
        ];
        for edge in edges {
            assert_good(&written(&scenario(edge), &["optimized", "cheapest-last-round"]));
        }
    }
}
