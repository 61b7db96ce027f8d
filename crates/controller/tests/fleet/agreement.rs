//! Each cluster plans by itself from facts of different ages, and the plans still do not oscillate.

use landfall_api::ClusterFactsSpec;

use crate::cluster::written;
use crate::world::{OPTIMIZED, ROUND, World, moved};

/// Random numbers that are equal in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

const CLUSTERS: [&str; 6] = ["c1", "c2", "c3", "c4", "c5", "c6"];

fn fleet() -> World {
    let mut world = World::new(&CLUSTERS, OPTIMIZED).with_rtt_ms(|i, j| 4.0 + 7.0 * i.abs_diff(j) as f64);
    for (i, cluster) in CLUSTERS.into_iter().enumerate() {
        world = world.with_export("web", cluster, 20 + i).with_demand(cluster, "web", 110.0);
    }
    world.with_demand("c1", "web", 320.0).started()
}

/// Returns a fleet in which facts arrive up to five rounds late, with a delay for each pair, while demands change.
fn late() -> World {
    let mut world = fleet();
    let mut random = Random(7);
    let late: Vec<u64> = (0..36).map(|_| random.below(5 * ROUND)).collect();
    world.delay = Box::new(move |from, to| late[6 * from + to]);
    for _ in 0..20 {
        for cluster in CLUSTERS {
            world.demand(cluster, "web", usual(cluster) * (0.9 + random.below(200) as f64 / 1000.0));
        }
        world.run(ROUND);
    }
    CLUSTERS.into_iter().for_each(|cluster| world.demand(cluster, "web", usual(cluster)));
    world
}

/// No cluster publishes changed facts. Once the latest facts have arrived, no share moves.
#[test]
fn shares_stand_still_with_the_facts_even_if_these_are_five_rounds_late() {
    let mut world = late();
    world.clusters.iter_mut().for_each(|cluster| cluster.mute = true);
    (0..7).for_each(|_| republish(&mut world));
    let still = world.shares("web");
    assert!(still.values().all(|row| (row.values().sum::<f64>() - 1.0).abs() < 1e-9));
    for _ in 0..20 {
        republish(&mut world);
        assert!(moved(&still, &world.shares("web")) < 1e-9, "{still:?} {:?}", world.shares("web"));
    }
}

/// Publishes the facts of all clusters again without a change, and runs for a round.
fn republish(world: &mut World) {
    for (object, _) in world.broker.values().cloned().collect::<Vec<_>>() {
        let from = world.index(&object.spec.cluster);
        let generation = object.spec.generation.map(|generation| generation + 1);
        world.write(written(ClusterFactsSpec { generation, ..object.spec }, world.now), from);
    }
    world.run(ROUND);
}

/// Clusters keep publishing measurements that reflect old decisions. Oscillations decay, and no cluster is overloaded.
#[test]
fn shares_do_not_oscillate_with_facts_up_to_five_rounds_late() {
    let mut world = late();
    world.run(20 * ROUND);
    let mut last = world.shares("web");
    for round in 0..20 {
        world.run(ROUND);
        let now = world.shares("web");
        assert!(moved(&last, &now) < 0.05, "{round}: {last:?} {now:?}");
        last = now;
        assert_within_capacity(&world);
    }
}

fn usual(cluster: &str) -> f64 {
    if cluster == "c1" { 320.0 } else { 110.0 }
}

fn assert_within_capacity(world: &World) {
    for ((_, exporter), load) in world.loads() {
        let i = CLUSTERS.iter().position(|cluster| *cluster == exporter).unwrap();
        let capacity = 10.0 * (20 + i) as f64;
        assert!(load < 0.95 * capacity, "{exporter}: {load} of {capacity}");
    }
}

/// Clusters with the same facts make the same joint plan, so each exporter gets its planned load.
#[test]
fn no_cluster_is_overloaded_in_any_round_of_a_steady_fleet() {
    let mut world = fleet();
    world.run(4 * ROUND);
    world.watch(10 * ROUND, assert_within_capacity);
}
