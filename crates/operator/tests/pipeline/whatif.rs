//! What would be, if something were otherwise.

use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::rule::Fallback;
use landfall_operator::pipeline::Pipeline;
use landfall_operator::whatif::{Amount, Edit, Outcome, optimised, outcome};

use crate::optimized::{facts, service, web};
use crate::support::{NOW, policy, synced};

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
