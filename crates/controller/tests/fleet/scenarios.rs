//! Failures that were reported for other projects, named after the report, and replayed here.

use std::collections::BTreeMap;

use landfall_core::achieved::{Verdict, achieved};
use landfall_core::export::Family;
use landfall_core::name::ClusterId;

use crate::manifests::{applied, objects};
use crate::world::{OPTIMIZED, ROUND, World, web};

fn id(cluster: &str) -> ClusterId {
    ClusterId::new(cluster).unwrap()
}

/// Draws answers from the DNS replica of `east`. Returns their number by exporting cluster.
fn drawn(world: &World, draws: usize) -> BTreeMap<ClusterId, u64> {
    let planned = world.of("east").replica(&web());
    let before: BTreeMap<ClusterId, u64> = counted(world);
    for _ in 0..draws {
        let point = planned.next_point();
        assert!(planned.answer_with_one(Family::Ipv4, point).is_some(), "no empty answer");
    }
    counted(world).into_iter().map(|(id, count)| (id.clone(), count - before.get(&id).unwrap_or(&0))).collect()
}

fn counted(world: &World) -> BTreeMap<ClusterId, u64> {
    let planned = world.of("east").replica(&web());
    planned.answered().filter_map(|(cluster, count)| Some((cluster?.clone(), count))).collect()
}

/// Returns a fleet in which east serves a load that keeps 30 pods at two thirds, and west, which is as near, has no
/// pods.
fn cold() -> World {
    World::new(
        &["east", "west"],
        "{loadBalancing: optimized, optimized: {roundSeconds: 30, \
                                        capacityRpsPerPod: 300}}",
    )
    .with_export("web", "east", 30)
    .with_export("web", "west", 0)
    .with_demand("east", "web", 3000.0)
    .with_demand("west", "web", 3000.0)
    .started()
}

/// A cluster grows from no pod to thirty, one every three seconds. No pod ever gets more than 1.2 times its fair share
/// of the load, although clusters publish at most every ten seconds.
#[test]
fn cilium_46633_cold_start() {
    let mut world = cold();
    world.run(5 * ROUND);
    assert!(world.share("west", "east") > 0.999, "there is no other exporter");
    let mut worst = 0.0_f64;
    for ready in 1..=30 {
        world.scale("web", "west", ready);
        world.watch(3, |world| {
            let unfair = world.unfairness("web");
            worst = worst.max(unfair.values().copied().fold(0.0, f64::max));
            assert!(unfair.values().all(|times| *times <= 1.2), "{ready} pods: {unfair:?}");
        });
    }
    world.run(2 * ROUND);
    let settled = world.unfairness("web");
    assert!(settled.values().all(|times| (times - 1.0).abs() < 0.03), "{settled:?}");
    assert!(worst > 1.0, "the growth was observed");
}

/// The same when all thirty pods start at once. The new ones are never overloaded, and the old ones, which had all of
/// the load, are relieved as soon as the next publication is due.
#[test]
fn new_pods_are_not_overloaded_and_relieve_the_others_within_eleven_seconds() {
    let mut world = cold();
    world.run(5 * ROUND);
    world.scale("web", "west", 30);
    let mut relieved = None;
    let mut second = 0;
    world.watch(2 * ROUND, |world| {
        second += 1;
        let unfair = world.unfairness("web");
        assert!(unfair["west"] <= 1.2, "after {second} s: {unfair:?}");
        if unfair["east"] <= 1.2 && relieved.is_none() {
            relieved = Some(second);
        }
        assert!(relieved.is_none() || unfair["east"] <= 1.2, "and it stays so: {unfair:?}");
    });
    assert!(relieved.is_some_and(|second| second <= 11), "{relieved:?}");
}

/// A cluster fails with everything that could report it, so its slices stay as they were. After the third unanswered
/// probe, all other clusters drop its share within that second. It is back within a round.
#[test]
fn submariner_821_dead_cluster() {
    let mut world = World::new(&["east", "north", "west"], OPTIMIZED)
        .with_export("web", "east", 10)
        .with_export("web", "north", 10)
        .with_export("web", "west", 10)
        .with_demand("east", "web", 60.0)
        .with_demand("north", "web", 60.0)
        .with_demand("west", "web", 20.0)
        .started();
    world.run(5 * ROUND);
    let before = world.share("east", "west");
    assert!(before > 0.2, "{before}");
    world.kill("west");
    world.run(2);
    assert!(world.share("east", "west") > 0.2, "two lost probes do not count");
    world.run(1);
    world.watch(20 * ROUND, |world| {
        for source in ["east", "north"] {
            assert!(world.share(source, "west") < 1e-9, "{source}: {:?}", world.shares("web"));
            let sum: f64 = ["east", "north"].iter().map(|exporter| world.share(source, exporter)).sum();
            assert!((sum - 1.0).abs() < 1e-9);
        }
    });
    world.revive("west");
    world.run(ROUND);
    for source in ["east", "north"] {
        assert!((world.share(source, "west") - before).abs() < 0.05, "{:?}", world.shares("web"));
    }
}

/// Weights of 80 and 20 for two clusters, and a third one only if one of them fails: explicit weights with immediate
/// failover, by the weights of the remaining clusters.
#[test]
fn istio_35124_weights_plus_failover() {
    const POLICY: &str = "{loadBalancing: weighted-round-robin, localPreference: Balance, weights: [{source: \"*\", clusters: \
                          {east: 1, north: 4, west: 16}}]}";
    let mut world = World::new(&["east", "north", "west"], POLICY)
        .with_export("web", "east", 2)
        .with_export("web", "north", 2)
        .with_export("web", "west", 0)
        .with_demand("east", "web", 10.0)
        .started();
    world.run(5);
    let shares = |world: &World| {
        ["east", "north", "west"].map(|exporter| format!("{:.1}%", 100.0 * world.share("east", exporter)))
    };
    assert_eq!(shares(&world), ["80.0%", "20.0%", "0.0%"]);
    world.scale("web", "west", 2);
    world.scale("web", "east", 0);
    world.run(1);
    assert_eq!(shares(&world), ["0.0%", "80.0%", "20.0%"], "the remaining ones, by their weights");
    world.scale("web", "north", 0);
    world.run(1);
    assert_eq!(shares(&world), ["0.0%", "0.0%", "100.0%"]);
    world.scale("web", "east", 2);
    world.scale("web", "north", 2);
    world.scale("web", "west", 0);
    world.run(1);
    assert_eq!(shares(&world), ["80.0%", "20.0%", "0.0%"]);
    world.kill("east");
    world.of_mut("east").runs = true;
    world.run(4);
    assert!((world.share("north", "north") - 1.0).abs() < 1e-9, "an unreachable cluster counts like failed pods");
}

/// The same with a minimum share: a cluster keeps it beside the weights, and takes over when it is alone.
#[test]
fn minimum_share_holds_beside_explicit_weights_and_while_others_fail() {
    const POLICY: &str = "{loadBalancing: weighted-round-robin, localPreference: Balance, minShares: {west: 10%}, weights: \
                          [{source: \"*\", clusters: {east: 1, north: 4, west: 1000}}]}";
    let mut world = World::new(&["east", "north", "west"], POLICY)
        .with_export("web", "east", 2)
        .with_export("web", "north", 2)
        .with_export("web", "west", 2)
        .with_demand("east", "web", 10.0)
        .started();
    world.run(5);
    let shares = |world: &World| {
        ["east", "north", "west"].map(|exporter| format!("{:.1}%", 100.0 * world.share("east", exporter)))
    };
    assert_eq!(shares(&world), ["72.0%", "18.0%", "10.0%"]);
    world.scale("web", "east", 0);
    world.run(1);
    assert_eq!(shares(&world), ["0.0%", "90.0%", "10.0%"]);
    world.scale("web", "north", 0);
    world.run(1);
    assert_eq!(shares(&world), ["0.0%", "0.0%", "100.0%"]);
}

/// Clients really get 80/20: within the confidence interval over 10,000 answers. While one side comes and goes, the
/// same holds for the answers while both are ready.
#[test]
fn k8gb_1964_eighty_twenty() {
    const POLICY: &str = "{loadBalancing: weighted-round-robin, localPreference: Balance, weights: [{source: \"*\", clusters: \
                          {east: 1, north: 4}}]}";
    let mut world = World::new(&["east", "north"], POLICY)
        .with_export("web", "east", 3)
        .with_export("web", "north", 3)
        .with_demand("east", "web", 10.0)
        .started();
    world.run(5);
    let weights = BTreeMap::from([(id("east"), 800), (id("north"), 200)]);
    let judge = |answers: &BTreeMap<ClusterId, u64>| {
        let all = achieved(&weights, answers);
        assert!(all.iter().all(|one| one.verdict == Verdict::AsIntended), "{all:?}");
        assert!(all.iter().all(|one| (one.share - one.intended).abs() < 0.002), "{all:?}");
    };
    judge(&drawn(&world, 10_000));
    let mut both: BTreeMap<ClusterId, u64> = BTreeMap::new();
    for turn in 0..200 {
        let alone = drawn_while(&mut world, 0, 50);
        assert_eq!(alone.get("north").copied().unwrap_or(0), 0, "turn {turn}");
        for (cluster, count) in drawn_while(&mut world, 3, 50) {
            *both.entry(cluster).or_default() += count;
        }
    }
    assert_eq!(both.values().sum::<u64>(), 10_000);
    judge(&both);
}

/// Draws answers while this number of pods of `north` is ready.
fn drawn_while(world: &mut World, ready: usize, draws: usize) -> BTreeMap<ClusterId, u64> {
    world.scale("web", "north", ready);
    world.run(1);
    drawn(world, draws)
}

/// An export becomes ready and unready every two seconds. Facts are written at most every ten seconds, the shares of
/// the others change only by the missing share, and there is an answer while any exporter is ready.
#[test]
fn flapping_readiness() {
    let mut world = World::new(&["east", "north", "west"], OPTIMIZED)
        .with_export("web", "east", 10)
        .with_export("web", "north", 10)
        .with_export("web", "west", 10)
        .with_demand("east", "web", 50.0)
        .with_demand("north", "web", 50.0)
        .started();
    world.run(10 * ROUND);
    let calm = world.shares("web")["east"].clone();
    let written = |world: &World| -> Vec<usize> { world.clusters.iter().map(|c| c.published.len()).collect() };
    let (before, since) = (written(&world), world.now);
    let selections = world.of("east").selections_written;
    for turn in 0..150 {
        world.scale("web", "west", if turn % 2 == 0 { 0 } else { 10 });
        world.watch(2, |world| {
            let row = &world.shares("web")["east"];
            assert!((row.values().sum::<f64>() - 1.0).abs() < 1e-9, "{row:?}");
            let (east, north, west) = (row["east"], row["north"], row["west"]);
            // Relative to the shares without west, each exporter has its previous share.
            let part = east / (1.0 - west);
            let usual = calm["east"] / (1.0 - calm["west"]);
            assert!(west < 0.999 && (part - usual).abs() < 0.05, "{east} {north} {west}, {calm:?}");
        });
    }
    for (i, before) in before.into_iter().enumerate() {
        let times: Vec<u64> = world.clusters[i].published.iter().copied().filter(|at| *at > since).collect();
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 10), "{times:?}");
        let most = if world.clusters[i].id.as_str() == "west" { 30 } else { 15 };
        assert!(world.clusters[i].published.len() - before <= most, "{}: {times:?}", world.clusters[i].id);
    }
    let flaps = world.of("east").selections_written - selections;
    assert!(flaps <= 300, "at most two for each change of readiness: {flaps}");
    world.run(10 * ROUND);
    let after = &world.shares("web")["east"];
    assert!((after["west"] - calm["west"]).abs() < 0.05, "as before once it stays ready: {calm:?} {after:?}");
}

/// A round can take minutes, and a stale price costs money meanwhile.
#[test]
fn changed_price_is_published_within_eleven_seconds() {
    const LONG: &str = "{loadBalancing: optimized, optimized: {roundSeconds: 300, capacityRpsPerPod: 10}}";
    let mut world = World::new(&["east", "west"], LONG).with_rtt_ms(|_, _| 10.0);
    world =
        world.with_export("web", "east", 10).with_export("web", "west", 10).with_demand("east", "web", 50.0).started();
    world.run(700);
    let published_price =
        |world: &World| world.broker["east-0"].0.spec.egress.first().and_then(|price| price.usd_per_gb);
    assert_eq!(published_price(&world), Some(0.0), "one zone");
    let price = "---\napiVersion: landfall.dev/v1alpha1\nkind: NetworkPricing\nmetadata: {name: ours}\nspec: {rules: \
                 [{usdPerGb: 0.05}]}\n";
    let now = world.now;
    world.of_mut("east").see(|| applied(objects(price)), now);
    world.run(11);
    assert_eq!(published_price(&world), Some(0.05));
}
