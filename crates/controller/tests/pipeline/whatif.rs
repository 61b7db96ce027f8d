//! What-if: hypothetical changes of the fleet, and trials of policies.

use landfall_controller::manifest::documents;
use landfall_controller::pipeline::Pipeline;
use landfall_controller::whatif::{Amount, Edit, Outcome, TrialPolicy, apply_trials, optimized_services, outcome};
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

/// Returns a fleet in which `east` reports a demand of 60 rps and a capacity of 400 rps now. `north` reports nothing,
/// and the facts of `west` are given.
fn fleet(west: &str) -> Pipeline {
    synced("east", &(web("") + &facts("east", NOW, &service("demandRps: 60, capacityRps: 400")) + west))
}

fn then(pipeline: Pipeline, edits: &[Edit]) -> Outcome {
    outcome(&[pipeline], &key(), edits, Some(NOW)).unwrap()
}

/// Returns the demand of all clusters, in whole requests per second.
fn demand_rps(outcome: &Outcome) -> String {
    format!("{:.0}", outcome.bill.unwrap().demand_rps)
}

fn weight(outcome: &Outcome, source: &str, exporter: &str) -> u32 {
    let row = &outcome.shares[&id(source)];
    row.iter().find(|share| share.cluster == id(exporter)).unwrap().weight
}

#[test]
fn service_with_a_shadow_policy_is_still_optimized() {
    let shadow = policy("shop", "tried", "2026-01-02T00:00:00Z", "{loadBalancing: round-robin, enforcement: Shadow}");
    assert_eq!(optimized_services(&[fleet(&shadow)]).into_iter().collect::<Vec<_>>(), [key()]);
}

#[test]
fn edited_demand_does_not_grow_and_a_multiplied_one_is_the_expected_demand_now() {
    let growing =
        || fleet(&facts("west", NOW - 3 * ROUND, &service("demandRps: 100, capacityRps: 2000, trendRps: 50")));
    assert_eq!(demand_rps(&then(growing(), &[])), "282", "60, and 100, and 50, 40 and 32 more");
    let demand = |amount| demand_rps(&then(growing(), &[Edit::Demand(id("west"), amount)]));
    assert_eq!(demand(Amount::Rps(500.0)), "560");
    assert_eq!(demand(Amount::Times(2.0)), "504");
}

#[test]
fn edited_demand_of_a_silent_cluster_counts_and_its_export_stays_without_capacity() {
    let silent = || fleet(&facts("west", NOW - 13 * ROUND, &service("demandRps: 100, capacityRps: 400")));
    let now = then(silent(), &[]);
    assert!(demand_rps(&now) == "60" && !now.shares.contains_key(&id("west")));
    let asked = then(silent(), &[Edit::Demand(id("west"), Amount::Rps(300.0))]);
    assert_eq!((demand_rps(&asked).as_str(), weight(&asked, "west", "west"), asked.fallback), ("360", 0, None));
    let able =
        then(silent(), &[Edit::Capacity(id("west"), Amount::Rps(400.0)), Edit::Demand(id("west"), Amount::Rps(300.0))]);
    assert!(weight(&able, "west", "west") > 900, "{able:?}");
    let empty = then(silent(), &[Edit::Capacity(id("west"), Amount::Rps(400.0))]);
    assert_eq!(demand_rps(&empty), "60", "its demand is still unknown");
}

#[test]
fn edited_capacity_of_a_silent_cluster_keeps_demands_known() {
    let able = then(fleet(""), &[Edit::Capacity(id("north"), Amount::Rps(500.0))]);
    assert_eq!((able.fallback, demand_rps(&able).as_str()), (None, "60"));
    let without_facts = synced("east", &web(""));
    let able = then(without_facts, &[Edit::Capacity(id("north"), Amount::Rps(500.0))]);
    assert_eq!(able.fallback, Some(Fallback::DemandUnknown), "it does not make demands known either");
}

#[test]
fn clusters_without_capacity_that_get_traffic_are_reported_as_overloaded() {
    let drained = fleet(&facts("west", NOW, &service("demandRps: 10, capacityRps: 0")));
    let out = then(drained, &[Edit::Outage(id("east")), Edit::Outage(id("north"))]);
    assert_eq!((weight(&out, "east", "west"), out.unanswered), (1000, false));
    assert_eq!((out.overloaded, out.bill), (vec![(id("west"), f64::INFINITY)], None));
    assert_eq!(out.fallback, Some(Fallback::NoCapacity));
}

/// Returns a fleet with `shop/web` and `shop/api`, exported by all three clusters. `east` has a demand of 60 rps for
/// each, and `west` is nearer to it than `north`.
fn two_services(policies: &str, hash: u64, at: u64) -> Pipeline {
    let facts_with = |cluster: &str, demand: u32, links: &str| {
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
    let reported = facts_with("east", 60, links) + &facts_with("north", 0, "") + &facts_with("west", 0, "");
    synced("east", &(exported((0, "web")) + &exported((1, "api")) + policies + &reported))
}

fn trial(policy: &str) -> TrialPolicy {
    TrialPolicy::new(documents(policy).remove(0).read.map_err(|malformed| malformed.what).unwrap()).unwrap()
}

/// Returns the weights of `east`, `north` and `west` for the clients of `east`, and the fallback, before and after a
/// trial.
fn before_and_after(pipeline: Pipeline, trial: &TrialPolicy, service: &str) -> [([u32; 3], Option<Fallback>); 2] {
    let mut pipelines = [pipeline];
    let key = ServiceKey::new("shop", service).unwrap();
    let of = |pipelines: &[Pipeline], edits: &[Edit]| {
        let outcome = outcome(pipelines, &key, edits, Some(NOW)).unwrap();
        (["east", "north", "west"].map(|exporter| weight(&outcome, "east", exporter)), outcome.fallback)
    };
    let before = of(&pipelines, &[]);
    let edits = apply_trials(std::slice::from_ref(trial), &mut pipelines, NOW);
    [before, of(&pipelines, &edits)]
}

/// Policy with a minimum share, so that its effect differs from the default.
const OPTIMIZED: &str = "{loadBalancing: optimized, minShares: {west: 10%}}";
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
fn trial_for_one_service_leaves_other_services_to_the_present_policy() {
    for namespace in ["shop", "landfall-system"] {
        let fleet = || two_services(&policy(namespace, "all", OLD, OPTIMIZED), agreed(), NOW);
        let round_robin = trial(&policy("shop", "turns", NEW, &for_web("loadBalancing: round-robin")));
        assert_eq!(before_and_after(fleet(), &round_robin, "web"), [STAYS, IN_TURN]);
        assert_eq!(before_and_after(fleet(), &round_robin, "api"), [STAYS, STAYS], "{namespace}");
    }
}

#[test]
fn trial_for_a_namespace_is_overridden_by_a_policy_that_names_the_service() {
    let named = policy("shop", "web", OLD, &for_web("loadBalancing: optimized, minShares: {west: 10%}"));
    let fleet = || two_services(&(named.clone() + &policy("shop", "all", OLD, OPTIMIZED)), agreed(), NOW);
    let round_robin = trial(&policy("shop", "turns", NEW, "{loadBalancing: round-robin, localPreference: Balance}"));
    assert_eq!(before_and_after(fleet(), &round_robin, "web"), [STAYS, STAYS]);
    assert_eq!(
        before_and_after(fleet(), &round_robin, "api"),
        [STAYS, IN_TURN],
        "of two policies for a namespace, the trial applies"
    );
}

#[test]
fn trial_with_the_same_name_replaces_the_policy_and_drops_its_other_services() {
    let fleet = || two_services(&policy("shop", "all", OLD, OPTIMIZED), agreed(), NOW);
    let only_web = trial(&policy("shop", "all", OLD, &for_web("loadBalancing: optimized, minShares: {west: 10%}")));
    assert_eq!(before_and_after(fleet(), &only_web, "web"), [STAYS, STAYS]);
    assert_eq!(before_and_after(fleet(), &only_web, "api"), [STAYS, WITHOUT_POLICY]);
}

#[test]
fn trial_precedes_policies_without_a_date_in_its_scope() {
    let undated = |name: &str, spec: &str| {
        policy("shop", name, NEW, spec).replace(&format!("creationTimestamp: \"{NEW}\", "), "")
    };
    let fleet =
        two_services(&undated("a", &for_web("loadBalancing: optimized, minShares: {west: 10%}")), agreed(), NOW);
    let round_robin = trial(&undated("z", &for_web("loadBalancing: round-robin")));
    assert_eq!(before_and_after(fleet, &round_robin, "web"), [STAYS, IN_TURN]);
}

#[test]
fn trial_of_a_shadow_policy_is_shown_as_enforced() {
    let fleet = two_services(&policy("shop", "all", OLD, OPTIMIZED), agreed(), NOW);
    let shadow = trial(&policy("shop", "turns", NEW, &for_web("loadBalancing: round-robin, enforcement: Shadow")));
    assert_eq!(before_and_after(fleet, &shadow, "web"), [STAYS, IN_TURN]);
}

#[test]
fn trial_of_settings_applies_to_all_clusters_and_ages_no_facts() {
    let all = policy("shop", "all", OLD, OPTIMIZED);
    for settings in ["epsilonMs: 0.4", "roundSeconds: 30"] {
        let spec = format!("{{loadBalancing: optimized, minShares: {{west: 10%}}, optimized: {{{settings}}}}}");
        let settings = trial(&policy("shop", "all", NEW, &spec));
        assert_eq!(before_and_after(two_services(&all, agreed(), NOW - 400), &settings, "web"), [STAYS, STAYS]);
    }
    let others = Some(Fallback::DemandsUnexplained);
    let round_robin = trial(&policy("shop", "turns", NEW, &for_web("loadBalancing: round-robin")));
    let quarrel = || two_services(&all, agreed() ^ 1, NOW);
    let [(_, before), (_, after)] = before_and_after(quarrel(), &round_robin, "api");
    assert_eq!([before, after], [others; 2], "clusters with another policy disagree as before");
}
