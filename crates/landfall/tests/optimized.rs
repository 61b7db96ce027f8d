//! The optimised mode, as somebody sees it who edits the manifests of `examples/six-clouds`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(clippy::disallowed_methods, reason = "a promise about time needs a clock")]

#[path = "../examples/client/mod.rs"]
mod client;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use client::{Client, Fleet};
use landfall_core::pick::{Draw, Sequence};
use serde_json::Value;

/// In the order of their DNS ports. The endpoints of the first are in 10.1.0.0/16, and so on.
const CLUSTERS: [&str; 6] = ["aws-euc1", "aws-use1", "az-eus", "az-weu", "gcp-usc1", "op-fra"];
const SERVICES: [&str; 3] = ["api-cost", "api-mixed", "api-performance"];
const README: &str = include_str!("../../../examples/six-clouds/README.md");
const DOCUMENTATION: &str = include_str!("../../../docs/optimizer.md");
const SHIPPED_PRICES: &str = include_str!("../../../charts/landfall/files/networkpricing-default.yaml");

/// A copy of the example.
struct SixClouds(tempfile::TempDir);

impl SixClouds {
    fn new() -> Self {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/six-clouds");
        let copy = Self(tempfile::tempdir().unwrap());
        for cluster in CLUSTERS {
            std::fs::create_dir(copy.path(cluster)).unwrap();
            for file in std::fs::read_dir(example.join(cluster)).unwrap() {
                let file = file.unwrap();
                std::fs::copy(file.path(), copy.path(cluster).join(file.file_name())).unwrap();
            }
        }
        copy
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside)
    }

    /// Writes at once, as an editor does, so that nobody reads half a file.
    fn write(&self, file: &str, text: &str) {
        let draft = self.path("draft");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, self.path(file)).unwrap();
    }

    /// Replaces every `from`, of which there must be one at least.
    fn edit(&self, file: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(file)).unwrap();
        assert!(text.contains(from), "{file} does not say {from:?}");
        self.write(file, &text.replace(from, to));
    }

    /// The same file in every cluster.
    fn edit_all(&self, file: &str, from: &str, to: &str) {
        CLUSTERS.iter().for_each(|cluster| self.edit(&format!("{cluster}/{file}"), from, to));
    }

    fn write_all(&self, file: &str, text: &str) {
        CLUSTERS.iter().for_each(|cluster| self.write(&format!("{cluster}/{file}"), text));
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
        command.arg("plan").arg(self.0.path()).args(arguments).env_remove("KUBECONFIG").output().unwrap()
    }

    /// Nothing is wrong with the files.
    fn plan(&self) -> Planned {
        let (planned, said) = self.plan_of_what_is_right();
        assert_eq!(said, "");
        planned
    }

    /// And what is said of the rest.
    fn plan_of_what_is_right(&self) -> (Planned, String) {
        let output = self.run(&["-o", "json"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(i32::from(!said.is_empty())), "{said}");
        let list: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut selections = list["items"].as_array().unwrap().clone();
        selections.iter_mut().for_each(|selection| drop(selection["status"]["observedTime"].take()));
        let planned = Planned(selections);
        planned.assert_complete();
        (planned, said)
    }

    /// The last columns of the table's second part: mean ms, USD per million, and the fullest cluster in %.
    fn totals(&self, service: &str) -> [f64; 3] {
        let table = String::from_utf8(self.run(&[]).stdout).unwrap();
        let (_, totals) = table.split_once("\nOPTIMIZED ").unwrap();
        let row = totals.lines().find(|line| line.starts_with(&format!("shop/{service} "))).unwrap();
        let cells: Vec<&str> = row.split_whitespace().collect();
        [cells[2], cells[3], cells[5].trim_end_matches('%')].map(|cell| cell.parse().unwrap())
    }
}

/// All ServiceSelections, without their times.
#[derive(Debug, PartialEq)]
struct Planned(Vec<Value>);

impl Planned {
    fn status(&self, service: &str, source: &str) -> &Value {
        let wanted = |item: &&Value| item["metadata"]["name"] == service && item["status"]["source"] == source;
        &self.0.iter().find(wanted).unwrap()["status"]
    }

    fn candidate(&self, service: &str, source: &str, exporter: &str) -> &Value {
        let candidates = self.status(service, source)["clusters"].as_array().unwrap();
        candidates.iter().find(|candidate| candidate["cluster"] == exporter).unwrap()
    }

    /// Of 1000.
    fn weight(&self, service: &str, source: &str, exporter: &str) -> u64 {
        self.candidate(service, source, exporter)["weight"].as_u64().unwrap()
    }

    fn reason(&self, service: &str, source: &str) -> Option<&str> {
        self.status(service, source)["reason"].as_str()
    }

    /// Of each exporter, as planned by the clusters together.
    fn utilisations(&self, service: &str) -> BTreeMap<&str, f64> {
        let candidates = self.status(service, CLUSTERS[0])["clusters"].as_array().unwrap().iter();
        candidates.filter_map(|one| Some((one["cluster"].as_str().unwrap(), one["utilisation"].as_f64()?))).collect()
    }

    fn assert_complete(&self) {
        for service in SERVICES {
            for source in CLUSTERS {
                let weights = CLUSTERS.map(|exporter| self.weight(service, source, exporter));
                assert_eq!(weights.iter().sum::<u64>(), 1000, "{service} from {source}: {weights:?}");
            }
        }
    }
}

#[test]
fn money_buys_time_cost_is_cheapest_and_slowest_performance_the_other_way_round_and_mixed_between() {
    let clouds = SixClouds::new();
    let planned = clouds.plan();
    for (service, source) in SERVICES.iter().flat_map(|service| CLUSTERS.map(|source| (service, source))) {
        assert_eq!(
            (planned.status(service, source)["mode"].as_str(), planned.reason(service, source)),
            (Some("optimized"), None)
        );
    }
    let [cost, mixed, performance] = SERVICES.map(|service| clouds.totals(service));
    assert!(cost[0] > mixed[0] && mixed[0] > performance[0], "ms: {cost:?} {mixed:?} {performance:?}");
    assert!(cost[1] < mixed[1] && mixed[1] < performance[1], "USD: {cost:?} {mixed:?} {performance:?}");
    assert!([cost, mixed, performance].iter().all(|totals| totals[2] <= 90.0), "nobody above the target utilisation");
}

#[test]
fn what_the_readme_of_the_example_prints_is_what_there_is_to_see() {
    let table = String::from_utf8(SixClouds::new().run(&[]).stdout).unwrap();
    let (_, printed) = README.split_once("$ landfall plan examples/six-clouds\n").unwrap();
    let (printed, _) = printed.split_once("```").unwrap();
    let rows: Vec<&str> = printed.lines().filter(|line| *line != "…").collect();
    assert!(rows.len() > 10);
    rows.into_iter().for_each(|row| assert!(table.lines().any(|line| line == row), "{row:?} is not in\n{table}"));
}

#[test]
fn every_cluster_plans_the_same_for_all_and_publishes_what_its_shares_come_from() {
    let planned = SixClouds::new().plan();
    for service in SERVICES {
        for (source, exporter) in CLUSTERS.iter().flat_map(|source| CLUSTERS.map(|exporter| (source, exporter))) {
            let seen = |from: &str, term: &str| planned.candidate(service, from, exporter)[term].as_f64().unwrap();
            for shared in ["congestionMs", "capacityRps", "utilisation"] {
                let (here, there) = (seen(source, shared), seen(CLUSTERS[0], shared));
                assert!((here - there).abs() < 1e-9, "{service}: {shared} of {exporter} is {here} and {there}");
            }
        }
        // What a cluster is asked for is what all rows send there, up to the rounding of weights to thousandths.
        let demands = [
            ("aws-euc1", 700.0),
            ("aws-use1", 900.0),
            ("az-eus", 400.0),
            ("az-weu", 500.0),
            ("gcp-usc1", 500.0),
            ("op-fra", 150.0),
        ];
        for exporter in CLUSTERS {
            let sent = demands.map(|(source, rps)| rps * planned.weight(service, source, exporter) as f64 / 1e3);
            let candidate = planned.candidate(service, exporter, exporter);
            let planned = candidate["utilisation"].as_f64().unwrap() * candidate["capacityRps"].as_f64().unwrap();
            assert!(
                (sent.iter().sum::<f64>() - planned).abs() < 3.0,
                "{service}: {exporter} is sent {sent:?}, not {planned}"
            );
        }
    }
}

#[test]
fn the_prices_of_the_example_are_those_that_are_shipped() {
    let clouds = SixClouds::new();
    let excerpt = clouds.plan();
    clouds.write_all("networkpricing.yaml", SHIPPED_PRICES);
    assert_eq!(clouds.plan(), excerpt);
}

#[test]
fn a_longer_way_is_taken_less_often() {
    let clouds = SixClouds::new();
    let to_az_eus = |clouds: &SixClouds| clouds.plan().weight("api-performance", "aws-use1", "az-eus");
    let before = to_az_eus(&clouds);
    clouds.edit("aws-use1/gateway.yaml", "last: 4.7ms", "last: 23.5ms");
    let after = to_az_eus(&clouds);
    assert!(before > 100 && after < before / 2, "{before} became {after}");
    clouds.edit("aws-use1/gateway.yaml", "last: 23.5ms", "last: 4.7ms");
    clouds.edit("az-eus/gateway.yaml", "last: 4.7ms", "last: 23.5ms");
    assert_eq!(to_az_eus(&clouds), before, "what the source measured itself counts");
}

#[test]
fn a_price_of_ones_own_goes_before_the_list_and_moves_the_shares() {
    let clouds = SixClouds::new();
    let spilled = |clouds: &SixClouds| {
        let planned = clouds.plan();
        ["aws-euc1", "op-fra"].map(|exporter| planned.weight("api-cost", "aws-use1", exporter))
    };
    let [to_aws, to_op] = spilled(&clouds);
    assert!(to_aws == 0 && to_op > 50, "{to_aws} {to_op}");
    let peering = "apiVersion: landfall.dev/v1alpha1\nkind: NetworkPricing\nmetadata: {name: peering}\nspec:\n  rules:\n  \
                   - {from: {provider: aws}, to: {provider: aws}, usdPerGb: 0}\n";
    clouds.write_all("peering.yaml", peering);
    let [to_aws, to_op] = spilled(&clouds);
    assert!(to_aws > 50 && to_op == 0, "{to_aws} {to_op}");
}

#[test]
fn what_one_cluster_cannot_serve_spills_over_and_nobody_is_planned_above_its_capacity() {
    let clouds = SixClouds::new();
    let before = clouds.plan();
    clouds.edit("gcp-usc1/clusterfacts.yaml", "demandRps: 500", "demandRps: 1500");
    let after = clouds.plan();
    for service in SERVICES {
        let at_home = |planned: &Planned| planned.weight(service, "gcp-usc1", "gcp-usc1");
        assert!(at_home(&before) == 1000 && at_home(&after) < 650, "{service}: {}", at_home(&after));
        let full = after.utilisations(service);
        assert!(full.values().all(|utilisation| *utilisation <= 0.925), "{service}: {full:?}");
    }
}

#[test]
fn more_than_all_together_can_serve_is_shared_alike() {
    let clouds = SixClouds::new();
    clouds.edit("aws-use1/clusterfacts.yaml", "demandRps: 900", "demandRps: 4650");
    let planned = clouds.plan();
    for service in SERVICES {
        let full = planned.utilisations(service);
        assert!(full.values().all(|utilisation| (utilisation - 6900.0 / 5300.0).abs() < 0.03), "{service}: {full:?}");
    }
}

#[test]
fn a_cluster_without_capacity_gets_nothing_and_says_so() {
    let clouds = SixClouds::new();
    clouds.edit("op-fra/clusterfacts.yaml", "capacityRps: 1200", "capacityRps: 0");
    let planned = clouds.plan();
    for (service, source) in SERVICES.iter().flat_map(|service| CLUSTERS.map(|source| (service, source))) {
        let candidate = planned.candidate(service, source, "op-fra");
        assert_eq!(
            (candidate["weight"].as_u64(), candidate["reason"].as_str()),
            (Some(0), Some("NoCapacity")),
            "{service} from {source}"
        );
    }
    assert_ne!(planned.weight("api-mixed", "op-fra", "aws-euc1"), 0, "its own clients go to the neighbour");
}

#[test]
fn without_any_facts_everybody_is_near_and_the_reason_says_what_is_missing() {
    let clouds = SixClouds::new();
    CLUSTERS.iter().for_each(|cluster| std::fs::remove_file(clouds.path(cluster).join("clusterfacts.yaml")).unwrap());
    let planned = clouds.plan();
    for (service, source) in SERVICES.iter().flat_map(|service| CLUSTERS.map(|source| (service, source))) {
        let status = planned.status(service, source);
        assert_eq!((status["mode"].as_str(), status["reason"].as_str()), (Some("optimized"), Some("DemandUnknown")));
        let at_home = planned.weight(service, source, source);
        assert!(at_home > 850, "{service} from {source}: {at_home}, and the rest within a millisecond or two");
    }
    for file in ["gateway.yaml", "node.yaml", "networkpricing.yaml"] {
        CLUSTERS.iter().for_each(|cluster| std::fs::remove_file(clouds.path(cluster).join(file)).unwrap());
        assert_eq!(clouds.plan().weight("api-mixed", "gcp-usc1", "gcp-usc1"), 1000, "and without any {file}");
    }
}

#[test]
fn facts_that_cannot_be_are_named_and_every_client_is_answered() {
    let links = "services:\n  - {namespace: shop, name: api-cost, ";
    let far = format!("links: [{{cluster: az-eus, rttMs: 3.2e10}}]\n  {links}");
    let cases = [
        ("demandRps: 900", "demandRps: -1", "spec.services[0].demandRps: -1 is not a number from 0 to 10000000"),
        ("demandRps: 900", "demandRps: .nan", "spec.services[0].demandRps: NaN is not a number"),
        ("capacityRps: 900", "capacityRps: .inf", "spec.services[0].capacityRps: inf is not a number"),
        ("demandRps: 900", "demandRps: 1e300", "; the most counts instead"),
        (
            "serviceTimeMs: 20",
            "serviceTimeMs: 1e9",
            "spec.services[0].serviceTimeMs: 1000000000 is not a number from 0 to 60000",
        ),
        (links, &far, "spec.links[0].rttMs: 32000000000 is not a number from 0 to 60000"),
        ("demandRps", "demandRsp", "spec.services[0].demandRsp: there is no such field"),
        (
            "cluster: aws-use1",
            "cluster: Aws_Use1",
            "spec.cluster: cluster id \"Aws_Use1\" is not one or two DNS labels",
        ),
    ];
    for (right, wrong, says) in cases {
        let clouds = SixClouds::new();
        clouds.edit("aws-use1/clusterfacts.yaml", right, wrong);
        let (planned, said) = clouds.plan_of_what_is_right();
        assert!(said.contains("/aws-use1/clusterfacts.yaml:"), "{wrong}: {said}");
        assert!(
            said.contains("ClusterFacts submariner-k8s-broker/aws-use1: ") && said.contains(says),
            "{wrong}: {said}"
        );
        let modes = CLUSTERS.map(|source| planned.status("api-mixed", source)["mode"].as_str().unwrap().to_owned());
        assert!(modes.iter().all(|mode| mode == "optimized"), "{wrong}: {modes:?}");
    }
}

#[test]
fn a_round_trip_that_no_gateway_can_have_measured_is_named_and_counts_as_a_minute() {
    let clouds = SixClouds::new();
    clouds.edit("aws-use1/gateway.yaml", "last: 4.7ms", "last: 8760h0m0s");
    let (a_year, said) = clouds.plan_of_what_is_right();
    let expected =
        "Gateway submariner-operator/aws-use1-gateway: status.connections[1].latencyRTT.last: 31536000000 is not";
    assert!(said.contains("/aws-use1/gateway.yaml:") && said.contains(expected), "{said}");
    clouds.edit("aws-use1/gateway.yaml", "last: 8760h0m0s", "last: 1m0s");
    assert_eq!(clouds.plan(), a_year);
}

#[test]
fn the_same_files_have_the_same_plan_whatever_they_are_called() {
    let clouds = SixClouds::new();
    let once = clouds.plan();
    assert_eq!(clouds.plan(), once);
    for cluster in CLUSTERS {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(clouds.path(cluster)).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        for (i, file) in files.iter().rev().enumerate() {
            std::fs::rename(file, file.with_file_name(format!("{i}.yaml"))).unwrap();
        }
    }
    assert_eq!(clouds.plan(), once);
}

/// Every service has its policy in one file; these are settings of the first, which is `api-cost`.
fn with_settings(settings: &str) -> SixClouds {
    let clouds = SixClouds::new();
    clouds.edit_all(
        "selectionpolicies.yaml",
        "optimizedLoadBalancingParams: cost\n  optimized: {responseBytes: 20000}",
        settings,
    );
    clouds
}

#[test]
fn every_setting_has_an_effect() {
    let totals = |settings: &str| with_settings(settings).totals("api-cost");
    let rate = |usd: &str| totals(&format!("optimized: {{responseBytes: 20000, usdPerMsPerMillionRequests: {usd}}}"));
    let presets = [("0.0001", "api-cost"), ("0.01", "api-mixed"), ("10", "api-performance")];
    for (usd, preset) in presets {
        assert_eq!(rate(usd), SixClouds::new().totals(preset), "a preset is a rate");
    }
    let [low, between, high] = ["0.01", "0.05", "0.5"].map(rate);
    assert!(low[0] > between[0] && between[0] > high[0] && low[1] < between[1] && between[1] < high[1], "{between:?}");

    let mixed = |setting: &str| totals(&format!("optimized: {{responseBytes: 20000, {setting}}}"));
    let default = mixed("targetUtilisation: 0.9");
    let roomy = mixed("targetUtilisation: 0.7");
    assert!(roomy[2] < 75.0 && default[2] > 80.0, "target utilisation: {roomy:?}");
    let light = totals("optimized: {responseBytes: 0, requestBytes: 0}");
    assert!(
        light[0] < default[0] && light[1] <= 0.0,
        "small messages are free, and the nearest can have them: {light:?}"
    );
    let chatty = mixed("roundTripsPerRequest: 3");
    assert!(
        chatty[1] > default[1],
        "the way weighs three times as much, and a shorter one is worth its price: {chatty:?}"
    );
    let coarse = mixed("epsilonMs: 50");
    assert!(coarse[0] > default[0] + 5.0, "50 ms apart is near: {coarse:?}");
    let bursty = mixed("burstiness: 5");
    assert!(bursty[2] < default[2], "bursts need room: {bursty:?}");
}

#[test]
fn the_documentation_has_what_exchange_rates_buy() {
    for rate in ["0.0001", "0.01", "0.02", "0.03", "0.1", "1", "10"] {
        let settings = format!("optimized: {{responseBytes: 20000, usdPerMsPerMillionRequests: {rate}}}");
        let table = String::from_utf8(with_settings(&settings).run(&[]).stdout).unwrap();
        let row = table.lines().rfind(|line| line.starts_with("shop/api-cost ")).unwrap();
        let cells: Vec<&str> = row.split_whitespace().skip(2).collect();
        let is_it = |line: &str| {
            let (name, rest) = line.split_once(" | ").unwrap_or_default();
            name.split(' ').nth(1) == Some(rate) && rest == format!("{} |", cells.join(" | "))
        };
        assert!(DOCUMENTATION.lines().any(is_it), "docs/optimizer.md should say {rate}: {cells:?}");
    }
}

#[test]
fn capacity_per_pod_counts_where_no_cluster_says_what_it_can_bear() {
    let clouds = with_settings("optimized: {capacityRpsPerPod: 250}");
    for cluster in CLUSTERS {
        let file = format!("{cluster}/clusterfacts.yaml");
        let text = std::fs::read_to_string(clouds.path(&file)).unwrap();
        let without: String =
            text.split(", ").filter(|part| !part.starts_with("capacityRps")).collect::<Vec<_>>().join(", ");
        clouds.write(&file, &without);
    }
    let capacity = |service| clouds.plan().candidate(service, "op-fra", "op-fra")["capacityRps"].as_f64().unwrap();
    assert!((capacity("api-cost") - 250.0).abs() < 1e-9 && (capacity("api-mixed") - 100.0).abs() < 1e-9);
}

#[test]
fn a_setting_out_of_its_range_is_refused_and_named() {
    let cases = [
        ("optimized: {targetUtilisation: 1}", "spec.optimized.targetUtilisation: 1 is not a number from 0.1 to 0.99"),
        (
            "optimized: {usdPerMsPerMillionRequests: 0}",
            "spec.optimized.usdPerMsPerMillionRequests: 0 is not a number above 0",
        ),
        ("optimized: {epsilonMs: .nan}", "spec.optimized.epsilonMs: NaN is not a number from 0.01 to 1000"),
        ("optimized: {roundTripsPerRequest: 4}", "spec.optimized.roundTripsPerRequest: 4 is not a number from 1 to 3"),
        ("optimized: {targetUtilization: 0.8}", "spec.optimized.targetUtilization: there is no such field"),
        ("optimizedLoadBalancingParams: fast", "spec.optimizedLoadBalancingParams: unknown variant `fast`"),
    ];
    for (settings, says) in cases {
        let (planned, said) = with_settings(settings).plan_of_what_is_right();
        assert!(said.contains("SelectionPolicy shop/api-cost: ") && said.contains(says), "{settings}: {said}");
        assert_eq!(planned.status("api-mixed", "op-fra")["mode"], "optimized", "{settings}: the other policies count");
    }
}

#[test]
fn remarks_are_about_what_is_wrong_and_not_about_shares_that_round_to_nothing() {
    let clouds = SixClouds::new();
    let remarks = |clouds: &SixClouds| {
        let table = String::from_utf8(clouds.run(&[]).stdout).unwrap();
        let rows = table.lines().skip(1).take_while(|line| !line.is_empty());
        rows.map(|line| line.rsplit("  ").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(remarks(&clouds).iter().all(|remark| remark == "-"));
    clouds.edit_all("selectionpolicies.yaml", "optimized: {responseBytes: 20000}", "optimized: {epsilonMs: 4}");
    let planned = clouds.plan();
    let rounded = |candidate: &&Value| candidate["weight"] == 0 && candidate["reason"] == "Optimized";
    let all = planned.0.iter().flat_map(|selection| selection["status"]["clusters"].as_array().unwrap());
    assert_ne!(all.filter(rounded).count(), 0, "or this test says nothing");
    assert!(remarks(&clouds).iter().all(|remark| remark == "-"), "{:?}", remarks(&clouds));
}

/// The load of `aws-use1` in `api-cost`, as a part of its capacity, when its clients share `caches` resolvers that each ask
/// once per time to live: what the plan says, and what it is at the worst of many moments. Whatever the caches hold at a
/// moment are the last so many answers.
fn utilisation_behind(caches: u32, point: impl FnMut() -> u64) -> [f64; 2] {
    let plan = SixClouds::new().plan();
    let weights = CLUSTERS.map(|exporter| u32::try_from(plan.weight("api-cost", "aws-use1", exporter)).unwrap());
    let draw = Draw::new(weights).unwrap();
    let answers: Vec<usize> = std::iter::repeat_with(point).take(20_000).map(|point| draw.hit(point).index).collect();
    let at_home = |held: &[usize]| held.iter().filter(|exporter| **exporter == 1).count();
    let most = answers.windows(caches as usize).map(at_home).max().unwrap();
    [f64::from(weights[1]) / 1e3, most as f64 / f64::from(caches)]
}

#[test]
fn behind_caches_the_load_is_as_planned_give_or_take_two_of_them() {
    for caches in [10, 30, 100, 300] {
        let sequence = Sequence::default();
        let [planned, in_sequence] = utilisation_behind(caches, || sequence.next_point());
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let xorshift = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let [_, at_random] = utilisation_behind(caches, xorshift);
        let row = format!("| {caches} | {in_sequence:.3} | {at_random:.3} |");
        assert!(DOCUMENTATION.contains(&row), "docs/optimizer.md should say {row}");
        assert!(in_sequence - planned <= 2.0 / f64::from(caches), "{caches}: {in_sequence}");
        assert!(at_random >= in_sequence, "{caches}: {at_random}");
    }
}

/// How many of a thousand queries each exporter of `service` answers.
fn split(client: &mut Client, service: &str, queries: u32) -> [f64; 6] {
    let name = format!("{service}.shop.svc.clusterset.local");
    let mut answers = [0.0; 6];
    for _ in 0..queries {
        let [address] = client.addresses(&name).unwrap()[..] else { unreachable!("one address, drawn by weight") };
        answers[usize::from(address.octets()[1]) - 1] += 1000.0 / f64::from(queries);
    }
    answers
}

fn assert_follows(client: &mut Client, plan: &Planned, service: &str, source: &str) {
    for (exporter, answered) in CLUSTERS.into_iter().zip(split(client, service, 3000)) {
        let planned = plan.weight(service, source, exporter) as f64;
        assert!((answered - planned).abs() < 5.0, "{exporter} answered {answered:.1} of 1000, planned were {planned}");
    }
}

/// Of any hundred answers in a row some are of each exporter that has a share of a few percent.
fn wait_until(client: &mut Client, service: &str, wanted: impl Fn(&[f64; 6]) -> bool) {
    let since = Instant::now();
    loop {
        let found = split(client, service, 100);
        if wanted(&found) {
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(10), "the answers do not follow: {found:?}");
    }
}

#[test]
fn dns_answers_follow_the_plan_and_what_other_clusters_say_of_themselves() {
    let clouds = SixClouds::new();
    let fleet = Fleet::up(Path::new(env!("CARGO_BIN_EXE_landfall")), clouds.0.path(), CLUSTERS.len()).unwrap();
    let (source, service, az_eus) = ("aws-use1", "api-performance", 2);
    let mut client = Client::new(fleet.servers().nth(1).unwrap()).unwrap();
    client.wait_for(&format!("{service}.shop.svc.clusterset.local")).unwrap();
    // Until every other cluster has told its facts there is another plan.
    wait_until(&mut client, service, |split| split[az_eus] > 0.0);
    assert_follows(&mut client, &clouds.plan(), service, source);

    clouds.edit("az-eus/clusterfacts.yaml", "capacityRps: 700", "capacityRps: 0");
    wait_until(&mut client, service, |split| split[az_eus] <= 0.0);
    assert_follows(&mut client, &clouds.plan(), service, source);
}
