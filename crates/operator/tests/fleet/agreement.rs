//! Everybody decides for itself from facts of another age, and still nobody runs after anybody.

use crate::world::{OPTIMIZED, ROUND, World, moved};

/// The same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

const CLUSTERS: [&str; 6] = ["c1", "c2", "c3", "c4", "c5", "c6"];

fn fleet() -> World {
    let mut world = World::new(&CLUSTERS, OPTIMIZED).apart(10.0);
    for (i, cluster) in CLUSTERS.into_iter().enumerate() {
        world = world.exports("web", cluster, 20 + i).asks(cluster, "web", 110.0);
    }
    world.asks("c1", "web", 320.0).started()
}

/// Each cluster hears each other up to five rounds late, another one for every pair, while demands wander.
/// Then nothing changes any more, and after the oldest news has come no share does either.
#[test]
fn with_facts_up_to_five_rounds_late_shares_stand_still_when_the_facts_do() {
    let mut world = fleet();
    let mut random = Random(7);
    let late: Vec<u64> = (0..36).map(|_| random.below(5 * ROUND)).collect();
    world.delay = Box::new(move |from, to| late[6 * from + to]);
    let mut wander = Random(11);
    for _ in 0..20 {
        for cluster in CLUSTERS {
            let usual = if cluster == "c1" { 320.0 } else { 110.0 };
            world.demand(cluster, "web", usual * (0.9 + wander.below(200) as f64 / 1000.0));
        }
        world.run(ROUND);
    }
    for cluster in CLUSTERS {
        world.demand(cluster, "web", if cluster == "c1" { 320.0 } else { 110.0 });
    }
    world.run(14 * ROUND);
    let still = world.shares("web");
    assert!(still.values().all(|row| (row.values().sum::<f64>() - 1.0).abs() < 1e-9));
    let mut last = still.clone();
    let mut moves = 0;
    for _ in 0..20 {
        world.run(ROUND);
        let now = world.shares("web");
        moves += usize::from(moved(&last, &now) > 1e-9);
        let said = |c: &crate::cluster::Cluster| {
            c.pipeline
                .published()
                .unwrap()
                .services
                .values()
                .map(|r| (r.demand_rps.unwrap_or(0.0).round(), r.residual_rps.round(), (r.deviation * 100.0).round()))
                .collect::<Vec<_>>()
        };
        println!(
            "{:?} {:?}",
            now.values().next().unwrap().values().collect::<Vec<_>>(),
            world.clusters.iter().map(said).collect::<Vec<_>>()
        );
        last = now;
    }
    assert!(moved(&still, &last) < 0.03 && moves <= 2, "{moves} moves: {still:?} {last:?}");
}

/// Whoever plans from the same facts, plans the same for all: what each exporter gets is what was planned for it.
#[test]
fn nobody_is_asked_for_more_than_it_can_in_any_round_of_a_steady_fleet() {
    let mut world = fleet();
    world.run(4 * ROUND);
    world.watch(10 * ROUND, |world| {
        for ((_, exporter), load) in world.loads() {
            let i = CLUSTERS.iter().position(|cluster| *cluster == exporter).unwrap();
            let capacity = 10.0 * (20 + i) as f64;
            assert!(load < 0.95 * capacity, "{exporter}: {load} of {capacity}");
        }
    });
}
