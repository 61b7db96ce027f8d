//! The boundaries between the crates that ARCHITECTURE.md draws.

#![allow(clippy::unwrap_used, reason = "a failed unwrap names its line")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Returns the dependencies of each package of the workspace, without those for tests and benchmarks alone.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let package = |package: &Value| {
        let all = package["dependencies"].as_array().unwrap();
        let normal = all.iter().filter(|dependency| dependency["kind"].is_null());
        (name(package), normal.map(name).collect())
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

fn assert_only(package: &str, allowed: &[&str]) {
    let dependencies = &dependencies()[package];
    let allowed: BTreeSet<String> = allowed.iter().map(ToString::to_string).collect();
    let more: Vec<_> = dependencies.difference(&allowed).collect();
    assert!(more.is_empty(), "{package} gained {more:?}; see ARCHITECTURE.md, and the reasons there");
}

/// Returns all packages that a package is built with, by name, without those for tests.
fn tree(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "--package", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Looks at the whole tree: direct dependencies do not show what a feature of one of them brings in.
fn assert_never(package: &str, forbidden: &[&str]) {
    let tree = tree(package);
    assert!(tree.contains(package) && tree.len() > 5, "{tree:?}");
    let found: Vec<_> = forbidden.iter().filter(|name| tree.contains(**name)).collect();
    assert!(
        found.is_empty(),
        "{package} is built with {found:?}: cargo tree --package {package} --invert NAME says why"
    );
}

const CLIENTS: [&str; 6] = ["tokio", "hyper", "tower", "rustls", "kube-client", "kube-runtime"];

#[test]
fn core_depends_on_the_standard_library_and_a_sorted_map_alone() {
    assert_only("landfall-core", &["litemap", "thiserror"]);
}

#[test]
fn api_depends_on_what_objects_on_the_wire_need_alone() {
    assert_only("landfall-api", &["k8s-openapi", "kube", "schemars", "serde", "serde_json"]);
    assert_never("landfall-api", &CLIENTS);
}

#[test]
fn controller_has_no_client_no_clock_and_no_log() {
    let formats = ["serde", "serde_json", "serde-saphyr", "erased-serde", "serde_ignored", "serde_path_to_error"];
    let others = ["k8s-openapi", "landfall-api", "landfall-core", "litemap", "thiserror"];
    assert_only("landfall-controller", &[formats.as_slice(), &others].concat());
    assert_never("landfall-controller", &CLIENTS);
    assert_never("landfall-controller", &["notify", "prometheus-client", "tracing"]);
}

#[test]
fn dns_does_not_depend_on_kubernetes() {
    let allowed = ["landfall-core", "domain", "libc", "nix", "socket2", "thiserror", "tokio", "tokio-util", "tracing"];
    assert_only("landfall-dns", &allowed);
}

#[test]
fn sim_depends_on_core_alone_of_our_crates() {
    let numbers = ["clarabel", "rand", "rand_chacha", "rand_distr"];
    let files = ["serde", "serde-saphyr", "serde_json", "serde_path_to_error", "thiserror"];
    assert_only("landfall-sim", &[numbers.as_slice(), &files, &["landfall-core"]].concat());
}

#[test]
fn operator_does_not_depend_on_the_simulator() {
    assert!(!dependencies()["landfall-operator"].contains("landfall-sim"));
}

#[test]
fn binary_has_no_client_of_its_own() {
    let own =
        ["landfall-api", "landfall-controller", "landfall-core", "landfall-dns", "landfall-operator", "landfall-sim"];
    let arguments = ["anyhow", "clap", "serde", "serde-saphyr", "serde_json"];
    let processes = ["futures", "tokio", "tokio-util", "tracing-subscriber"];
    assert_only("landfall", &[own.as_slice(), &arguments, &processes].concat());
}

#[test]
fn end_to_end_tests_use_the_product_from_outside() {
    let used = &dependencies()["landfall-e2e"];
    for inner in ["landfall-core", "landfall-controller", "landfall-dns", "landfall-operator", "landfall"] {
        assert!(!used.contains(inner), "landfall-e2e uses {inner}");
    }
}
