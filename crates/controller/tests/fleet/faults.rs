//! What goes wrong around the loop: nothing of it moves a share more than health does.

use landfall_api::{ClusterFactsSpec, ServiceFacts};
use landfall_core::optimize::report::Report;

use crate::cluster::written;
use crate::world::{OPTIMIZED, ROUND, World, moved, web};

/// Ten milliseconds apart. East has more to do than it can, north and west have room.
fn spilling() -> World {
    world().started()
}

fn world() -> World {
    World::new(&["east", "north", "west"], OPTIMIZED)
        .apart(|_, _| 10.0)
        .exports("web", "east", 10)
        .exports("web", "north", 20)
        .exports("web", "west", 20)
        .asks("east", "web", 140.0)
        .asks("north", "web", 60.0)
        .asks("west", "web", 60.0)
}

/// What a cluster publishes of the service.
fn published(world: &World, cluster: &str) -> Report {
    world.of(cluster).pipeline.published().unwrap().services[&web()]
}

/// A row that differs by less than this is kept (see `Tuning::hysteresis`), so what is a swing is more.
const NO_SWING: f64 = 0.03;

fn broker_away_for(seconds: u64) {
    let mut world = spilling();
    world.run(8 * ROUND);
    let before = world.shares("web");
    assert!(world.share("east", "east") < 0.75, "{before:?}");
    world.lose_broker();
    world.watch(seconds / 2, |world| {
        assert!(moved(&before, &world.shares("web")) < 1e-9, "{before:?} {:?}", world.shares("web"));
    });
    world.scale("web", "north", 0);
    world.run(1);
    assert!(world.shares("web").values().all(|row| row["north"] < 1e-9), "health counts all the same");
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
fn while_the_broker_is_away_for_five_minutes_only_health_moves_shares_and_nothing_swings_when_it_is_back() {
    broker_away_for(300);
}

#[test]
fn while_the_broker_is_away_for_an_hour_only_health_moves_shares_and_nothing_swings_when_it_is_back() {
    broker_away_for(3600);
}

/// That it was dead has been told to the others, and that it is not can be told to nobody.
#[test]
fn while_the_broker_is_away_a_dead_cluster_that_comes_back_is_answered_again_at_once() {
    let mut world = spilling();
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
fn while_the_broker_is_away_a_demand_that_changes_moves_nothing() {
    let mut world = spilling();
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
fn a_clock_that_is_an_hour_off_changes_nothing_for_anybody() {
    let mut right = spilling();
    right.run(10 * ROUND);
    for ahead in [3600, -3600] {
        let mut wrong = spilling();
        wrong.of_mut("north").ahead = ahead;
        wrong.restart(1);
        wrong.run(10 * ROUND);
        let difference = moved(&right.shares("web"), &wrong.shares("web"));
        assert!(difference < NO_SWING, "{ahead}: {:?} {:?}", right.shares("web"), wrong.shares("web"));
    }
}

#[test]
fn a_clock_that_is_set_by_an_hour_changes_nothing_for_anybody() {
    for ahead in [3600, -3600] {
        let mut world = spilling();
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
        assert!(world.now - last < 2 * ROUND, "{ahead}: it goes on telling the others");
    }
}

#[test]
fn who_stops_publishing_keeps_its_share_for_twelve_rounds_and_is_out_then() {
    let mut world = spilling();
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
    assert!(world.share("east", "west") > 0.05, "and is in again when it is heard again");
}

#[test]
fn an_operator_that_begins_anew_goes_on_from_what_was_published() {
    let mut world = spilling();
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

/// What it takes to begin, without anything to go on from.
#[test]
fn a_fleet_that_starts_is_where_it_stays_within_two_rounds() {
    let mut world = spilling();
    world.run(2 * ROUND + 5);
    let early = world.shares("web");
    world.run(20 * ROUND);
    let late = world.shares("web");
    assert!(moved(&early, &late) < NO_SWING, "{early:?} {late:?}");
}

#[test]
fn what_was_learnt_of_pods_goes_on_when_another_operator_begins_to_lead() {
    let mut world = world().bearing(7.0).started();
    world.run(40 * ROUND);
    let before = published(&world, "east").capacity_rps.unwrap();
    assert!((before - 70.0).abs() < 7.0, "ten pods that bear 7 and not 10: {before}");
    world.restart(0);
    world.watch(2 * ROUND, |world| {
        let Some(own) = world.of("east").pipeline.published() else { return };
        let now = own.services[&web()].capacity_rps.unwrap();
        assert!((now - before).abs() < 0.1 * before, "{before} → {now}");
    });
    assert!(world.of("east").pipeline.published().is_some());
}

#[test]
fn who_asks_and_does_not_say_whom_it_was_sent_to_makes_nobody_forget_what_an_answer_brings() {
    let mut world = world().bringing(40.0).started();
    world.run(10 * ROUND);
    let before = world.shares("web");
    let demand = |world: &World| published(world, "east").demand_rps.unwrap();
    assert!((demand(&world) - 140.0).abs() < 14.0, "{}", demand(&world));
    let web =
        ServiceFacts { namespace: "shop".into(), name: "web".into(), demand_rps: Some(1.0), ..Default::default() };
    let said = ClusterFactsSpec { cluster: "south".into(), part: Some(0), services: vec![web], ..Default::default() };
    let object = written(said, world.now);
    world.write(object, 2);
    world.watch(3 * ROUND, |world| {
        assert!((demand(world) - 140.0).abs() < 20.0, "{}", demand(world));
        let now = world.shares("web");
        assert!(moved(&before, &now) < NO_SWING, "{before:?} {now:?}");
    });
}
