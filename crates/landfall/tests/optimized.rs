//! Optimized mode, as a user sees it who edits the manifests of `examples/six-clouds`.

#![allow(clippy::unwrap_used, reason = "a failed unwrap names its line")]
#![allow(clippy::disallowed_methods, reason = "a promise about time needs a clock")]

#[path = "../examples/client/mod.rs"]
mod client;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use client::{Client, Fleet};
use landfall_core::pick::{Sequence, WeightedTable};
use serde_json::Value;

/// Clusters in the order of their DNS ports. The endpoints of the first one are in 10.1.0.0/16, and so on.
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

    /// Replaces a file atomically, as an editor does, so that no reader sees half a file.
    fn write(&self, file: &str, text: &str) {
        let draft = self.path("draft");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, self.path(file)).unwrap();
    }

    /// Replaces every `from`. Asserts that there is at least one.
    fn edit(&self, file: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(file)).unwrap();
        assert!(text.contains(from), "{file} does not have {from:?}");
        self.write(file, &text.replace(from, to));
    }

    /// Edits the file of this name in every cluster.
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

    /// Returns the plan. Asserts that no input was ignored.
    fn plan(&self) -> Planned {
        let (planned, stderr) = self.plan_and_stderr();
        assert_eq!(stderr, "");
        planned
    }

    /// Returns the plan, and the lines about ignored input.
    fn plan_and_stderr(&self) -> (Planned, String) {
        let output = self.run(&["-o", "json"]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(i32::from(!stderr.is_empty())), "{stderr}");
        let list: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut selections = list["items"].as_array().unwrap().clone();
        selections.iter_mut().for_each(|selection| drop(selection["status"]["observedTime"].take()));
        let planned = Planned(selections);
        planned.assert_complete();
        (planned, stderr)
    }

    /// Returns columns of the table's second part: mean ms, USD per million, and the utilization of the fullest cluster in %.
    fn totals(&self, service: &str) -> [f64; 3] {
        let table = String::from_utf8(self.run(&[]).stdout).unwrap();
        let (_, totals) = table.split_once("\nOPTIMIZED ").unwrap();
        let row = totals.lines().find(|line| line.starts_with(&format!("shop/{service} "))).unwrap();
        let cells: Vec<&str> = row.split_whitespace().collect();
        [cells[2], cells[3], cells[5].trim_end_matches('%')].map(|cell| cell.parse().unwrap())
    }
}

/// All ServiceSelections of a plan, without their times.
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

    /// Returns the weight in parts of 1000.
    fn weight(&self, service: &str, source: &str, exporter: &str) -> u64 {
        self.candidate(service, source, exporter)["weight"].as_u64().unwrap()
    }

    fn reason(&self, service: &str, source: &str) -> Option<&str> {
        self.status(service, source)["reason"].as_str()
    }

    /// Returns the planned utilization of each exporter.
    fn utilizations(&self, service: &str) -> BTreeMap<&str, f64> {
        let candidates = self.status(service, CLUSTERS[0])["clusters"].as_array().unwrap().iter();
        candidates.filter_map(|one| Some((one["cluster"].as_str().unwrap(), one["utilization"].as_f64()?))).collect()
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
fn cost_is_cheapest_performance_is_fastest_and_mixed_is_between() {
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
    assert!(
        [cost, mixed, performance].iter().all(|totals| totals[2] <= 90.0),
        "no cluster above the target utilization"
    );
}

#[test]
fn readme_of_the_example_has_the_printed_table() {
    let table = String::from_utf8(SixClouds::new().run(&[]).stdout).unwrap();
    let (_, printed) = README.split_once("$ landfall plan examples/six-clouds\n").unwrap();
    let (printed, _) = printed.split_once("```").unwrap();
    let rows: Vec<&str> = printed.lines().filter(|line| *line != "…").collect();
    assert!(rows.len() > 10);
    rows.into_iter().for_each(|row| assert!(table.lines().any(|line| line == row), "{row:?} is not in\n{table}"));
}

#[test]
fn all_clusters_plan_the_same_and_publish_the_terms_of_their_shares() {
    let planned = SixClouds::new().plan();
    for service in SERVICES {
        for (source, exporter) in CLUSTERS.iter().flat_map(|source| CLUSTERS.map(|exporter| (source, exporter))) {
            let seen = |from: &str, term: &str| planned.candidate(service, from, exporter)[term].as_f64().unwrap();
            for shared in ["congestionMs", "capacityRps", "utilization"] {
                let (here, there) = (seen(source, shared), seen(CLUSTERS[0], shared));
                assert!((here - there).abs() < 1e-9, "{service}: {shared} of {exporter} is {here} and {there}");
            }
        }
        // The load of a cluster is the sum of what all sources send there, up to the rounding of weights to thousandths.
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
            let planned = candidate["utilization"].as_f64().unwrap() * candidate["capacityRps"].as_f64().unwrap();
            assert!(
                (sent.iter().sum::<f64>() - planned).abs() < 3.0,
                "{service}: {exporter} is sent {sent:?}, not {planned}"
            );
        }
    }
}

#[test]
fn prices_of_the_example_equal_the_shipped_list() {
    let clouds = SixClouds::new();
    let excerpt = clouds.plan();
    clouds.write_all("networkpricing.yaml", SHIPPED_PRICES);
    assert_eq!(clouds.plan(), excerpt);
}

#[test]
fn longer_path_gets_a_smaller_share() {
    let clouds = SixClouds::new();
    let to_az_eus = |clouds: &SixClouds| clouds.plan().weight("api-performance", "aws-use1", "az-eus");
    let before = to_az_eus(&clouds);
    clouds.edit("aws-use1/gateway.yaml", "last: 4.7ms", "last: 23.5ms");
    let after = to_az_eus(&clouds);
    assert!(before > 100 && after < before / 2, "{before} became {after}");
    clouds.edit("aws-use1/gateway.yaml", "last: 23.5ms", "last: 4.7ms");
    clouds.edit("az-eus/gateway.yaml", "last: 4.7ms", "last: 23.5ms");
    assert_eq!(to_az_eus(&clouds), before, "the measurement of the source counts");
}

#[test]
fn own_price_overrides_the_default_list() {
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
fn excess_demand_spills_over_without_overloading_a_cluster() {
    let clouds = SixClouds::new();
    let before = clouds.plan();
    clouds.edit("gcp-usc1/clusterfacts.yaml", "demandRps: 500", "demandRps: 1500");
    let after = clouds.plan();
    for service in SERVICES {
        let at_home = |planned: &Planned| planned.weight(service, "gcp-usc1", "gcp-usc1");
        assert!(at_home(&before) == 1000 && at_home(&after) < 650, "{service}: {}", at_home(&after));
        let full = after.utilizations(service);
        assert!(full.values().all(|utilization| *utilization <= 0.925), "{service}: {full:?}");
    }
}

#[test]
fn demand_above_total_capacity_loads_all_clusters_equally() {
    let clouds = SixClouds::new();
    clouds.edit("aws-use1/clusterfacts.yaml", "demandRps: 900", "demandRps: 4650");
    let planned = clouds.plan();
    for service in SERVICES {
        let full = planned.utilizations(service);
        assert!(full.values().all(|utilization| (utilization - 6900.0 / 5300.0).abs() < 0.03), "{service}: {full:?}");
    }
}

#[test]
fn cluster_without_capacity_gets_no_share_and_the_reason_no_capacity() {
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
fn without_facts_clients_stay_near_and_the_reason_is_demand_unknown() {
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
fn impossible_facts_are_named_and_all_clients_are_answered() {
    let links = "services:\n  - {namespace: shop, name: api-cost, ";
    let far = format!("links: [{{cluster: az-eus, rttMs: 3.2e10}}]\n  {links}");
    let cases = [
        ("demandRps: 900", "demandRps: -1", "spec.services[0].demandRps: -1 is not a number from 0 to 10000000"),
        ("demandRps: 900", "demandRps: .nan", "spec.services[0].demandRps: NaN is not a number"),
        ("capacityRps: 900", "capacityRps: .inf", "spec.services[0].capacityRps: inf is not a number"),
        ("demandRps: 900", "demandRps: 1e300", "; the maximum is used instead"),
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
    for (right, wrong, message) in cases {
        let clouds = SixClouds::new();
        clouds.edit("aws-use1/clusterfacts.yaml", right, wrong);
        let (planned, stderr) = clouds.plan_and_stderr();
        assert!(stderr.contains("/aws-use1/clusterfacts.yaml:"), "{wrong}: {stderr}");
        assert!(
            stderr.contains("ClusterFacts submariner-k8s-broker/aws-use1: ") && stderr.contains(message),
            "{wrong}: {stderr}"
        );
        let modes = CLUSTERS.map(|source| planned.status("api-mixed", source)["mode"].as_str().unwrap().to_owned());
        assert!(modes.iter().all(|mode| mode == "optimized"), "{wrong}: {modes:?}");
    }
}

#[test]
fn impossible_round_trip_is_named_and_counts_as_a_minute() {
    let clouds = SixClouds::new();
    clouds.edit("aws-use1/gateway.yaml", "last: 4.7ms", "last: 8760h0m0s");
    let (a_year, stderr) = clouds.plan_and_stderr();
    let expected =
        "Gateway submariner-operator/aws-use1-gateway: status.connections[1].latencyRTT.last: 31536000000 is not";
    assert!(stderr.contains("/aws-use1/gateway.yaml:") && stderr.contains(expected), "{stderr}");
    clouds.edit("aws-use1/gateway.yaml", "last: 8760h0m0s", "last: 1m0s");
    assert_eq!(clouds.plan(), a_year);
}

#[test]
fn file_names_do_not_change_the_plan() {
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

/// Returns the example with these settings in the policy of `api-cost`.
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
    let default = mixed("targetUtilization: 0.9");
    let roomy = mixed("targetUtilization: 0.7");
    assert!(roomy[2] < 75.0 && default[2] > 80.0, "target utilization: {roomy:?}");
    let light = totals("optimized: {responseBytes: 0, requestBytes: 0}");
    assert!(
        light[0] < default[0] && light[1] <= 0.0,
        "small messages cost nothing and go to the nearest cluster: {light:?}"
    );
    let chatty = mixed("roundTripsPerRequest: 3");
    assert!(chatty[1] > default[1], "the path counts three times, so a shorter one is worth its price: {chatty:?}");
    let coarse = mixed("epsilonMs: 50");
    assert!(coarse[0] > default[0] + 5.0, "50 ms of difference count as equal: {coarse:?}");
    let bursty = mixed("burstiness: 5");
    assert!(bursty[2] < default[2], "bursts need headroom: {bursty:?}");
}

#[test]
fn documentation_has_the_effect_of_exchange_rates() {
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
fn capacity_per_pod_counts_if_no_cluster_reports_a_capacity() {
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
fn setting_out_of_range_is_refused_and_named() {
    let cases = [
        ("optimized: {targetUtilization: 1}", "spec.optimized.targetUtilization: 1 is not a number from 0.1 to 0.99"),
        (
            "optimized: {usdPerMsPerMillionRequests: 0}",
            "spec.optimized.usdPerMsPerMillionRequests: 0 is not a number above 0",
        ),
        ("optimized: {epsilonMs: .nan}", "spec.optimized.epsilonMs: NaN is not a number from 0.01 to 1000"),
        ("optimized: {roundTripsPerRequest: 4}", "spec.optimized.roundTripsPerRequest: 4 is not a number from 1 to 3"),
        (
            "optimized: {targetUtilisation: 0.8}",
            "spec.optimized.targetUtilisation was renamed; use spec.optimized.targetUtilization",
        ),
        ("optimizedLoadBalancingParams: fast", "spec.optimizedLoadBalancingParams: unknown variant `fast`"),
    ];
    for (settings, message) in cases {
        let (planned, stderr) = with_settings(settings).plan_and_stderr();
        assert!(stderr.contains("SelectionPolicy shop/api-cost: ") && stderr.contains(message), "{settings}: {stderr}");
        assert_eq!(planned.status("api-mixed", "op-fra")["mode"], "optimized", "{settings}: the other policies count");
    }
}

#[test]
fn remarks_do_not_name_shares_that_round_to_zero() {
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
    assert_ne!(all.filter(rounded).count(), 0, "the test needs shares that round to zero");
    assert!(remarks(&clouds).iter().all(|remark| remark == "-"), "{:?}", remarks(&clouds));
}

/// Returns the share of its own clients' requests that `aws-use1` gets for `api-cost` when they share `caches` resolvers, each
/// of which asks once per TTL: as planned, and at the worst of many moments. At any moment the caches hold the last
/// `caches` answers.
fn share_behind(caches: u32, point: impl FnMut() -> u64) -> [f64; 2] {
    let plan = SixClouds::new().plan();
    let weights = CLUSTERS.map(|exporter| u32::try_from(plan.weight("api-cost", "aws-use1", exporter)).unwrap());
    let draw = WeightedTable::new(weights).unwrap();
    let answers: Vec<usize> = std::iter::repeat_with(point).take(20_000).map(|point| draw.draw(point).index).collect();
    let at_home = |held: &[usize]| held.iter().filter(|exporter| **exporter == 1).count();
    let most = answers.windows(caches as usize).map(at_home).max().unwrap();
    [f64::from(weights[1]) / 1e3, most as f64 / f64::from(caches)]
}

#[test]
fn load_behind_caches_differs_from_the_plan_by_at_most_two_caches() {
    for caches in [10, 30, 100, 300] {
        let sequence = Sequence::default();
        let [planned, in_sequence] = share_behind(caches, || sequence.next_point());
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let xorshift = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let [_, at_random] = share_behind(caches, xorshift);
        let row = format!("| {caches} | {in_sequence:.3} | {at_random:.3} |");
        assert!(DOCUMENTATION.contains(&row), "docs/optimizer.md should say {row}");
        assert!(in_sequence - planned <= 2.0 / f64::from(caches), "{caches}: {in_sequence}");
        assert!(at_random >= in_sequence, "{caches}: {at_random}");
    }
}

/// Returns how many of a thousand answers name each exporter of `service`.
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

/// Waits for a split of a hundred answers: enough for some of each exporter that has a share of a few percent.
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
fn dns_answers_follow_the_plan_and_the_facts_of_other_clusters() {
    let clouds = SixClouds::new();
    let fleet = Fleet::up(Path::new(env!("CARGO_BIN_EXE_landfall")), clouds.0.path(), CLUSTERS.len()).unwrap();
    let (source, service, az_eus) = ("aws-use1", "api-performance", 2);
    let mut client = Client::new(fleet.servers().nth(1).unwrap()).unwrap();
    client.wait_for(&format!("{service}.shop.svc.clusterset.local")).unwrap();
    // The plan is another one until all other clusters have published their facts.
    wait_until(&mut client, service, |split| split[az_eus] > 0.0);
    assert_follows(&mut client, &clouds.plan(), service, source);

    clouds.edit("az-eus/clusterfacts.yaml", "capacityRps: 700", "capacityRps: 0");
    wait_until(&mut client, service, |split| split[az_eus] <= 0.0);
    assert_follows(&mut client, &clouds.plan(), service, source);
}
