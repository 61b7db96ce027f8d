//! `landfall simulate --live` as a user sees it.

#![allow(clippy::unwrap_used, reason = "a failed unwrap names its line")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const CLUSTERS: [&str; 6] = ["aws-euc1", "aws-use1", "az-eus", "az-weu", "gcp-usc1", "op-fra"];

fn example() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/six-clouds").to_str().unwrap().to_owned()
}

fn simulate(arguments: &[&str]) -> Output {
    simulate_in(Path::new(&example()), arguments)
}

fn simulate_in(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
    command.args(["simulate", "--live"]).arg(dir).args(arguments).env_remove("KUBECONFIG").output().unwrap()
}

/// Returns a folder with `east` and `west`, which both export `shop/web` and report these facts of it.
fn fleet_of_two(east: &str, west: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let slice = |cluster: &str, ip: &str| {
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: web-{cluster}\n  namespace: shop\n  \
             labels: {{multicluster.kubernetes.io/service-name: web, multicluster.kubernetes.io/source-cluster: {cluster}}}\n\
             addressType: IPv4\nendpoints: [{{addresses: [{ip}], conditions: {{ready: true}}}}]\nports: []\n"
        )
    };
    for (cluster, facts) in [("east", east), ("west", west)] {
        let manifests = format!(
            "apiVersion: multicluster.x-k8s.io/v1beta1\nkind: ServiceImport\nmetadata: {{name: web, namespace: shop}}\nspec: {{type: \
             ClusterSetIP, ports: []}}\nstatus: {{clusters: [{{cluster: east}}, {{cluster: west}}]}}\n---\napiVersion: \
             landfall.dev/v1alpha1\nkind: SelectionPolicy\nmetadata: {{name: all, namespace: shop}}\nspec: {{loadBalancing: \
             optimized}}\n---\napiVersion: landfall.dev/v1alpha1\nkind: ClusterFacts\nmetadata: {{name: {cluster}, namespace: \
             landfall-system}}\nspec: {{cluster: {cluster}, services: [{{namespace: shop, name: web, {facts}}}]}}\n"
        );
        std::fs::create_dir(dir.path().join(cluster)).unwrap();
        let text = manifests + &slice("east", "10.0.0.1") + &slice("west", "10.0.0.2");
        std::fs::write(dir.path().join(cluster).join("all.yaml"), text).unwrap();
    }
    dir
}

fn printed(output: &Output) -> (i32, &str) {
    assert_eq!(std::str::from_utf8(&output.stderr).unwrap(), "");
    (output.status.code().unwrap(), std::str::from_utf8(&output.stdout).unwrap())
}

/// Returns the change of one service of the six clouds, and the exit code.
fn changed(service: &str, arguments: &[&str]) -> (Change, i32) {
    let service = format!("shop/{service}");
    let output = simulate(&[arguments, &["--service", &service, "-o", "json"]].concat());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(all.len(), 1);
    (Change(all[0].clone()), output.status.code().unwrap())
}

struct Change(Value);

impl Change {
    /// Returns the weight before and after, in parts of 1000.
    fn weight(&self, source: &str, exporter: &str) -> (u64, u64) {
        let sources = self.0["sources"].as_array().unwrap();
        let row = sources.iter().find(|row| row["source"] == source).unwrap();
        let [before, after] = ["before", "after"].map(|when| row[when][exporter].as_u64().unwrap_or(0));
        (before, after)
    }

    fn bill(&self, name: &str) -> (f64, f64) {
        let [before, after] = ["before", "after"].map(|when| self.0[when][name].as_f64().unwrap());
        (before, after)
    }
}

#[test]
fn no_change_leaves_all_shares_as_planned() {
    let text = String::from_utf8(simulate(&[]).stdout).unwrap();
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("shop/") && line.ends_with("the same")).collect();
    assert_eq!(rows.len(), 3 * CLUSTERS.len(), "{text}");
    let plan = Command::new(env!("CARGO_BIN_EXE_landfall")).args(["plan", &example()]).output().unwrap();
    let plan = String::from_utf8(plan.stdout).unwrap();
    for row in rows {
        let cells: Vec<&str> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert!(plan.lines().any(|line| cells[..3].iter().all(|cell| line.contains(cell))), "{row} is not in\n{plan}");
    }
    // The totals are those of the plan, too.
    let total = text.lines().rfind(|line| line.starts_with("shop/api-performance")).unwrap();
    assert_eq!(total.split_whitespace().collect::<Vec<_>>(), ["shop/api-performance", "24.5", "0.134", "1092", "80%"]);
}

#[test]
fn outage_moves_all_clients_to_other_clusters() {
    let (change, code) = changed("api-mixed", &["--outage", "op-fra"]);
    assert_eq!(code, 0);
    for source in CLUSTERS {
        assert_eq!(change.weight(source, "op-fra").1, 0, "{source}");
    }
    assert_eq!(change.weight("op-fra", "op-fra").0, 1000);
    let (euc, weu) = (change.weight("op-fra", "aws-euc1").1, change.weight("op-fra", "az-weu").1);
    assert_eq!(euc + weu, 1000, "the nearest two, whose prices are nearly equal");
    let (before, after) = change.bill("usdPerMonth");
    assert!(after > before + 100.0, "the cheap cluster is gone: {before} {after}");
}

#[test]
fn doubled_demand_spills_over_and_overload_exits_with_1() {
    let (change, code) = changed("api-mixed", &["--demand", "aws-use1=x2"]);
    assert_eq!(code, 0);
    let (before, after) = change.weight("aws-use1", "op-fra");
    assert!(before == 105 && after > 300, "{after}");
    // As in the README of the example.
    let (ms, usd) = (change.bill("ms"), change.bill("usdPerMonth"));
    assert!((ms.0 - 27.6).abs() < 0.1 && (ms.1 - 48.7).abs() < 0.1, "{ms:?}");
    assert!((usd.0 - 32.0).abs() < 1.0 && (usd.1 - 286.0).abs() < 2.0, "{usd:?}");
    let (same, _) = changed("api-mixed", &["--demand", "aws-use1=1800"]);
    assert_eq!(same.0, change.0);
    let (overload, code) = changed("api-mixed", &["--demand", "aws-use1=x4", "--capacity", "op-fra=x0.5"]);
    assert_eq!(code, 1, "an overload needs attention");
    let over = overload.0["overCapacity"].as_object().unwrap();
    assert!(over.contains_key("aws-use1") && over.values().all(|part| part.as_f64().unwrap() > 1.0), "{over:?}");
    assert!(overload.0["after"]["ms"].is_null(), "an endless queue has no mean");
}

#[test]
fn source_without_demand_has_no_shares_instead_of_zero_shares() {
    let dir = fleet_of_two("demandRps: 10, capacityRps: 100", "demandRps: 0, capacityRps: 100");
    let output = simulate_in(dir.path(), &["--demand", "west=50"]);
    let (code, text) = printed(&output);
    let row = |text: &str| text.lines().find(|line| line.contains("shop/web  west")).map(str::to_owned);
    assert_eq!((code, row(text).as_deref()), (0, Some("shop/web  west        -            west 100%")), "{text}");
    let json = simulate_in(dir.path(), &["--demand", "west=50", "-o", "json"]);
    let all: Value = serde_json::from_slice(&json.stdout).unwrap();
    let of = |source: &str| all[0]["sources"].as_array().unwrap().iter().find(|row| row["source"] == source).unwrap();
    assert!(of("west")["before"].is_null() && of("west")["after"]["west"] == 1000, "{all}");
    let dir = fleet_of_two("demandRps: 10, capacityRps: 100", "demandRps: 10, capacityRps: 100");
    let idle = simulate_in(dir.path(), &["--demand", "west=0"]);
    let (_, text) = printed(&idle);
    assert_eq!(row(text).as_deref(), Some("shop/web  west        west 100%    -"), "{text}");
}

#[test]
fn lack_of_any_capacity_is_reported_and_exits_with_1() {
    let dir = fleet_of_two("demandRps: 10, capacityRps: 100", "demandRps: 10, capacityRps: 0");
    assert_eq!(printed(&simulate_in(dir.path(), &[])).0, 0, "drained, and the other cluster serves its demand");
    let out = simulate_in(dir.path(), &["--outage", "east"]);
    let (code, text) = printed(&out);
    assert_eq!(code, 1);
    assert!(text.contains("shop/web: NoCapacity\nshop/web: west is overloaded: no capacity\n"), "{text}");
    let json = simulate_in(dir.path(), &["--outage", "east", "-o", "json"]);
    let all: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(all[0]["overCapacity"].as_object().unwrap().contains_key("west"), "{all}");
    assert_eq!((all[0]["fallback"].as_str(), json.status.code()), (Some("NoCapacity"), Some(1)));
}

#[test]
fn fallback_is_reported_and_exits_with_1() {
    let dir = fleet_of_two("capacityRps: 100", "demandRps: 10, capacityRps: 100");
    let unknown = simulate_in(dir.path(), &[]);
    let (code, text) = printed(&unknown);
    assert!(code == 1 && text.contains("shop/web: DemandUnknown"), "{text}");
}

#[test]
fn unknown_demand_is_not_multiplied_but_can_be_given() {
    let unknown =
        "shop/web: the demand of east is not known and cannot be multiplied; give it as --demand east=NUMBER\n";
    let reported = |dir: &tempfile::TempDir, demand: &[&str]| {
        let arguments: Vec<&str> = demand.iter().flat_map(|one| ["--demand", one]).collect();
        let output = simulate_in(dir.path(), &arguments);
        let (code, text) = printed(&output);
        (code, text.matches(unknown).count() == 1)
    };
    let dir = fleet_of_two("capacityRps: 100", "demandRps: 10, capacityRps: 100");
    assert_eq!([reported(&dir, &["east=x2"]), reported(&dir, &["east=x2", "east=x3"])], [(1, true); 2]);
    assert_eq!([reported(&dir, &["east=20"]), reported(&dir, &["east=20", "east=x2"])], [(0, false); 2]);
    assert_eq!(reported(&dir, &["west=x2"]), (1, false), "this demand is known, another one is not");
    let measured = fleet_of_two("capacityRps: 100, loadRps: 5", "demandRps: 10, capacityRps: 100, loadRps: 5");
    assert_eq!(reported(&measured, &["east=x2"]), (1, true), "though the plan does without it");
    let silent = fleet_of_two("capacityRps: 100", "demandRps: 10, capacityRps: 100");
    let path = silent.path().join("east").join("all.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("services: [{namespace: shop, name: web, capacityRps: 100}]", "services: []"))
        .unwrap();
    assert_eq!(
        reported(&silent, &["east=x2"]),
        (0, false),
        "a cluster that reports no service has no demand if others report theirs"
    );
}

#[test]
fn price_moves_shares_optimized_for_cost_and_round_trip_time_those_for_performance() {
    let (free, _) = changed("api-cost", &["--price", "aws-euc1:aws-use1=0", "--price", "aws-use1:aws-euc1=0"]);
    let ((op, op_then), (euc, euc_then)) = (free.weight("aws-use1", "op-fra"), free.weight("aws-use1", "aws-euc1"));
    assert!(op == 99 && euc == 0 && op_then < 10 && euc_then > 80, "{op_then} {euc_then}");
    let (far, _) = changed("api-performance", &["--rtt", "aws-use1:az-eus=40"]);
    let (before, after) = far.weight("aws-use1", "az-eus");
    assert!(before > 100 && after == 0, "{before} {after}");
}

#[test]
fn added_cluster_takes_the_nearest_clients_and_a_tried_policy_is_compared() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    write(
        "new.yaml",
        "apiVersion: landfall.dev/v1alpha1\nkind: ClusterFacts\nmetadata: {name: new}\nspec:\n  cluster: op-nyc\n  links: \
         [{cluster: aws-use1, rttMs: 7}]\n  services: [{namespace: shop, name: api-mixed, demandRps: 50, capacityRps: 500}]\n",
    );
    let (more, code) = changed("api-mixed", &["--add-cluster", &path("new.yaml")]);
    assert_eq!(code, 0);
    let (before, after) = more.weight("aws-use1", "op-nyc");
    assert!(before == 0 && after > 90, "{after}");
    assert!(more.weight("op-nyc", "op-nyc").1 > 900, "the added cluster serves its own clients");
    write(
        "robin.yaml",
        "apiVersion: landfall.dev/v1alpha1\nkind: SelectionPolicy\nmetadata: {name: turns, namespace: shop}\nspec:\n  targetRefs: \
         [{group: multicluster.x-k8s.io, kind: ServiceImport, name: api-mixed}]\n  loadBalancing: round-robin\n  \
         localPreference: Balance\n",
    );
    let (robin, code) = changed("api-mixed", &["--policy", &path("robin.yaml")]);
    assert_eq!((code, robin.weight("aws-use1", "az-weu")), (0, (0, 167)));
    let (before, after) = robin.bill("ms");
    assert!(after > 2.0 * before, "{before} {after}");
}

#[test]
fn tried_policy_that_a_more_specific_one_overrides_is_named() {
    let dir = fleet_of_two("demandRps: 10, capacityRps: 100", "demandRps: 10, capacityRps: 100");
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, spec: &str| {
        let text = format!(
            "apiVersion: landfall.dev/v1alpha1\nkind: SelectionPolicy\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"
        );
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let turns = file("turns", "{loadBalancing: round-robin, localPreference: Balance}");
    let one = file(
        "one",
        "{loadBalancing: optimized, targetRefs: [{group: multicluster.x-k8s.io, kind: ServiceImport, name: web}]}",
    );
    let json = |arguments: &[&str]| -> Value {
        serde_json::from_slice(&simulate_in(dir.path(), &[arguments, &["-o", "json"]].concat()).stdout).unwrap()
    };
    let alone = json(&["--policy", &turns]);
    assert!(alone[0]["policy"] == "shop/turns" && alone[0].get("passedOver").is_none(), "{alone}");
    assert_eq!(alone[0]["sources"][0]["after"]["west"], 500);
    let both = ["--policy", &turns, "--policy", &one];
    let (passed, text) = (json(&both), simulate_in(dir.path(), &both).stdout);
    assert_eq!((&passed[0]["policy"], &passed[0]["passedOver"][0]), (&"shop/one".into(), &"shop/turns".into()));
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("shop/web: SelectionPolicy shop/one overrides shop/turns\n"), "{text}");
}

#[test]
fn unknown_name_exits_with_2_and_lists_the_known_names() {
    let all = "aws-euc1, aws-use1, az-eus, az-weu, gcp-usc1, op-fra";
    let cases: [(&[&str], &str); 7] = [
        (&["--outage", "mars"], &format!("--outage mars: there is no such cluster; there is {all}")),
        (&["--demand", "mars=x2"], "--demand mars"),
        (&["--price", "op-fra:mars=1"], "--price mars"),
        (&["--rtt", "mars:op-fra=1"], "--rtt mars"),
        (&["--service", "shop/nope"], "there is shop/api-cost, shop/api-mixed, shop/api-performance"),
        (&["--add-cluster", "/no/such/file"], "/no/such/file: cannot be read"),
        (&["--policy", "/no/such/file"], "/no/such/file: cannot be read"),
    ];
    for (arguments, words) in cases {
        let output = simulate(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(2), 1), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
    }
    for (arguments, words) in [
        (["--demand", "op-fra"], "CLUSTER=NUMBER"),
        (["--demand", "op-fra=-1"], "expected a number from 0 to 10000000, or x2 for twice"),
        (["--rtt", "op-fra=3"], "CLUSTER:CLUSTER=NUMBER"),
        (["--outage", "op-fra,az-eus"], "give the flag once per cluster"),
        (["--price", "op-fra:op-fra=3"], "name two clusters"),
        (["--generate", "3"], "--generate"),
    ] {
        let output = simulate(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8(output.stderr).unwrap().contains(words), "{arguments:?}");
    }
}
