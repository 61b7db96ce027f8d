//! What would be, if something were otherwise.

use landfall_controller::manifest::documents;
use landfall_controller::pipeline::Pipeline;
use landfall_controller::whatif::{Amount, Edit, Outcome, Trial, optimised, outcome, put_in_force};
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::optimize::objective::Objective;
use landfall_core::rule::Fallback;

use crate::optimized::{facts, service, web};
use crate::support::{NOW, import, policy, slice, synced};

const ROUND: u64 = 300;

fn key() -> ServiceKey {
    ServiceKey::new("shop", "web").unwrap()
}

fn id(cluster: &str) -> ClusterId {
    ClusterId::new(cluster).unwrap()
}

/// `east` has said now that its clients ask for 60 rps and that it can bear 400; `north` says nothing, and `west` what is given.
fn fleet(west: &str) -> Pipeline {
    synced("east", &(web("") + &facts("east", NOW, &service("demandRps: 60, capacityRps: 400")) + west))
}

fn then(pipeline: Pipeline, edits: &[Edit]) -> Outcome {
    outcome(&[pipeline], &key(), edits, Some(NOW)).unwrap()
}

/// Of all clients, in whole requests per second.
fn demand_rps(outcome: &Outcome) -> String {
    format!("{:.0}", outcome.bill.unwrap().demand_rps)
}

fn weight(outcome: &Outcome, source: &str, exporter: &str) -> u32 {
    let row = &outcome.shares[&id(source)];
    row.iter().find(|share| share.cluster == id(exporter)).unwrap().weight
}

#[test]
fn a_service_with_a_policy_that_is_only_tried_is_optimised_all_the_same() {
    let tried = policy("shop", "tried", "2026-01-02T00:00:00Z", "{loadBalancing: round-robin, enforcement: Shadow}");
    assert_eq!(optimised(&[fleet(&tried)]).into_iter().collect::<Vec<_>>(), [key()]);
}

#[test]
fn a_demand_that_is_thought_of_does_not_grow_and_one_that_is_multiplied_is_the_one_expected_now() {
    let growing =
        || fleet(&facts("west", NOW - 3 * ROUND, &service("demandRps: 100, capacityRps: 2000, trendRps: 50")));
    assert_eq!(demand_rps(&then(growing(), &[])), "282", "60, and 100, and 50, 40 and 32 more");
    let demand = |amount| demand_rps(&then(growing(), &[Edit::Demand(id("west"), amount)]));
    assert_eq!(demand(Amount::Rps(500.0)), "560");
    assert_eq!(demand(Amount::Times(2.0)), "504");
}

#[test]
fn clients_that_are_thought_of_count_where_nothing_was_heard_for_long_and_the_export_stays_out() {
    let silent = || fleet(&facts("west", NOW - 13 * ROUND, &service("demandRps: 100, capacityRps: 400")));
    let now = then(silent(), &[]);
    assert!(demand_rps(&now) == "60" && !now.shares.contains_key(&id("west")));
    let asked = then(silent(), &[Edit::Demand(id("west"), Amount::Rps(300.0))]);
    assert_eq!((demand_rps(&asked).as_str(), weight(&asked, "west", "west"), asked.fallback), ("360", 0, None));
    let able =
        then(silent(), &[Edit::Capacity(id("west"), Amount::Rps(400.0)), Edit::Demand(id("west"), Amount::Rps(300.0))]);
    assert!(weight(&able, "west", "west") > 900, "{able:?}");
    let empty = then(silent(), &[Edit::Capacity(id("west"), Amount::Rps(400.0))]);
    assert_eq!(demand_rps(&empty), "60", "its clients are as silent as before");
}

#[test]
fn a_capacity_of_a_cluster_that_says_nothing_leaves_the_demands_known() {
    let able = then(fleet(""), &[Edit::Capacity(id("north"), Amount::Rps(500.0))]);
    assert_eq!((able.fallback, demand_rps(&able).as_str()), (None, "60"));
    let nobody = synced("east", &web(""));
    let able = then(nobody, &[Edit::Capacity(id("north"), Amount::Rps(500.0))]);
    assert_eq!(able.fallback, Some(Fallback::DemandUnknown), "nor does it make them known");
}

#[test]
fn when_nobody_who_is_left_has_any_capacity_those_who_are_asked_are_named() {
    let drained = fleet(&facts("west", NOW, &service("demandRps: 10, capacityRps: 0")));
    let out = then(drained, &[Edit::Outage(id("east")), Edit::Outage(id("north"))]);
    assert_eq!((weight(&out, "east", "west"), out.nobody_answers), (1000, false));
    assert_eq!((out.overfull, out.bill), (vec![(id("west"), f64::INFINITY)], None));
    assert_eq!(out.fallback, Some(Fallback::NoCapacity));
}

/// `shop/web` and `shop/api`, exported by all three; `east` asks for 60 rps of each, and `west` is nearer to it than `north`.
fn two_services(policies: &str, hash: u64, at: u64) -> Pipeline {
    let said = |cluster: &str, demand: u32, links: &str| {
        let one = |name| {
            format!(
                "{{namespace: shop, name: {name}, demandRps: {demand}, capacityRps: 400, parameterHash: \"{hash:016x}\"}}"
            )
        };
        facts(cluster, at, &format!("{links}services: [{}, {}]", one("web"), one("api")))
    };
    let clusters = [("east", 1), ("north", 2), ("west", 3)];
    let exported = |(i, name): (u32, &str)| {
        let slices = clusters.map(|(cluster, last)| slice("shop", name, cluster, &[&format!("10.0.{i}.{last}")]));
        import("shop", name, "ClusterSetIP", &["east", "north", "west"]) + &slices.concat()
    };
    let links = "links: [{cluster: north, rttMs: 50}, {cluster: west, rttMs: 10}], ";
    let said = said("east", 60, links) + &said("north", 0, "") + &said("west", 0, "");
    synced("east", &(exported((0, "web")) + &exported((1, "api")) + policies + &said))
}

fn trial(policy: &str) -> Trial {
    Trial::new(documents(policy).remove(0).read.map_err(|malformed| malformed.what).unwrap()).unwrap()
}

/// The weights of `east`, `north` and `west` for the clients of `east`, before and after, and what the plan does without.
fn tried(pipeline: Pipeline, trial: &Trial, service: &str) -> [([u32; 3], Option<Fallback>); 2] {
    let mut pipelines = [pipeline];
    let key = ServiceKey::new("shop", service).unwrap();
    let of = |pipelines: &[Pipeline], edits: &[Edit]| {
        let outcome = outcome(pipelines, &key, edits, Some(NOW)).unwrap();
        (["east", "north", "west"].map(|exporter| weight(&outcome, "east", exporter)), outcome.fallback)
    };
    let before = of(&pipelines, &[]);
    let edits = put_in_force(std::slice::from_ref(trial), &mut pipelines, NOW);
    [before, of(&pipelines, &edits)]
}

/// With a minimum share, so that it differs from what is in force without any policy.
const OPTIMISED: &str = "{loadBalancing: optimized, minShares: {west: 10%}}";
const NEW: &str = "2026-06-01T00:00:00Z";
const OLD: &str = "2026-01-01T00:00:00Z";
const STAYS: ([u32; 3], Option<Fallback>) = ([900, 0, 100], None);
const WITHOUT_POLICY: ([u32; 3], Option<Fallback>) = ([1000, 0, 0], None);
const IN_TURN: ([u32; 3], Option<Fallback>) = ([334, 333, 333], None);

fn for_web(rest: &str) -> String {
    format!(
        "{{targetRefs: [{{group: multicluster.x-k8s.io, kind: ServiceImport, name: web}}], localPreference: Balance, {rest}}}"
    )
}

fn agreed() -> u64 {
    Objective::default().parameter_hash()
}

#[test]
fn a_policy_for_one_service_takes_nothing_from_the_others_of_the_policy_in_force() {
    for namespace in ["shop", "landfall-system"] {
        let fleet = || two_services(&policy(namespace, "all", OLD, OPTIMISED), agreed(), NOW);
        let turns = trial(&policy("shop", "turns", NEW, &for_web("loadBalancing: round-robin")));
        assert_eq!(tried(fleet(), &turns, "web"), [STAYS, IN_TURN]);
        assert_eq!(tried(fleet(), &turns, "api"), [STAYS, STAYS], "{namespace}");
    }
}

#[test]
fn a_policy_for_a_namespace_leaves_a_service_to_the_policy_that_names_it() {
    let named = policy("shop", "web", OLD, &for_web("loadBalancing: optimized, minShares: {west: 10%}"));
    let fleet = || two_services(&(named.clone() + &policy("shop", "all", OLD, OPTIMISED)), agreed(), NOW);
    let turns = trial(&policy("shop", "turns", NEW, "{loadBalancing: round-robin, localPreference: Balance}"));
    assert_eq!(tried(fleet(), &turns, "web"), [STAYS, STAYS]);
    assert_eq!(tried(fleet(), &turns, "api"), [STAYS, IN_TURN], "of two for a namespace, the one that is tried counts");
}

#[test]
fn a_policy_of_the_same_name_is_a_new_version_and_gives_up_what_it_does_not_name_any_more() {
    let fleet = || two_services(&policy("shop", "all", OLD, OPTIMISED), agreed(), NOW);
    let only_web = trial(&policy("shop", "all", OLD, &for_web("loadBalancing: optimized, minShares: {west: 10%}")));
    assert_eq!(tried(fleet(), &only_web, "web"), [STAYS, STAYS]);
    assert_eq!(tried(fleet(), &only_web, "api"), [STAYS, WITHOUT_POLICY]);
}

#[test]
fn in_its_scope_a_policy_that_is_tried_goes_before_those_without_a_date_too() {
    let undated = |name: &str, spec: &str| {
        policy("shop", name, NEW, spec).replace(&format!("creationTimestamp: \"{NEW}\", "), "")
    };
    let fleet =
        two_services(&undated("a", &for_web("loadBalancing: optimized, minShares: {west: 10%}")), agreed(), NOW);
    let turns = trial(&undated("z", &for_web("loadBalancing: round-robin")));
    assert_eq!(tried(fleet, &turns, "web"), [STAYS, IN_TURN]);
}

#[test]
fn a_policy_that_would_only_be_tried_shows_what_it_would_do_if_it_were_enforced() {
    let fleet = two_services(&policy("shop", "all", OLD, OPTIMISED), agreed(), NOW);
    let shadow = trial(&policy("shop", "turns", NEW, &for_web("loadBalancing: round-robin, enforcement: Shadow")));
    assert_eq!(tried(fleet, &shadow, "web"), [STAYS, IN_TURN]);
}

#[test]
fn other_settings_are_tried_as_if_all_clusters_had_them_and_age_nothing() {
    let all = policy("shop", "all", OLD, OPTIMISED);
    for settings in ["epsilonMs: 0.4", "roundSeconds: 30"] {
        let spec = format!("{{loadBalancing: optimized, minShares: {{west: 10%}}, optimized: {{{settings}}}}}");
        let settings = trial(&policy("shop", "all", NEW, &spec));
        assert_eq!(tried(two_services(&all, agreed(), NOW - 400), &settings, "web"), [STAYS, STAYS]);
    }
    let others = Some(Fallback::DemandsUnexplained);
    let turns = trial(&policy("shop", "turns", NEW, &for_web("loadBalancing: round-robin")));
    let quarrel = || two_services(&all, agreed() ^ 1, NOW);
    let [(_, before), (_, after)] = tried(quarrel(), &turns, "api");
    assert_eq!([before, after], [others; 2], "where it does not count, they disagree as before");
}
