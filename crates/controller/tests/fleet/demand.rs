//! Demand of clients, as it is published.

use crate::world::World;

/// Long rounds, so that most events are in the middle of a round.
const LONG: &str = "{loadBalancing: optimized, optimized: {roundSeconds: 300, capacityRpsPerPod: 10}}";

/// Demand of east when its clients are active, in requests per second.
const ASKED: f64 = 50.0;

/// Returns a fleet in which only west exports, and only east has clients.
fn quiet() -> World {
    World::new(&["east", "west"], LONG).with_rtt_ms(|_, _| 10.0).with_export("web", "west", 20).started()
}

/// Returns the demand that east published last.
fn published_demand(world: &World) -> f64 {
    let (object, _) = &world.broker["east-0"];
    object.spec.services.iter().find_map(|service| service.demand_rps).unwrap_or(0.0)
}

/// Starts the clients of east after a minute. For two rounds the published demand must not exceed the real one, and
/// then it must be known.
fn assert_never_overstated(mut world: World) {
    world.run(60);
    world.demand("east", "web", ASKED);
    world.watch(600, |world| {
        assert!(published_demand(world) < 1.05 * ASKED, "{}: {} requests/s", world.now, published_demand(world))
    });
    assert!(published_demand(&world) > 0.95 * ASKED, "{}", published_demand(&world));
}

#[test]
fn first_demand_in_the_middle_of_a_round_is_not_overstated() {
    let mut world = quiet();
    world.run(700);
    assert_never_overstated(world);
}

#[test]
fn demand_after_a_pause_is_not_overstated() {
    let mut world = quiet();
    world.demand("east", "web", ASKED);
    world.run(1000);
    world.demand("east", "web", 0.0);
    world.run(1000);
    assert_never_overstated(world);
}

/// The demand grows in two steps within a round, and is published by an operator that read the previous demand from the
/// broker.
#[test]
fn growing_demand_is_not_overstated_by_a_restarted_operator() {
    let mut world = quiet();
    world.demand("east", "web", 10.0);
    world.run(1000);
    world.restart(0);
    world.run(330);
    world.demand("east", "web", 20.0);
    world.run(60);
    assert_never_overstated(world);
}

/// Clients that cache an answer make fifty requests with it, which a new leader cannot see at first.
#[test]
fn requests_per_answer_are_known_after_a_round_and_after_a_restart() {
    let mut world = World::new(&["east", "west"], LONG)
        .with_rtt_ms(|_, _| 10.0)
        .with_requests_per_answer(50.0)
        .with_export("web", "east", 100)
        .with_export("web", "west", 100)
        .with_demand("east", "web", 900.0)
        .started();
    world.run(400);
    assert!((850.0..950.0).contains(&published_demand(&world)), "after a round: {}", published_demand(&world));
    world.run(1600);
    world.restart(0);
    world.watch(1000, |world| {
        assert!((850.0..950.0).contains(&published_demand(world)), "{}: {}", world.now, published_demand(world))
    });
}

/// The last count is used for six rounds, like the facts of a silent cluster.
#[test]
fn demand_without_counts_is_not_published_for_ever() {
    let mut world = quiet();
    world.demand("east", "web", ASKED);
    world.run(1000);
    world.of_mut("east").counts = false;
    world.run(1500);
    assert!(published_demand(&world) > 0.95 * ASKED, "{}", published_demand(&world));
    world.run(1200);
    assert!(published_demand(&world) < 1e-9, "{}", published_demand(&world));
    world.of_mut("east").counts = true;
    world.run(700);
    assert!(published_demand(&world) > 0.95 * ASKED, "{}", published_demand(&world));
}
