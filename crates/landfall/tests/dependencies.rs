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

#[test]
fn core_depends_on_the_standard_library_and_a_sorted_map_alone() {
    assert_only("landfall-core", &["litemap", "thiserror"]);
}

#[test]
fn api_depends_on_what_objects_on_the_wire_need_alone() {
    assert_only("landfall-api", &["k8s-openapi", "kube", "schemars", "serde", "serde_json"]);
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
fn end_to_end_tests_use_the_product_from_outside() {
    let used = &dependencies()["landfall-e2e"];
    for inner in ["landfall-core", "landfall-dns", "landfall-operator", "landfall"] {
        assert!(!used.contains(inner), "landfall-e2e uses {inner}");
    }
}
