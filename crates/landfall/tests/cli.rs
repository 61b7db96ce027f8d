//! `landfall up`, `plan` and `crds` as a user sees them.

#![allow(clippy::unwrap_used, reason = "a failed unwrap names its line")]
#![allow(clippy::disallowed_methods, reason = "a promise about time needs a clock")]

#[path = "../examples/client/mod.rs"]
mod client;

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use client::{Client, Fleet};
use serde_json::Value;

const SERVICE: &str = "service-1.demo.svc.clusterset.local";

fn landfall(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_landfall")).args(arguments).env_remove("KUBECONFIG").output().unwrap()
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/three-clusters")
}

fn example_copy() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for cluster in ["c1", "c2", "c3"] {
        std::fs::create_dir(dir.path().join(cluster)).unwrap();
        for file in std::fs::read_dir(example().join(cluster)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), dir.path().join(cluster).join(file.file_name())).unwrap();
        }
    }
    dir
}

/// Asserts exit code 2 and one line on standard error that has all of these words.
fn assert_cannot_run(arguments: &[&str], words: &[&str]) {
    let output = landfall(arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{arguments:?}: {stderr:?} does not have {word:?}");
    }
}

#[test]
fn missing_or_empty_folder_exits_with_2_and_one_line() {
    let empty = tempfile::tempdir().unwrap();
    let empty = empty.path().to_str().unwrap();
    for command in ["up", "plan"] {
        assert_cannot_run(&[command, "/no/such/folder"], &["/no/such/folder", "one sub-folder per cluster"]);
        assert_cannot_run(&[command, empty], &[empty, "make one per cluster"]);
    }
}

#[test]
fn folder_that_is_not_named_by_a_cluster_id_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("My_Cluster")).unwrap();
    assert_cannot_run(&["plan", dir.path().to_str().unwrap()], &["My_Cluster", "one or two DNS labels"]);
}

#[test]
fn port_in_use_exits_with_2_and_one_line() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert_cannot_run(&["up", example().to_str().unwrap(), "--dns", &address], &[&address, "in use", "--dns"]);
    let dns =
        ["dns", "--cluster-id", "c1", "--kubeconfig", "/dev/null", "--admin", "127.0.0.1:0", "--listen", &address];
    assert_cannot_run(&dns, &[&address, "in use"]);
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dns = ["dns", "--cluster-id", "c1", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--probe", &address];
    assert_cannot_run(&dns, &[&address, "in use", "--probe"]);
}

#[test]
fn unusable_kubeconfig_exits_with_2_and_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let no_context = path("no-context", "apiVersion: v1\nkind: Config\ncurrent-context: gone\ncontexts: []\n");
    let no_yaml = path("no-yaml", "clusters: [");
    for kubeconfig in ["/no/such/file", &no_context, &no_yaml] {
        for command in ["operator", "dns"] {
            let mut arguments =
                vec![command, "--cluster-id", "c1", "--kubeconfig", kubeconfig, "--admin", "127.0.0.1:0"];
            if command == "dns" {
                arguments.extend(["--listen", "127.0.0.1:0", "--probe", "127.0.0.1:0"]);
            }
            assert_cannot_run(&arguments, &["kubeconfig", kubeconfig]);
        }
    }
}

#[test]
fn plan_of_the_example_equals_the_enhancement_proposal() {
    let output = landfall(&["plan", example().to_str().unwrap(), "-o", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&list["apiVersion"], &list["kind"]), (&"v1".into(), &"List".into()));
    let shares = |source: &str| -> Vec<(String, u64)> {
        let items = list["items"].as_array().unwrap();
        let of_source = |item: &&Value| item["status"]["source"] == source && item["metadata"]["name"] == "service-1";
        let clusters = items.iter().find(of_source).unwrap()["status"]["clusters"].as_array().unwrap();
        clusters.iter().map(|c| (c["cluster"].as_str().unwrap().to_owned(), c["weight"].as_u64().unwrap())).collect()
    };
    assert_eq!(shares("c1"), [("c2".to_owned(), 333), ("c3".to_owned(), 667)]);
    assert_eq!(shares("c2"), [("c2".to_owned(), 1000), ("c3".to_owned(), 0)]);
    assert_eq!(shares("c3"), [("c2".to_owned(), 0), ("c3".to_owned(), 1000)]);
}

#[test]
fn plan_prints_a_table_json_and_yaml() {
    let example = example();
    let plan = |output: &str| landfall(&["plan", example.to_str().unwrap(), "-o", output]).stdout;
    let without_times = |mut list: Value| {
        for item in list["items"].as_array_mut().unwrap() {
            assert!(item["status"].as_object_mut().unwrap().remove("observedTime").unwrap().is_string());
        }
        list
    };
    let json: Value = serde_json::from_slice(&plan("json")).unwrap();
    let yaml: Value = serde_saphyr::from_slice(&plan("yaml")).unwrap();
    assert_eq!(without_times(json), without_times(yaml));
    let table = String::from_utf8(plan("table")).unwrap();
    assert!(table.starts_with("SERVICE"), "{table}");
    assert!(table.contains("c2 33.3% c3 66.7%") && table.contains("c3 0%: NoReadyEndpoints"), "{table}");
}

#[test]
fn malformed_manifest_is_named_and_the_rest_is_planned() {
    let dir = example_copy();
    let file = dir.path().join("c1/broken.yaml");
    let broken = "apiVersion: landfall.dev/v1alpha1\nkind: SelectionPolicy\nmetadata: {name: fast, namespace: demo}\nspec:\n  \
                  loadBalancing: fastest\n";
    std::fs::write(&file, broken).unwrap();
    let output = landfall(&["plan", dir.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "part of the input was ignored");
    let stderr = String::from_utf8(output.stderr).unwrap();
    let expected =
        format!("{}:5: SelectionPolicy demo/fast: spec.loadBalancing: unknown variant `fastest`", file.display());
    assert!(stderr.contains(&expected), "{stderr}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("c2 33.3% c3 66.7%"));
}

#[test]
fn crds_are_printed_as_yaml_documents() {
    let output = landfall(&["crds"]);
    let crds: Vec<Value> = serde_saphyr::from_multiple(std::str::from_utf8(&output.stdout).unwrap()).unwrap();
    let names: Vec<&str> = crds.iter().map(|crd| crd["metadata"]["name"].as_str().unwrap()).collect();
    let expected = [
        "selectionpolicies.landfall.dev",
        "serviceselections.landfall.dev",
        "networkpricings.landfall.dev",
        "clusterfacts.landfall.dev",
        "submariners.submariner.io",
    ];
    assert_eq!(names, expected);
}

#[test]
fn changed_file_changes_the_answers_within_a_second() {
    let dir = example_copy();
    let fleet = Fleet::up(Path::new(env!("CARGO_BIN_EXE_landfall")), dir.path(), 3).unwrap();
    let mut client = Client::new(fleet.servers().next().unwrap()).unwrap();
    let (c2, c3) = (Ipv4Addr::new(10, 2, 0, 10), Ipv4Addr::new(10, 3, 0, 10));
    client.wait_until(SERVICE, |addresses| addresses == [c3]).unwrap();

    let mut only = |expected: Ipv4Addr, what: &str, change: &dyn Fn()| {
        change();
        let changed = Instant::now();
        // If the other cluster had a share, some of any eight answers in a row would name it.
        while !(0..8).all(|_| client.addresses(SERVICE).unwrap() == [expected]) {
            assert!(changed.elapsed() < Duration::from_secs(1), "{what}: the answers do not follow");
        }
    };
    let slice = dir.path().join("c1/service-1-c3.endpointslice.yaml");
    let text = std::fs::read_to_string(&slice).unwrap();
    only(c2, "not ready", &|| std::fs::write(&slice, text.replace("ready: true", "ready: false")).unwrap());
    let prefer = "apiVersion: landfall.dev/v1alpha1\nkind: SelectionPolicy\nmetadata: {name: service-1, namespace: demo}\nspec: \
                  {loadBalancing: weighted-round-robin, targetRefs: [{name: service-1}], weights: [{source: \"*\", clusters: \
                  {c2: 1, c3: 0}}]}\n";
    only(c3, "ready again, and a weight of 0", &|| {
        std::fs::write(dir.path().join("c1/service-1.selectionpolicy.yaml"), prefer).unwrap();
        std::fs::write(&slice, &text).unwrap();
    });
    only(c2, "the file is gone", &|| std::fs::remove_file(&slice).unwrap());
    let moved = dir.path().join("c1/moved.yaml");
    only(c3, "moved into place, as editors do", &|| {
        let elsewhere = dir.path().join("draft");
        std::fs::write(&elsewhere, &text).unwrap();
        std::fs::rename(&elsewhere, &moved).unwrap();
    });
    only(c3, "half a manifest changes nothing", &|| std::fs::write(&moved, &text[..text.len() / 3]).unwrap());
}

#[test]
fn up_ends_on_sigterm() {
    let dir = example_copy();
    let fleet = Fleet::up(Path::new(env!("CARGO_BIN_EXE_landfall")), dir.path(), 3).unwrap();
    Client::new(fleet.servers().next().unwrap()).unwrap().wait_for(SERVICE).unwrap();
    fleet.terminate().unwrap();
}

#[test]
fn replaced_folder_and_removed_file_are_followed() {
    let dir = example_copy();
    let c1 = dir.path().join("c1");
    let fleet = Fleet::up_in(dir.path(), Path::new(env!("CARGO_BIN_EXE_landfall")), Path::new("."), 3).unwrap();
    let mut client = Client::new(fleet.servers().next().unwrap()).unwrap();
    let (c2, c3) = (Ipv4Addr::new(10, 2, 0, 10), Ipv4Addr::new(10, 3, 0, 10));
    client.wait_until(SERVICE, |addresses| addresses == [c3]).unwrap();
    let mut only = |expected: Ipv4Addr, what: &str| {
        let changed = Instant::now();
        while !(0..8).all(|_| client.addresses(SERVICE).is_ok_and(|found| found == [expected])) {
            assert!(changed.elapsed() < Duration::from_secs(2), "{what}: the answers do not follow");
        }
    };

    let slice = c1.join("service-1-c3.endpointslice.yaml");
    let text = std::fs::read_to_string(&slice).unwrap();
    std::fs::remove_file(&slice).unwrap();
    only(c2, "a file removed below a relative folder");

    let policy = std::fs::read_to_string(c1.join("service-1.selectionpolicy.yaml")).unwrap();
    std::fs::write(&slice, &text).unwrap();
    let attempt = c1.join("z-try.yaml");
    std::fs::write(&attempt, policy.replace("c2: 10, c3: 5", "c2: 10, c3: 0")).unwrap();
    only(c3, "the same policy in a second file");
    let second = c1.join("z-try-2.yaml");
    std::fs::write(&second, policy.replace("c2: 10, c3: 5", "c2: 0, c3: 5")).unwrap();
    only(c2, "and in a third");
    std::fs::remove_file(&second).unwrap();
    std::fs::remove_file(c1.join("service-1.selectionpolicy.yaml")).unwrap();
    only(c3, "the other two files were removed");

    std::fs::rename(&c1, dir.path().join("c1.old")).unwrap();
    std::fs::create_dir(&c1).unwrap();
    for file in std::fs::read_dir(dir.path().join("c1.old")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), c1.join(file.file_name())).unwrap();
    }
    std::fs::write(c1.join("service-1-c3.endpointslice.yaml"), text.replace("ready: true", "ready: false")).unwrap();
    only(c2, "the folder was replaced");
    std::fs::write(c1.join("service-1-c3.endpointslice.yaml"), &text).unwrap();
    only(c3, "and is followed");
}

#[test]
fn ignored_input_is_named_and_exits_with_1() {
    let dir = example_copy();
    let policy = std::fs::read_to_string(dir.path().join("c1/service-1.selectionpolicy.yaml")).unwrap();
    let future = policy.replace("landfall.dev/v1alpha1", "landfall.dev/v2");
    let misspelt = policy.replacen("name: service-1", "name: other", 1).replace("loadBalancing:", "loadBalancin:");
    let cases = [
        ("beside.yaml", policy.as_str(), "in no cluster's folder"),
        ("c1/again.YAML", policy.as_str(), "SelectionPolicy demo/service-1 is in"),
        (
            "c1/misspelt.yaml",
            misspelt.as_str(),
            "SelectionPolicy demo/other: spec.loadBalancin: there is no such field",
        ),
        ("c1/future.yml", future.as_str(), "apiVersion landfall.dev/v2 is not supported; use landfall.dev/v1alpha1"),
    ];
    for (file, text, expected) in cases {
        let path = dir.path().join(file);
        std::fs::write(&path, text).unwrap();
        let output = landfall(&["plan", dir.path().to_str().unwrap()]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{file}: {stderr}");
        assert!(stderr.contains(expected) && stderr.contains(file), "{file}: {stderr}");
        std::fs::remove_file(path).unwrap();
    }
    assert_eq!(landfall(&["plan", dir.path().to_str().unwrap()]).status.code(), Some(0));
}
