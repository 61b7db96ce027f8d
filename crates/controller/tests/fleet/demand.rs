//! What clients ask for, as the others are told it.

use crate::world::World;

/// Long rounds: most of what happens, happens in the middle of one.
const LONG: &str = "{loadBalancing: optimized, optimized: {roundSeconds: 300, capacityRpsPerPod: 10}}";

/// What east's clients ask for when they do, in requests per second.
const ASKED: f64 = 50.0;

/// Only west exports, and only the clients of east ever ask.
fn quiet() -> World {
    World::new(&["east", "west"], LONG).apart(|_, _| 10.0).exports("web", "west", 20).started()
}

/// What east last said of its demand.
fn told(world: &World) -> f64 {
    let (object, _) = &world.broker["east-0"];
    object.spec.services.iter().find_map(|service| service.demand_rps).unwrap_or(0.0)
}

/// Clients begin, a minute after `world` was left, and for two rounds nobody is told that they ask for more than they do. A round
/// after they began it is known what they ask for.
fn is_never_overstated(mut world: World) {
    world.run(60);
    world.demand("east", "web", ASKED);
    world.watch(600, |world| assert!(told(world) < 1.05 * ASKED, "{}: {} requests/s", world.now, told(world)));
    assert!(told(&world) > 0.95 * ASKED, "{}", told(&world));
}

#[test]
fn clients_who_ask_for_the_first_time_in_the_middle_of_a_round_are_not_taken_for_more_than_they_are() {
    let mut world = quiet();
    world.run(700);
    is_never_overstated(world);
}

#[test]
fn nor_are_those_who_have_asked_before_and_paused() {
    let mut world = quiet();
    world.demand("east", "web", ASKED);
    world.run(1000);
    world.demand("east", "web", 0.0);
    world.run(1000);
    is_never_overstated(world);
}

/// A demand that grows in two steps within a round, told by an operator that has learnt the last one from the broker.
#[test]
fn nor_are_those_who_ask_for_more_and_more_while_operators_take_turns() {
    let mut world = quiet();
    world.demand("east", "web", 10.0);
    world.run(1000);
    world.restart(0);
    world.run(330);
    world.demand("east", "web", 20.0);
    world.run(60);
    is_never_overstated(world);
}

/// Clients that keep an answer make fifty requests with it, which no one who begins to lead can see at first.
#[test]
fn what_an_answer_brings_is_known_after_a_round_and_to_who_begins_to_lead() {
    let mut world = World::new(&["east", "west"], LONG)
        .apart(|_, _| 10.0)
        .bringing(50.0)
        .exports("web", "east", 100)
        .exports("web", "west", 100)
        .asks("east", "web", 900.0)
        .started();
    world.run(400);
    assert!((850.0..950.0).contains(&told(&world)), "after a round: {}", told(&world));
    world.run(1600);
    world.restart(0);
    world.watch(1000, |world| assert!((850.0..950.0).contains(&told(world)), "{}: {}", world.now, told(world)));
}

/// What was counted last counts for six rounds, as what a silent cluster said does.
#[test]
fn a_demand_that_nobody_counts_any_more_is_not_told_for_ever() {
    let mut world = quiet();
    world.demand("east", "web", ASKED);
    world.run(1000);
    world.of_mut("east").counts = false;
    world.run(1500);
    assert!(told(&world) > 0.95 * ASKED, "{}", told(&world));
    world.run(1200);
    assert!(told(&world) < 1e-9, "{}", told(&world));
    world.of_mut("east").counts = true;
    world.run(700);
    assert!(told(&world) > 0.95 * ASKED, "{}", told(&world));
}
