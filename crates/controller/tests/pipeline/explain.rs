//! Where each number of a plan comes from, and what it would be if something were otherwise.

use landfall_controller::explain::{Explanation, Input, explain};
use landfall_controller::pipeline::Pipeline;
use landfall_controller::whatif::{Amount, Edit, Outcome, outcome};
use landfall_core::name::{ClusterId, ServiceKey};

use crate::optimized::{facts, gateway, service, web};
use crate::pods::own;
use crate::support::{Feed, NOW, applied, import, policy as policy_object, slice, synced};

/// `east` is measured by its gateway, and says what its clients ask for; `north` says nothing; `west` said all of itself two
/// minutes ago.
fn fleet() -> Pipeline {
    let east = facts("east", NOW - 12, &service("demandRps: 60, serviceTimeMs: 5"));
    let links = "links: [{cluster: east, rttMs: 31}], egress: [{cluster: east, usdPerGb: 0.07}], ";
    let west = facts("west", NOW - 120, &(links.to_owned() + &service("demandRps: 10, capacityRps: 400")));
    synced("east", &(web("") + &east + &west + &gateway(NOW - 4, "10ms")))
}

fn key() -> ServiceKey {
    ServiceKey::new("shop", "web").unwrap()
}

fn id(cluster: &str) -> ClusterId {
    ClusterId::new(cluster).unwrap()
}

fn explained(pipeline: &Pipeline) -> Explanation {
    explain(pipeline, &key(), Some(NOW)).unwrap()
}

/// Value and origin of an input of a candidate.
fn input(
    explanation: &Explanation,
    cluster: &str,
    which: fn(&landfall_controller::explain::Origins) -> &Input,
) -> String {
    let candidate = explanation.clusters.iter().find(|one| one.cluster == cluster).unwrap();
    let input = which(candidate.inputs.as_ref().unwrap());
    format!("{:?} {input}", input.value)
}

#[test]
fn each_input_says_who_said_it_and_how_long_ago() {
    let explanation = explained(&fleet());
    let of = |cluster, which| input(&explanation, cluster, which);
    assert_eq!(of("north", |inputs| &inputs.rtt_ms), "Some(10.0) Gateway, 4 s ago");
    assert_eq!(of("west", |inputs| &inputs.rtt_ms), "Some(30.0) Gateway, 4 s ago");
    assert_eq!(of("east", |inputs| &inputs.rtt_ms), "Some(0.5) within the cluster: assumed");
    assert_eq!(of("west", |inputs| &inputs.capacity_rps), "Some(400.0) ClusterFacts of west, 120 s ago");
    let assumed = "Some(100.0) 1 ready endpoint × capacityRpsPerPod 100";
    assert_eq!(of("east", |inputs| &inputs.capacity_rps), assumed);
    assert_eq!(of("north", |inputs| &inputs.capacity_rps), assumed);
    assert_eq!(of("east", |inputs| &inputs.service_ms), "Some(5.0) ClusterFacts of east, 12 s ago");
    assert_eq!(of("north", |inputs| &inputs.service_ms), "None not known: taken as 0");
    assert_eq!(of("west", |inputs| &inputs.responses_usd_per_gb), "Some(0.07) ClusterFacts of west, 120 s ago");
    assert_eq!(of("west", |inputs| &inputs.requests_usd_per_gb), "Some(0.0) no rule of a NetworkPricing: free");
    let plan = explanation.optimized.as_ref().unwrap();
    assert_eq!(
        (plan.demand_rps.value, plan.demand_rps.to_string().as_str()),
        (Some(60.0), "ClusterFacts of east, 12 s ago")
    );
    assert_eq!((plan.method.word, plan.held), ("Joint", false));
}

#[test]
fn without_a_gateway_the_other_end_is_asked_and_then_the_worst_is_assumed() {
    let west = facts("west", NOW - 400, "links: [{cluster: east, rttMs: 31}]");
    let explanation = explained(&synced("east", &(web("") + &west)));
    let of = |cluster| input(&explanation, cluster, |inputs| &inputs.rtt_ms);
    assert_eq!(of("west"), "Some(31.0) ClusterFacts of west, 6 min ago");
    assert_eq!(of("north"), "Some(100.0) nobody has measured it: assumed");
    let plan = explanation.optimized.as_ref().unwrap();
    assert!(
        plan.demand_rps.value.is_none() && plan.demand_rps.from.starts_with("nobody knows"),
        "{:?}",
        plan.demand_rps
    );
    assert_eq!(explanation.fallback.unwrap().word, "DemandUnknown");
    assert!(plan.costs.is_none(), "nothing is estimated of a demand that nobody knows");
}

/// As published: `(cluster, its part of a million)`, all of the first priority.
fn selection(shares: &[(&str, u32)]) -> String {
    let cluster = |(cluster, nominal): &(&str, u32)| {
        format!(
            "{{cluster: {cluster}, weight: {}, eligible: true, reason: Optimized, priority: 0, nominalWeight: {nominal}}}",
            nominal / 1000
        )
    };
    let clusters: Vec<String> = shares.iter().map(cluster).collect();
    format!(
        "---\napiVersion: landfall.dev/v1alpha1\nkind: ServiceSelection\nmetadata: {{name: web, namespace: shop}}\nstatus: \
         {{source: east, mode: optimized, summary: '', clusters: [{}]}}\n",
        clusters.join(", ")
    )
}

fn served(pipeline: &Pipeline) -> (bool, String, usize) {
    let served = explained(pipeline).served.unwrap();
    (served.as_planned, served.summary, served.why.len())
}

#[test]
fn what_is_served_is_what_was_published_with_the_health_of_now() {
    let mut pipeline = synced("east", &(web("") + &selection(&[("east", 700_000), ("west", 300_000)])));
    let explanation = explained(&pipeline);
    assert_ne!(explanation.summary, "east 70% west 30%");
    let said = explanation.served.unwrap();
    assert_eq!((said.as_planned, said.summary.as_str()), (false, "east 70% west 30%"));
    assert!(said.why.iter().any(|why| why.starts_with("no broker is named here")), "{:?}", said.why);
    assert!(explain(&pipeline, &key(), None).unwrap().served.is_none(), "of files the plan is all there is");
    pipeline.feed(applied(&slice("shop", "web", "east", &[])));
    assert_eq!(served(&pipeline).1, "west 100%");
}

#[test]
fn what_is_served_as_planned_needs_no_reason() {
    let policy = "{loadBalancing: weighted-round-robin, weights: [{source: east, clusters: {east: 1, west: 3}}], localPreference: Balance}";
    let weighted = |rest: &str| {
        let slices = slice("shop", "web", "east", &["10.0.0.1"]) + &slice("shop", "web", "west", &["10.0.0.2"]);
        let policy = policy_object("shop", "web", "2026-01-01T00:00:00Z", policy);
        synced("east", &(import("shop", "web", "ClusterSetIP", &["east", "west"]) + &policy + &slices + rest))
    };
    let published = weighted(&selection(&[("east", 750_000), ("west", 250_000)]));
    assert_eq!(served(&published), (true, "east 75% west 25%".to_owned(), 0));
    assert_eq!(
        served(&weighted("")),
        (false, "east 100%".to_owned(), 2),
        "nothing is published, and so no policy counts"
    );
}

#[test]
fn the_operator_alone_knows_what_it_counted_for_a_fallback() {
    let loaded = |cluster: &str| facts(cluster, NOW - 12, &service("demandRps: 10, loadRps: 100, capacityRps: 400"));
    let said: String = ["east", "north", "west"].map(loaded).concat();
    let pipeline = synced("east", &(web("") + &said + &selection(&[("east", 400_000), ("west", 600_000)])));
    let explanation = explained(&pipeline);
    assert_eq!(explanation.optimized.unwrap().method.word, "Fallback");
    let served = explanation.served.unwrap();
    assert_eq!((served.as_planned, served.summary.as_str()), (false, "east 40% west 60%"));
    assert!(served.why.iter().any(|why| why.contains("counted itself")), "{:?}", served.why);
}

/// `30 ClusterFacts of west, 12 s ago`
fn also(input: Option<&Input>) -> Option<String> {
    input.map(|input| format!("{} {input}", input.value.unwrap()))
}

#[test]
fn the_latency_is_that_of_the_inputs_that_are_shown() {
    let links = "links: [{cluster: north, rttMs: 20, jitterMs: 0, loss: 0.1}], ";
    let east = facts("east", NOW - 12, &(links.to_owned() + &service("demandRps: 60")));
    let west = facts("west", NOW - 30, "links: [{cluster: east, rttMs: 40, jitterMs: 3}]");
    let explanation = explained(&synced("east", &(web("") + &east + &west)));
    for candidate in &explanation.clusters {
        let inputs = candidate.inputs.as_ref().unwrap();
        let number = |input: &Option<Input>| input.as_ref().and_then(|input| input.value).unwrap_or(0.0);
        let (rtt, loss) = (inputs.rtt_ms.value.unwrap(), number(&inputs.loss));
        let latency = rtt + number(&inputs.jitter_ms) + loss / (1.0 - loss) * 200.0;
        assert!((candidate.terms.as_ref().unwrap().latency_ms.unwrap() - latency).abs() < 1e-9, "{candidate:?}");
        let shown = [&inputs.jitter_ms, &inputs.loss].map(|input| also(input.as_ref()));
        let expected = match candidate.cluster.as_str() {
            "north" => [None, Some("0.1 ClusterFacts of east, 12 s ago")],
            "west" => [Some("3 ClusterFacts of west, 30 s ago"), None],
            _ => [None, None],
        };
        assert_eq!(shown, expected.map(|words| words.map(str::to_owned)), "{}", candidate.cluster);
    }
}

#[test]
fn what_no_plan_explains_and_how_far_loads_stray_are_inputs_too() {
    let numbers = |numbers: &str| service(&format!("demandRps: 10, loadRps: 10, {numbers}"));
    let west = facts("west", NOW - 30, &numbers("capacityRps: 400, residualRps: 40, deviation: 0.2"));
    let east = facts("east", NOW - 12, &numbers("residualRps: 0, deviation: 0"));
    let explanation = explained(&synced("east", &(web("") + &east + &west)));
    let shown = |cluster: &str| {
        let candidate = explanation.clusters.iter().find(|one| one.cluster == cluster).unwrap();
        let inputs = candidate.inputs.as_ref().unwrap();
        [&inputs.residual_rps, &inputs.deviation].map(|input| also(input.as_ref()))
    };
    let said = |value: &str| Some(format!("{value} ClusterFacts of west, 30 s ago"));
    assert_eq!(shown("west"), [said("40"), said("0.2")]);
    assert_eq!([shown("east"), shown("north")], [[None, None], [None, None]]);
}

#[test]
fn a_capacity_that_is_assumed_says_of_what() {
    let names: Vec<(String, String)> = (1..=30).map(|n| (format!("web-{n}"), format!("10.1.0.{n}"))).collect();
    let pods: Vec<_> = names.iter().map(|(pod, address)| (pod.as_str(), address.as_str(), true)).collect();
    let explanation = explained(&synced("east", &(web("") + &own("web-1", "web", &pods))));
    let of = |cluster| input(&explanation, cluster, |inputs| &inputs.capacity_rps);
    assert_eq!(of("east"), "Some(3000.0) 30 ready pods × capacityRpsPerPod 100");
    assert_eq!(of("west"), "Some(100.0) 1 ready endpoint × capacityRpsPerPod 100");
}

#[test]
fn the_next_change_of_a_cluster_with_a_minimum_share_leaves_it_that_share() {
    let sentences = |minimum: &str, demand: u32| -> Vec<String> {
        let east = facts("east", NOW, &service(&format!("demandRps: {demand}, capacityRps: 100")));
        let settings = format!(", minShares: {{west: {minimum}}}");
        let pipeline = synced("east", &(web(&settings) + &east + &gateway(NOW - 4, "40ms")));
        let plan = explained(&pipeline).optimized.unwrap();
        let of_west = plan.next_changes.into_iter().filter(|change| change.affected == "west");
        of_west.map(|change| change.sentence).collect()
    };
    let starts = |sentences: Vec<String>| sentences.iter().any(|sentence| sentence.contains("would get a share"));
    assert!(starts(sentences("0%", 20)) && !starts(sentences("10%", 20)));
    let falls = sentences("10%", 150);
    assert!(falls.iter().any(|sentence| sentence.ends_with("would fall to its minimum of 10%")), "{falls:?}");
}

#[test]
fn the_rows_of_clusters_that_are_not_seen_from_inside_are_planned_too_and_edits_count_for_all() {
    let pipelines = [fleet()];
    let then = |edits: &[Edit]| outcome(&pipelines, &key(), edits, Some(NOW)).unwrap();
    let weight = |outcome: &Outcome, source: &str, exporter: &str| {
        let share = outcome.shares[&id(source)].iter().find(|share| share.cluster == id(exporter)).unwrap();
        share.weight
    };
    let now = then(&[]);
    assert_eq!(now.shares.len(), 2, "east and west: in north nobody asks");
    let before = weight(&now, "east", "east");
    assert!(before > 300 && weight(&now, "west", "west") == 1000 && now.overfull.is_empty(), "{now:?}");
    let out = then(&[Edit::Outage(id("west"))]);
    assert_eq!((weight(&out, "west", "west"), out.nobody_answers), (0, false));
    let less = then(&[Edit::Capacity(id("east"), Amount::Times(0.3))]);
    assert!(weight(&less, "east", "east") < before - 100, "of 100 that were assumed");
    let more = then(&[Edit::Demand(id("east"), Amount::Rps(900.0))]);
    assert!(!more.overfull.is_empty() && more.bill.unwrap().ms.is_none(), "600 is all there is: {more:?}");
    let nobody = then(&[Edit::Outage(id("west")), Edit::Outage(id("east")), Edit::Outage(id("north"))]);
    assert!(nobody.nobody_answers && nobody.bill.is_none());
}
