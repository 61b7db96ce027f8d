//! `landfall explain` as a user sees it.

#![allow(clippy::unwrap_used, reason = "a failed unwrap names its line")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use landfall_core::name::{ByCluster, ClusterId};
use landfall_core::optimize::cost::UnitCost;
use landfall_core::optimize::facts::{Exporter, Facts, Source, Tuning};
use landfall_core::optimize::{solve_jointly, weights};
use landfall_core::resolve::resolve;
use landfall_core::rule::{Candidate, NOMINAL_TOTAL, Reason, Rule};
use landfall_core::snapshot::Health;
use serde_json::Value;

const CLUSTERS: [&str; 6] = ["aws-euc1", "aws-use1", "az-eus", "az-weu", "gcp-usc1", "op-fra"];
const SERVICES: [&str; 3] = ["shop/api-cost", "shop/api-mixed", "shop/api-performance"];

fn landfall(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_landfall")).args(arguments).env_remove("KUBECONFIG").output().unwrap()
}

fn example(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name).to_str().unwrap().to_owned()
}

/// Returns the output. Asserts that nothing needs attention.
fn explained(service: &str, from: &str, dir: &str, more: &[&str]) -> String {
    let output = landfall(&[&["explain", service, "--from", from, dir], more].concat());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
    String::from_utf8(output.stdout).unwrap()
}

fn json(service: &str, from: &str, dir: &str) -> Value {
    serde_json::from_str(&explained(service, from, dir, &["-o", "json"])).unwrap()
}

fn id(name: &str) -> ClusterId {
    ClusterId::new(name).unwrap()
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("{name} is not in {value}"))
}

fn entries<T, M: FromIterator<(ClusterId, T)>>(value: &Value, read: impl Fn(&Value) -> T) -> M {
    value.as_object().unwrap().iter().map(|(name, value)| (id(name), read(value))).collect()
}

fn facts(printed: &Value) -> Facts {
    let exporter = |value: &Value| Exporter {
        capacity_rps: number(value, "capacityRps"),
        residual_rps: number(value, "residualRps"),
        service_ms: number(value, "serviceMs"),
        measured_rps: number(value, "measuredRps"),
        deviation: number(value, "deviation"),
        ..Exporter::default()
    };
    let cost = |value: &Value| UnitCost { latency_ms: number(value, "latencyMs"), price_ms: number(value, "priceMs") };
    let source = |value: &Value| Source {
        demand_rps: number(value, "demandRps"),
        costs: Arc::new(entries(&value["costs"], cost)),
        ..Source::default()
    };
    Facts {
        exporters: entries(&printed["exporters"], exporter),
        sources: Arc::new(entries(&printed["sources"], source)),
        demand_unknown: printed["demandUnknown"].as_bool().unwrap(),
    }
}

fn tuning(printed: &Value) -> Tuning {
    let number = |name| number(printed, name);
    Tuning {
        target_utilization: number("targetUtilization"),
        burstiness: number("burstiness"),
        epsilon_ms: number("epsilonMs"),
        trim_gain: number("trimGain"),
        trim_dead_band: number("trimDeadBand"),
        demand_gain: number("demandGain"),
        demand_least_alpha: number("demandLeastAlpha"),
        demand_jump: number("demandJump"),
        trend_gain: number("trendGain"),
        trend_damping: number("trendDamping"),
        headroom_deviations: number("headroomDeviations"),
        deviation_gain: number("deviationGain"),
        fallback_theta: number("fallbackTheta"),
        hysteresis: number("hysteresis"),
    }
}

/// Solves again from the printed inputs. Returns the weights of the exporters, in parts of 1000.
fn recomputed(inputs: &Value, source: &str) -> BTreeMap<String, u64> {
    let solution =
        solve_jointly(&facts(&inputs["facts"]), &tuning(&inputs["objective"]["tuning"]), &ByCluster::new()).unwrap();
    let nominal = weights(&solution.row(&id(source)).unwrap().shares, NOMINAL_TOTAL);
    let candidate = |(exporter, nominal): (&landfall_core::optimize::PlannedExporter, u32)| Candidate {
        cluster: exporter.cluster.clone(),
        priority: 0,
        nominal,
        floor: 0,
        basis: Reason::Optimized,
        terms: None,
    };
    let candidates = solution.exporters.iter().zip(nominal).map(candidate).collect();
    let rule =
        Rule { mode: Default::default(), fallback: None, method: None, planned_load: None, policy: None, candidates };
    resolve(&rule, |_| Health::Ready).iter().map(|one| (one.cluster.to_string(), one.weight.into())).collect()
}

#[test]
fn printed_inputs_reproduce_the_weights() {
    for (service, from) in SERVICES.iter().flat_map(|service| CLUSTERS.map(|from| (service, from))) {
        let explanation = json(service, from, &example("six-clouds"));
        let printed = explanation["clusters"].as_array().unwrap().iter();
        let printed: BTreeMap<String, u64> =
            printed.map(|one| (one["cluster"].as_str().unwrap().to_owned(), one["weight"].as_u64().unwrap())).collect();
        assert_eq!(recomputed(&explanation["optimized"]["inputs"], from), printed, "{service} from {from}");
    }
}

#[test]
fn every_number_has_its_source() {
    let text = explained("shop/api-mixed", "aws-use1", &example("six-clouds"), &[]);
    let line = |begins: &str| text.lines().rfind(|line| line.starts_with(begins)).unwrap_or_else(|| panic!("{text}"));
    let op_fra = text.lines().filter(|line| line.starts_with("op-fra")).nth(1).unwrap();
    for words in [
        "86.3 (Gateway)",
        "0.09 there (NetworkPricing, rule 2), 0 back (no NetworkPricing rule: free)",
        "1200 (ClusterFacts of op-fra)",
    ] {
        assert!(op_fra.contains(words), "{op_fra}");
    }
    assert!(line("demand: ").contains("900 requests/s; ClusterFacts of aws-use1"));
    assert!(line("aws-use1 is full").contains("what does not fit goes to op-fra"), "{text}");
    assert!(line("if op-fra's RTT rose by").contains("aws-euc1 would get a share"), "{text}");
    assert!(line("round-robin ").contains("75%"), "{text}");
    // The cost is the sum of latency, price, service time and congestion.
    let explanation = json("shop/api-mixed", "aws-use1", &example("six-clouds"));
    for terms in explanation["clusters"].as_array().unwrap().iter().map(|one| &one["terms"]) {
        let sum: f64 =
            ["latencyMs", "priceMs", "serviceMs", "congestionMs"].iter().map(|term| number(terms, term)).sum();
        assert!((sum - number(terms, "costMs")).abs() < 1e-9, "{terms}");
    }
}

/// Returns a copy of the six clouds with a text replaced in the manifests of `aws-use1`.
fn copy_with(before: &str, after: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for cluster in CLUSTERS {
        std::fs::create_dir(copy.path().join(cluster)).unwrap();
        for file in std::fs::read_dir(Path::new(&example("six-clouds")).join(cluster)).unwrap() {
            let file = file.unwrap();
            let text = std::fs::read_to_string(file.path()).unwrap();
            let text = if cluster == "aws-use1" { text.replace(before, after) } else { text };
            std::fs::write(copy.path().join(cluster).join(file.file_name()), text).unwrap();
        }
    }
    copy
}

#[test]
fn jitter_and_loss_are_shown_only_if_there_is_some() {
    let explained = |dir: &Path| explained("shop/api-mixed", "aws-use1", dir.to_str().unwrap(), &[]);
    let without = explained(example("six-clouds").as_ref());
    assert!(!without.contains("loss"), "{without}");
    let link = "  cluster: aws-use1\n  links: [{cluster: op-fra, jitterMs: 4, loss: 0.02}]\n";
    let text = explained(copy_with("  cluster: aws-use1\n", link).path());
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect();
    for line in [
        ["op-fra", "jitter, ms", "4 (ClusterFacts of aws-use1)"],
        ["op-fra", "loss, %", "2 (ClusterFacts of aws-use1)"],
    ] {
        assert!(lines.iter().any(|cells| *cells == line), "{line:?} in {text}");
    }
}

#[test]
fn service_that_is_not_optimized_is_explained_too() {
    let text = explained("demo/service-1", "c1", &example("three-clusters"), &[]);
    assert!(text.contains("weighted-round-robin, by policy demo/service-1"), "{text}");
    assert!(text.contains("clients stay in their own cluster while it can answer"), "{text}");
    let explanation = json("demo/service-1", "c1", &example("three-clusters"));
    assert!(explanation["optimized"].is_null());
    let asked: Vec<_> = explanation["clusters"].as_array().unwrap().iter().map(|one| &one["weightAsked"]).collect();
    assert_eq!(asked, ["10", "5"]);
}

#[test]
fn unready_cluster_is_listed_with_its_reason_and_no_ready_cluster_exits_with_1() {
    let copy = copy_with("[10.6.2.10], conditions: {ready: true}", "[10.6.2.10], conditions: {ready: false}");
    let dir = copy.path().to_str().unwrap();
    let explanation = json("shop/api-mixed", "aws-use1", dir);
    let op_fra = explanation["clusters"].as_array().unwrap().iter().find(|one| one["cluster"] == "op-fra").unwrap();
    assert_eq!((op_fra["weight"].as_u64(), op_fra["reason"].as_str()), (Some(0), Some("NoReadyEndpoints")));
    assert!(
        op_fra["inputs"]["capacityRps"]["value"].as_f64() == Some(1200.0),
        "the capacity that it would have: {op_fra}"
    );
    let slices = copy.path().join("aws-use1/endpointslices.yaml");
    let text = std::fs::read_to_string(&slices).unwrap();
    std::fs::write(&slices, text.replace("ready: true", "ready: false")).unwrap();
    let output = landfall(&["explain", "shop/api-mixed", "--from", "aws-use1", dir]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("NoCapacity: no ready cluster reports any capacity"));
}

#[test]
fn unknown_name_exits_with_2_and_lists_the_known_names() {
    let dir = example("three-clusters");
    let cases = [
        (
            vec!["explain", "demo/nope", "--from", "c1", &dir],
            "there is demo/db, demo/reports, demo/service-1, demo/shop",
        ),
        (vec!["explain", "demo/service-1", "--from", "c9", &dir], "c1, c2, c3"),
        (vec!["explain", "demo/service-1", &dir], "--from"),
        (vec!["explain", "demo/service-1", "--from", "c1", "/no/such/folder"], "/no/such/folder"),
        (vec!["explain", "demo/service-1", "--kubeconfig", "/no/such/file"], "/no/such/file"),
    ];
    for (arguments, words) in cases {
        let output = landfall(&arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(2), 1), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
    }
}
