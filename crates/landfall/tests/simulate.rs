//! `landfall simulate` as a user sees it.

#![allow(clippy::unwrap_used, reason = "a failed unwrap names its line")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const POLICIES: [&str; 13] = [
    "optimized",
    "optimized-rounds",
    "fallback",
    "round-robin",
    "inverse-weight",
    "inverse-weight-local-zero",
    "nearest",
    "istio-failover",
    "topology-aware",
    "waterfall-rtt",
    "waterfall-cost",
    "selfish",
    "cheapest-last-round",
];

fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_landfall")).arg("simulate").args(arguments).output().unwrap()
}

/// Returns the output. Asserts exit code 0; on a busy machine progress may be on standard error.
fn printed(arguments: &[&str]) -> String {
    let output = simulate(arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&str]) -> Vec<Value> {
    serde_json::from_str(&printed(&[arguments, &["-o", "json"]].concat())).unwrap()
}

fn file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sim/tests/scenarios");
    folder.join(name).to_str().unwrap().to_owned()
}

fn scenario() -> String {
    file("B-ep-3.yaml")
}

fn trace() -> String {
    file("traces/B-ep-3.json")
}

fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn number(object: &Value, pointer: &str) -> f64 {
    object.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer} in {object}"))
}

fn assert_sane(summary: &Value) {
    let expected = [
        "jOverOptimum",
        "l1PerRound",
        "maxUtilization",
        "meanMs",
        "p99Ms",
        "policy",
        "rejected",
        "rounds",
        "roundsOverCapacity",
        "usdPerMillion",
    ];
    assert_eq!(keys(summary), expected);
    assert_eq!(keys(&summary["jOverOptimum"]), ["first", "max", "mean", "perRound"]);
    assert_eq!(summary["jOverOptimum"]["perRound"].as_array().unwrap().len(), 30);
    assert_eq!(summary["rounds"], 30);
    assert!(number(summary, "/jOverOptimum/mean") > 0.99 && number(summary, "/jOverOptimum/first") > 0.99);
    assert!((20.0..2000.0).contains(&number(summary, "/meanMs")) && number(summary, "/p99Ms") > 50.0);
    assert!((0.0..1.0).contains(&number(summary, "/rejected")) && number(summary, "/usdPerMillion") > 0.0);
    assert!(number(summary, "/maxUtilization") > 0.5 && number(summary, "/l1PerRound") >= 0.0);
}

#[test]
fn all_policies_are_run_and_optimized_comes_first() {
    let summaries = json(&[&scenario(), "--trace", &trace()]);
    let policies: Vec<&str> = summaries.iter().map(|summary| summary["policy"].as_str().unwrap()).collect();
    assert_eq!(policies, POLICIES);
    summaries.iter().for_each(assert_sane);
    let mean = |k: usize| number(&summaries[k], "/jOverOptimum/mean");
    assert!(mean(0) < 1.01 && mean(6) > 100.0, "optimized {}, nearest {}", mean(0), mean(6));
}

#[test]
fn scenario_runs_without_a_trace() {
    let (scenario, trace) = (scenario(), trace());
    let replayed = json(&[&scenario, "--trace", &trace, "--policy", "optimized,nearest"]);
    let expanded = json(&[&scenario, "--policy", "optimized,nearest"]);
    for (replayed, expanded) in replayed.iter().zip(&expanded) {
        // Nothing is random in this scenario, so the trace has the same events. The optima come from two solvers.
        assert_sane(expanded);
        let (a, b) = (number(replayed, "/jOverOptimum/mean"), number(expanded, "/jOverOptimum/mean"));
        assert!((a / b - 1.0).abs() < 1e-3, "{a} and {b}");
        assert_eq!(replayed["meanMs"], expanded["meanMs"]);
    }
}

#[test]
fn table_names_the_scenario_and_the_measure() {
    let table = printed(&[&scenario(), "--trace", &trace(), "--policy", "nearest,optimized", "--policy", "nearest"]);
    let lines: Vec<&str> = table.lines().collect();
    let headline = "B-ep-3: the enhancement proposal example: c1 has no local export, RTT 10/5; asymmetric demand, c3 small; \
                    3 clusters, 30 rounds, mode performance, 1 ms is worth 10 USD per million requests";
    assert_eq!(lines[0], headline);
    assert!(lines[1].starts_with("J* is the lowest possible cost of each round"), "{}", lines[1]);
    let columns =
        ["POLICY", "J/J*", "MEAN MS", "P99 MS", "USD/M", "REJECTED %", "MAX UTIL", "OVER CAPACITY", "MOVED PER ROUND"];
    assert!(lines[2].starts_with("The first 10 of 30 rounds are warm-up"), "{}", lines[2]);
    assert!(columns.iter().all(|column| lines[4].contains(column)), "{}", lines[4]);
    let rows: Vec<&str> = lines[5..].iter().map(|row| row.split_whitespace().next().unwrap()).collect();
    assert_eq!(rows, ["nearest", "optimized"], "each once, in the order of the arguments");
    assert!(lines[6].contains("1.001"), "{}", lines[6]);
}

#[test]
fn yaml_equals_json() {
    let arguments = [scenario(), "--policy=optimized".to_owned()];
    let arguments = arguments.each_ref().map(String::as_str);
    let yaml: Vec<Value> = serde_saphyr::from_str(&printed(&[&arguments[..], &["-o", "yaml"]].concat())).unwrap();
    assert_eq!(yaml, json(&arguments));
}

#[test]
fn settings_change_the_optimizer_alone() {
    let default = json(&[&scenario(), "--policy", "optimized,nearest"]);
    let other =
        json(&[&scenario(), "--policy", "optimized,nearest", "--target-utilization", "0.7", "--epsilon-ms", "5"]);
    assert_ne!(default[0], other[0]);
    assert_eq!(default[1], other[1]);
}

#[test]
fn report_and_pictures_are_self_contained_and_reproducible() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str| -> Vec<(PathBuf, String)> {
        let (page, pictures) = (dir.path().join(name).with_extension("html"), dir.path().join(name));
        let (page, folder) = (page.to_str().unwrap(), pictures.to_str().unwrap());
        let policies = "nearest,optimized,waterfall-rtt";
        printed(&[&scenario(), "--trace", &trace(), "--policy", policies, "--report", page, "--pictures", folder]);
        let files = ["split.svg", "utilization.svg", "cost.svg", "pareto.svg"].map(|file| pictures.join(file));
        let all = files.into_iter().chain([PathBuf::from(page)]);
        all.map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
    };
    let first = write("a");
    let texts = |files: &[(PathBuf, String)]| files.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&first), texts(&write("b")));
    for (path, text) in &first {
        let elsewhere = text.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for needed in ["http:", "https:", "<script", "<link", "@import", " src=", " href="] {
            assert!(!elsewhere.contains(needed), "{} has {needed}", path.display());
        }
        assert!(text.contains("role=\"img\"") && text.contains("<title") && text.contains("<desc"));
        assert_eq!(text.matches("<svg").count(), text.matches("</svg>").count());
    }
    let page = &first[4].1;
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    assert!(
        page.matches("<svg").count() == 4 && page.contains("prefers-color-scheme") && page.contains("under optimized")
    );
}

#[test]
fn written_scenario_and_trace_repeat_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (scenario, trace) = (path("scenario.yaml"), path("trace.json"));
    let made_up = ["--generate", "11", "--clusters", "6", "--policy", "optimized,selfish"];
    let first = json(&[made_up.as_slice(), &["--write-scenario", &scenario, "--write-trace", &trace]].concat());
    let again = |more: &[&str]| json(&[&[scenario.as_str(), "--policy", "optimized,selfish"], more].concat());
    assert_eq!(first, again(&["--trace", &trace]));
    assert_eq!(first, again(&[]), "the seed alone is enough");
    let (second_scenario, second_trace) = (path("second.yaml"), path("second.json"));
    again(&["--trace", &trace, "--write-scenario", &second_scenario, "--write-trace", &second_trace]);
    let text = |path: &str| std::fs::read_to_string(path).unwrap();
    assert!(text(&scenario) == text(&second_scenario) && text(&trace) == text(&second_trace), "written as read");
}

#[test]
fn two_runs_print_the_same_bytes() {
    let run = |output| printed(&["--generate", "11", "--clusters", "6", "--policy", "optimized,nearest", "-o", output]);
    for output in ["json", "table"] {
        assert_eq!(run(output), run(output));
    }
}

/// Asserts exit code 2 and one line on standard error that has all of these words.
fn assert_cannot_run(arguments: &[&str], words: &[&str]) {
    let output = simulate(arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
    assert!(output.stdout.is_empty() && stderr.lines().count() == 1, "{arguments:?}: {stderr}");
    assert!(stderr.starts_with("landfall: "), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{arguments:?}: {stderr:?} does not have {word:?}");
    }
}

#[test]
fn unusable_file_exits_with_2_and_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let changed = |name: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(scenario()).unwrap();
        assert!(text.contains(from));
        let path = dir.path().join(name);
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let negative = changed("negative.yaml", "demandRps: [800.0", "demandRps: [-800.0");
    assert_cannot_run(&[&negative], &[&format!("{negative}: demandRps[0]: -800 is not a finite number from 0 to 1e9")]);
    let unknown = changed("unknown.yaml", "seed: 1", "seed: 1\ncolour: red");
    assert_cannot_run(&[&unknown], &[&unknown, "colour", "line 6"]);
    let short = changed("short.yaml", "[800.0, 200.0, 300.0]", "[800.0]");
    assert_cannot_run(&[&short], &[&format!("{short}: demandRps: 1 value for 3 clusters")]);
    assert_cannot_run(
        &[&scenario(), "--trace", &file("traces/A-sym-2.json")],
        &["A-sym-2.json: name: \"A-sym-2\" is not that of the scenario, \"B-ep-3\""],
    );
    let longer = changed("longer.yaml", "rounds: 30", "rounds: 31");
    assert_cannot_run(&[&longer, "--trace", &trace()], &["B-ep-3.json: demandRps: 30 rounds, the scenario has 31"]);
    assert_cannot_run(&[&scenario(), "--trace", &scenario()], &["B-ep-3.yaml: line 1: "]);
    assert_cannot_run(&["/no/such/file"], &["/no/such/file: cannot be read: No such file"]);
    assert_cannot_run(&[&scenario(), "--trace", "/no/such/trace"], &["/no/such/trace: cannot be read: No such file"]);
    assert_cannot_run(
        &[&scenario(), "--policy", "nearest", "--write-trace", "/no/such/trace"],
        &["/no/such/trace: cannot be written"],
    );
}

#[test]
fn invalid_arguments_are_explained() {
    let refused = |arguments: &[&str], words: &[&str]| {
        let output = simulate(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(words.iter().all(|word| stderr.contains(word)), "{arguments:?}: {stderr}");
    };
    let scenario = scenario();
    refused(&[&scenario, "--policy", "fastest"], &[&["fastest", "--policy"], POLICIES.as_slice()].concat());
    refused(&[], &["<FILE>"]);
    refused(&[&scenario, "--generate", "1"], &["--generate"]);
    refused(&["--generate", "1", "--clusters", "0"], &["expected a whole number from 1 to 200"]);
    refused(&[&scenario, "--clusters", "3"], &["--clusters"]);
    for flag in ["--target-utilization", "--target-utilisation"] {
        refused(&[&scenario, flag, "1.5"], &["expected a number from 0.1 to 0.99"]);
    }
    refused(&[&scenario, "--epsilon-ms", "NaN"], &["expected a number from 0.01 to 1000"]);
}

#[test]
fn reader_that_closes_the_pipe_is_not_an_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_landfall"))
        .args(["simulate", &scenario(), "--policy", "nearest", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
}
