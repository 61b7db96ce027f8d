//! Source of each number of a plan, and outcomes after hypothetical changes.

use landfall_controller::explain::{Explanation, Input, explain};
use landfall_controller::pipeline::Pipeline;
use landfall_controller::whatif::{Amount, Edit, Outcome, outcome};
use landfall_core::name::{ClusterId, ServiceKey};

use crate::optimized::{facts, gateway, service, web};
use crate::pods::own;
use crate::support::{Feed, NOW, applied, import, policy as policy_object, slice, synced};

/// Returns a fleet in which `east` has a gateway and reports its demand, `north` reports nothing, and `west` reported
/// all of its facts two minutes ago.
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

/// Returns value and source of an input of a candidate.
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
fn each_input_has_its_source_and_age() {
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
    assert_eq!(of("west", |inputs| &inputs.requests_usd_per_gb), "Some(0.0) no NetworkPricing rule: free");
    let plan = explanation.optimized.as_ref().unwrap();
    assert_eq!(
        (plan.demand_rps.value, plan.demand_rps.to_string().as_str()),
        (Some(60.0), "ClusterFacts of east, 12 s ago")
    );
    assert_eq!((plan.method.word, plan.held), ("Joint", false));
}

#[test]
fn round_trip_time_without_a_gateway_comes_from_the_peer_or_is_assumed() {
    let west = facts("west", NOW - 400, "links: [{cluster: east, rttMs: 31}]");
    let explanation = explained(&synced("east", &(web("") + &west)));
    let of = |cluster| input(&explanation, cluster, |inputs| &inputs.rtt_ms);
    assert_eq!(of("west"), "Some(31.0) ClusterFacts of west, 6 min ago");
    assert_eq!(of("north"), "Some(100.0) not measured: assumed");
    let plan = explanation.optimized.as_ref().unwrap();
    assert!(
        plan.demand_rps.value.is_none() && plan.demand_rps.from.starts_with("some demands are unknown"),
        "{:?}",
        plan.demand_rps
    );
    assert_eq!(explanation.fallback.unwrap().word, "DemandUnknown");
    assert!(plan.costs.is_none(), "costs of an unknown demand are not estimated");
}

/// Returns a published selection with `(cluster, millionths)`, all of the first priority.
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
fn served_shares_are_the_published_ones_with_present_health() {
    let mut pipeline = synced("east", &(web("") + &selection(&[("east", 700_000), ("west", 300_000)])));
    let explanation = explained(&pipeline);
    assert_ne!(explanation.summary, "east 70% west 30%");
    let shown = explanation.served.unwrap();
    assert_eq!((shown.as_planned, shown.summary.as_str()), (false, "east 70% west 30%"));
    assert!(shown.why.iter().any(|why| why.starts_with("no broker is named here")), "{:?}", shown.why);
    assert!(explain(&pipeline, &key(), None).unwrap().served.is_none(), "in file mode nothing is published");
    pipeline.feed(applied(&slice("shop", "web", "east", &[])));
    assert_eq!(served(&pipeline).1, "west 100%");
}

#[test]
fn served_shares_that_equal_the_plan_have_no_reason() {
    let policy = "{loadBalancing: weighted-round-robin, weights: [{source: east, clusters: {east: 1, west: 3}}], localPreference: Balance}";
    let weighted = |rest: &str| {
        let slices = slice("shop", "web", "east", &["10.0.0.1"]) + &slice("shop", "web", "west", &["10.0.0.2"]);
        let policy = policy_object("shop", "web", "2026-01-01T00:00:00Z", policy);
        synced("east", &(import("shop", "web", "ClusterSetIP", &["east", "west"]) + &policy + &slices + rest))
    };
    let published = weighted(&selection(&[("east", 750_000), ("west", 250_000)]));
    assert_eq!(served(&published), (true, "east 75% west 25%".to_owned(), 0));
    assert_eq!(served(&weighted("")), (false, "east 100%".to_owned(), 2), "nothing is published, so no policy applies");
}

#[test]
fn fallback_plan_differs_because_only_the_operator_has_its_counts() {
    let loaded = |cluster: &str| facts(cluster, NOW - 12, &service("demandRps: 10, loadRps: 100, capacityRps: 400"));
    let all: String = ["east", "north", "west"].map(loaded).concat();
    let pipeline = synced("east", &(web("") + &all + &selection(&[("east", 400_000), ("west", 600_000)])));
    let explanation = explained(&pipeline);
    assert_eq!(explanation.optimized.unwrap().method.word, "Fallback");
    let served = explanation.served.unwrap();
    assert_eq!((served.as_planned, served.summary.as_str()), (false, "east 40% west 60%"));
    assert!(served.why.iter().any(|why| why.contains("its own counts")), "{:?}", served.why);
}

/// Formats an input such as `30 ClusterFacts of west, 12 s ago`.
fn also(input: Option<&Input>) -> Option<String> {
    input.map(|input| format!("{} {input}", input.value.unwrap()))
}

#[test]
fn latency_follows_from_the_shown_inputs() {
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
fn residual_and_deviation_are_inputs() {
    let numbers = |numbers: &str| service(&format!("demandRps: 10, loadRps: 10, {numbers}"));
    let west = facts("west", NOW - 30, &numbers("capacityRps: 400, residualRps: 40, deviation: 0.2"));
    let east = facts("east", NOW - 12, &numbers("residualRps: 0, deviation: 0"));
    let explanation = explained(&synced("east", &(web("") + &east + &west)));
    let shown = |cluster: &str| {
        let candidate = explanation.clusters.iter().find(|one| one.cluster == cluster).unwrap();
        let inputs = candidate.inputs.as_ref().unwrap();
        [&inputs.residual_rps, &inputs.deviation].map(|input| also(input.as_ref()))
    };
    let from_west = |value: &str| Some(format!("{value} ClusterFacts of west, 30 s ago"));
    assert_eq!(shown("west"), [from_west("40"), from_west("0.2")]);
    assert_eq!([shown("east"), shown("north")], [[None, None], [None, None]]);
}

#[test]
fn assumed_capacity_names_its_basis() {
    let names: Vec<(String, String)> = (1..=30).map(|n| (format!("web-{n}"), format!("10.1.0.{n}"))).collect();
    let pods: Vec<_> = names.iter().map(|(pod, address)| (pod.as_str(), address.as_str(), true)).collect();
    let explanation = explained(&synced("east", &(web("") + &own("web-1", "web", &pods))));
    let of = |cluster| input(&explanation, cluster, |inputs| &inputs.capacity_rps);
    assert_eq!(of("east"), "Some(3000.0) 30 ready pods × capacityRpsPerPod 100");
    assert_eq!(of("west"), "Some(100.0) 1 ready endpoint × capacityRpsPerPod 100");
}

#[test]
fn next_change_of_a_cluster_with_a_minimum_share_keeps_that_share() {
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
fn rows_of_clusters_without_a_pipeline_are_planned_and_edits_apply_to_all_rows() {
    let pipelines = [fleet()];
    let then = |edits: &[Edit]| outcome(&pipelines, &key(), edits, Some(NOW)).unwrap();
    let weight = |outcome: &Outcome, source: &str, exporter: &str| {
        let share = outcome.shares[&id(source)].iter().find(|share| share.cluster == id(exporter)).unwrap();
        share.weight
    };
    let now = then(&[]);
    assert_eq!(now.shares.len(), 2, "east and west: north has no demand");
    let before = weight(&now, "east", "east");
    assert!(before > 300 && weight(&now, "west", "west") == 1000 && now.overloaded.is_empty(), "{now:?}");
    let out = then(&[Edit::Outage(id("west"))]);
    assert_eq!((weight(&out, "west", "west"), out.unanswered), (0, false));
    let less = then(&[Edit::Capacity(id("east"), Amount::Times(0.3))]);
    assert!(weight(&less, "east", "east") < before - 100, "of the assumed 100");
    let more = then(&[Edit::Demand(id("east"), Amount::Rps(900.0))]);
    assert!(!more.overloaded.is_empty() && more.bill.unwrap().ms.is_none(), "the total capacity is 600: {more:?}");
    let all_out = then(&[Edit::Outage(id("west")), Edit::Outage(id("east")), Edit::Outage(id("north"))]);
    assert!(all_out.unanswered && all_out.bill.is_none());
}
