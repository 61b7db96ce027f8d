//! What went wrong elsewhere, named after where it was reported, played through here.

use std::collections::BTreeMap;

use landfall_core::achieved::{Verdict, achieved};
use landfall_core::export::Family;
use landfall_core::name::ClusterId;

use crate::manifests::{applied, objects};
use crate::world::{OPTIMIZED, ROUND, World, web};

fn id(cluster: &str) -> ClusterId {
    ClusterId::new(cluster).unwrap()
}

/// Answers of the DNS replica of `east`, by the cluster whose address was given.
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

/// East serves a load that keeps 30 pods at two thirds; west, as near, has none.
fn cold() -> World {
    World::new(
        &["east", "west"],
        "{loadBalancing: optimized, optimized: {roundSeconds: 30, \
                                        capacityRpsPerPod: 300}}",
    )
    .exports("web", "east", 30)
    .exports("web", "west", 0)
    .asks("east", "web", 3000.0)
    .asks("west", "web", 3000.0)
    .started()
}

/// A cluster goes from no pod to thirty, one every three seconds: at no moment does any pod, old or new, get more than 1.2
/// times its fair share of the load, though no cluster tells the others more often than every ten seconds.
#[test]
fn cilium_46633_cold_start() {
    let mut world = cold();
    world.run(5 * ROUND);
    assert!(world.share("west", "east") > 0.999, "there is nobody else");
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
    assert!(worst > 1.0, "the rise was looked at");
}

/// The same when all thirty are there at once: the new ones are not overrun for a moment, and the old ones, which got all of
/// it until then, are relieved as soon as the news is allowed.
#[test]
fn pods_that_come_all_at_once_are_not_overrun_and_relieve_the_others_within_eleven_seconds() {
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

/// A cluster dies with all that would have to say so: its slices stay as they were for ever. Probes tell, the third one that
/// is not answered, and everybody's shares are without it in that second; it is back within a round.
#[test]
fn submariner_821_dead_cluster() {
    let mut world = World::new(&["east", "north", "west"], OPTIMIZED)
        .exports("web", "east", 10)
        .exports("web", "north", 10)
        .exports("web", "west", 10)
        .asks("east", "web", 60.0)
        .asks("north", "web", 60.0)
        .asks("west", "web", 20.0)
        .started();
    world.run(5 * ROUND);
    let before = world.share("east", "west");
    assert!(before > 0.2, "{before}");
    world.kill("west");
    world.run(2);
    assert!(world.share("east", "west") > 0.2, "two lost probes are nothing");
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

/// Weights of 80 and 20 for two clusters, and a third only for when one of them fails: explicit weights and failover at
/// once, by whatever the policy says of who is left.
#[test]
fn istio_35124_weights_plus_failover() {
    const POLICY: &str = "{loadBalancing: weighted-round-robin, localPreference: Balance, weights: [{source: \"*\", clusters: \
                          {east: 1, north: 4, west: 16}}]}";
    let mut world = World::new(&["east", "north", "west"], POLICY)
        .exports("web", "east", 2)
        .exports("web", "north", 2)
        .exports("web", "west", 0)
        .asks("east", "web", 10.0)
        .started();
    world.run(5);
    let shares = |world: &World| {
        ["east", "north", "west"].map(|exporter| format!("{:.1}%", 100.0 * world.share("east", exporter)))
    };
    assert_eq!(shares(&world), ["80.0%", "20.0%", "0.0%"]);
    world.scale("web", "west", 2);
    world.scale("web", "east", 0);
    world.run(1);
    assert_eq!(shares(&world), ["0.0%", "80.0%", "20.0%"], "those that are left, by their weights");
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
    assert!((world.share("north", "north") - 1.0).abs() < 1e-9, "a network that is cut counts as pods that fail");
}

/// The same with a promise: a cluster keeps its minimum beside the weights, and takes over when it is alone.
#[test]
fn a_minimum_share_holds_beside_explicit_weights_and_while_others_fail() {
    const POLICY: &str = "{loadBalancing: weighted-round-robin, localPreference: Balance, minShares: {west: 10%}, weights: \
                          [{source: \"*\", clusters: {east: 1, north: 4, west: 1000}}]}";
    let mut world = World::new(&["east", "north", "west"], POLICY)
        .exports("web", "east", 2)
        .exports("web", "north", 2)
        .exports("web", "west", 2)
        .asks("east", "web", 10.0)
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

/// 80/20 is what clients get, not only what was asked for: within the confidence interval over 10,000 answers, and while one
/// side comes and goes, over the answers of the time in which both were there.
#[test]
fn k8gb_1964_eighty_twenty() {
    const POLICY: &str = "{loadBalancing: weighted-round-robin, localPreference: Balance, weights: [{source: \"*\", clusters: \
                          {east: 1, north: 4}}]}";
    let mut world = World::new(&["east", "north"], POLICY)
        .exports("web", "east", 3)
        .exports("web", "north", 3)
        .asks("east", "web", 10.0)
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

/// While so many pods of `north` are ready.
fn drawn_while(world: &mut World, ready: usize, draws: usize) -> BTreeMap<ClusterId, u64> {
    world.scale("web", "north", ready);
    world.run(1);
    drawn(world, draws)
}

/// An export that comes and goes every two seconds: nothing is written more often than every ten seconds, what the others
/// get swings only by what is missing, and while anybody is ready there is an answer.
#[test]
fn flapping_readiness() {
    let mut world = World::new(&["east", "north", "west"], OPTIMIZED)
        .exports("web", "east", 10)
        .exports("web", "north", 10)
        .exports("web", "west", 10)
        .asks("east", "web", 50.0)
        .asks("north", "web", 50.0)
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
            // Of what is left when west's share is taken out, each has what it had before.
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
    assert!(flaps <= 300, "at most one for each time that it comes or goes, and one for what follows: {flaps}");
    world.run(10 * ROUND);
    let after = &world.shares("web")["east"];
    assert!((after["west"] - calm["west"]).abs() < 0.05, "and when it stays, it is as before: {calm:?} {after:?}");
}

/// Rounds may take minutes, and money goes meanwhile.
#[test]
fn a_price_that_changes_is_told_to_the_others_within_eleven_seconds() {
    const LONG: &str = "{loadBalancing: optimized, optimized: {roundSeconds: 300, capacityRpsPerPod: 10}}";
    let mut world = World::new(&["east", "west"], LONG).apart(|_, _| 10.0);
    world = world.exports("web", "east", 10).exports("web", "west", 10).asks("east", "web", 50.0).started();
    world.run(700);
    let told = |world: &World| world.broker["east-0"].0.spec.egress.first().and_then(|price| price.usd_per_gb);
    assert_eq!(told(&world), Some(0.0), "one zone");
    let price = "---\napiVersion: landfall.dev/v1alpha1\nkind: NetworkPricing\nmetadata: {name: ours}\nspec: {rules: \
                 [{usdPerGb: 0.05}]}\n";
    let now = world.now;
    world.of_mut("east").see(|| applied(objects(price)), now);
    world.run(11);
    assert_eq!(told(&world), Some(0.05));
}
