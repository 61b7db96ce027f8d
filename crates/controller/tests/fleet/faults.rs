//! Faults around the control loop: none of them changes shares more than health does.

use landfall_api::{ClusterFactsSpec, ServiceFacts};
use landfall_core::optimize::report::Report;

use crate::cluster::written;
use crate::world::{OPTIMIZED, ROUND, World, moved, web};

/// Returns three clusters ten milliseconds apart. East has more demand than capacity; north and west have free
/// capacity.
fn overflowing() -> World {
    world().started()
}

fn world() -> World {
    World::new(&["east", "north", "west"], OPTIMIZED)
        .with_rtt_ms(|_, _| 10.0)
        .with_export("web", "east", 10)
        .with_export("web", "north", 20)
        .with_export("web", "west", 20)
        .with_demand("east", "web", 140.0)
        .with_demand("north", "web", 60.0)
        .with_demand("west", "web", 60.0)
}

/// Returns the report that a cluster published for the service.
fn published(world: &World, cluster: &str) -> Report {
    world.of(cluster).pipeline.published().unwrap().services[&web()]
}

/// Limit of a change that is no swing: a row that differs by less is kept (see `Tuning::hysteresis`).
const NO_SWING: f64 = 0.03;

fn assert_stable_during_an_outage_of(seconds: u64) {
    let mut world = overflowing();
    world.run(8 * ROUND);
    let before = world.shares("web");
    assert!(world.share("east", "east") < 0.75, "{before:?}");
    world.lose_broker();
    world.watch(seconds / 2, |world| {
        assert!(moved(&before, &world.shares("web")) < 1e-9, "{before:?} {:?}", world.shares("web"));
    });
    world.scale("web", "north", 0);
    world.run(1);
    assert!(world.shares("web").values().all(|row| row["north"] < 1e-9), "health still applies");
    world.scale("web", "north", 20);
    world.run(2);
    world.watch(seconds / 2, |world| {
        let now = world.shares("web");
        assert!(moved(&before, &now) < NO_SWING, "{before:?} {now:?}");
    });
    world.find_broker();
    world.watch(8 * ROUND, |world| {
        let now = world.shares("web");
        assert!(moved(&before, &now) < NO_SWING, "{before:?} {now:?}");
    });
}

#[test]
fn shares_change_only_with_health_in_a_broker_outage_of_five_minutes_and_do_not_swing_after_it() {
    assert_stable_during_an_outage_of(300);
}

#[test]
fn shares_change_only_with_health_in_a_broker_outage_of_an_hour_and_do_not_swing_after_it() {
    assert_stable_during_an_outage_of(3600);
}

/// The failure was published before the outage, and the recovery cannot be published in it.
#[test]
fn recovered_cluster_gets_its_share_at_once_during_a_broker_outage() {
    let mut world = overflowing();
    world.run(8 * ROUND);
    let before = world.shares("web");
    assert!(before["east"]["west"] > 0.1, "{before:?}");
    world.kill("west");
    world.run(2 * ROUND);
    assert!(world.share("east", "west") < 1e-9);
    world.lose_broker();
    world.run(ROUND);
    world.revive("west");
    world.run(5);
    assert!((world.share("east", "west") - before["east"]["west"]).abs() < NO_SWING, "{:?}", world.shares("web"));
}

#[test]
fn changed_demand_moves_no_share_during_a_broker_outage() {
    let mut world = overflowing();
    world.run(8 * ROUND);
    let before = world.shares("web");
    world.lose_broker();
    world.demand("east", "web", 300.0);
    world.watch(20 * ROUND, |world| {
        let now = world.shares("web");
        assert!(moved(&before, &now) < 1e-9, "{before:?} {now:?}");
    });
    world.find_broker();
    world.run(2 * ROUND);
    assert!(world.share("east", "east") < before["east"]["east"] - 0.05, "{:?}", world.shares("web"));
}

#[test]
fn clock_that_is_an_hour_off_changes_no_shares() {
    let mut right = overflowing();
    right.run(10 * ROUND);
    for ahead in [3600, -3600] {
        let mut wrong = overflowing();
        wrong.of_mut("north").ahead = ahead;
        wrong.restart(1);
        wrong.run(10 * ROUND);
        let difference = moved(&right.shares("web"), &wrong.shares("web"));
        assert!(difference < NO_SWING, "{ahead}: {:?} {:?}", right.shares("web"), wrong.shares("web"));
    }
}

#[test]
fn clock_step_of_an_hour_changes_no_shares() {
    for ahead in [3600, -3600] {
        let mut world = overflowing();
        world.run(10 * ROUND);
        let before = world.shares("web");
        world.of_mut("north").ahead = ahead;
        let now = world.now;
        world.of_mut("north").notice_clock(now);
        world.watch(20 * ROUND, |world| {
            let now = world.shares("web");
            assert!(moved(&before, &now) < NO_SWING, "{ahead}: {before:?} {now:?}");
        });
        let last = *world.of("north").published.last().unwrap();
        assert!(world.now - last < 2 * ROUND, "{ahead}: it keeps publishing");
    }
}

#[test]
fn cluster_that_stops_publishing_keeps_its_share_for_twelve_rounds() {
    let mut world = overflowing();
    world.run(10 * ROUND);
    world.of_mut("west").mute = true;
    world.run(3);
    let last = *world.of("west").published.last().unwrap();
    let mut out = None;
    world.watch(15 * ROUND, |world| {
        let (east, age) = (world.share("east", "west"), world.now - last);
        assert!(age >= 12 * ROUND || east > 0.01, "{age} s: {:?}", world.shares("web"));
        if east < 1e-9 && out.is_none() {
            out = Some(age);
        }
    });
    assert!(out.is_some_and(|age| age <= 14 * ROUND), "{out:?} {:?}", world.shares("web"));
    world.of_mut("west").mute = false;
    world.run(2 * ROUND);
    assert!(world.share("east", "west") > 0.05, "it gets a share again once it publishes again");
}

#[test]
fn restarted_operator_continues_from_published_facts() {
    let mut world = overflowing();
    world.run(10 * ROUND);
    let before = world.shares("web");
    for i in 0..3 {
        world.restart(i);
        world.watch(4 * ROUND, |world| {
            let now = world.shares("web");
            assert!(moved(&before, &now) < NO_SWING, "{i}: {before:?} {now:?}");
        });
    }
    (0..3).for_each(|i| world.restart(i));
    world.watch(6 * ROUND, |world| {
        let now = world.shares("web");
        assert!(moved(&before, &now) < NO_SWING, "all at once: {before:?} {now:?}");
    });
}

/// The fleet starts without published facts.
#[test]
fn starting_fleet_is_stable_within_two_rounds() {
    let mut world = overflowing();
    world.run(2 * ROUND + 5);
    let early = world.shares("web");
    world.run(20 * ROUND);
    let late = world.shares("web");
    assert!(moved(&early, &late) < NO_SWING, "{early:?} {late:?}");
}

#[test]
fn learnt_pod_capacity_survives_a_change_of_leader() {
    let mut world = world().with_pod_capacity(7.0).started();
    world.run(40 * ROUND);
    let before = published(&world, "east").capacity_rps.unwrap();
    assert!((before - 70.0).abs() < 7.0, "ten pods with a capacity of 7, not 10: {before}");
    world.restart(0);
    world.watch(2 * ROUND, |world| {
        let Some(own) = world.of("east").pipeline.published() else { return };
        let now = own.services[&web()].capacity_rps.unwrap();
        assert!((now - before).abs() < 0.1 * before, "{before} → {now}");
    });
    assert!(world.of("east").pipeline.published().is_some());
}

#[test]
fn demand_without_answers_keeps_the_learnt_requests_per_answer() {
    let mut world = world().with_requests_per_answer(40.0).started();
    world.run(10 * ROUND);
    let before = world.shares("web");
    let demand = |world: &World| published(world, "east").demand_rps.unwrap();
    assert!((demand(&world) - 140.0).abs() < 14.0, "{}", demand(&world));
    let web =
        ServiceFacts { namespace: "shop".into(), name: "web".into(), demand_rps: Some(1.0), ..Default::default() };
    let facts = ClusterFactsSpec { cluster: "south".into(), part: Some(0), services: vec![web], ..Default::default() };
    let object = written(facts, world.now);
    world.write(object, 2);
    world.watch(3 * ROUND, |world| {
        assert!((demand(world) - 140.0).abs() < 20.0, "{}", demand(world));
        let now = world.shares("web");
        assert!(moved(&before, &now) < NO_SWING, "{before:?} {now:?}");
    });
}
