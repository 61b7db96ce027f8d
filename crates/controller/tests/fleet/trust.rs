//! What is on the broker was written by others, and one of them may be broken, or worse.

use std::collections::BTreeMap;

use landfall_api::{ClusterFacts, ClusterFactsSpec, ServiceFacts};
use landfall_controller::broker::inbox::Board;
use landfall_controller::broker::objects::Identity;
use landfall_core::name::ClusterId;

use crate::cluster::written;
use crate::world::{OPTIMIZED, ROUND, World, moved};

fn fleet() -> World {
    World::new(&["east", "north", "mallory"], OPTIMIZED)
        .apart(|_, _| 10.0)
        .exports("web", "east", 10)
        .exports("web", "north", 20)
        .asks("east", "web", 120.0)
        .asks("north", "web", 50.0)
        .started()
}

fn said(of: &str, service: ServiceFacts) -> ClusterFactsSpec {
    let services = vec![ServiceFacts { namespace: "shop".to_owned(), name: "web".to_owned(), ..service }];
    ClusterFactsSpec { cluster: of.to_owned(), part: Some(0), parts: Some(1), services, ..Default::default() }
}

/// What everybody says of why something is left out, by the word for it.
fn reasons(world: &World, object: &str) -> Vec<&'static str> {
    let of = |i: usize| {
        let state = world.clusters[i].pipeline.stores().facts.broker.clone().unwrap();
        state.rejected.get(object).map_or("", |(category, _)| *category)
    };
    [0, 1].map(of).to_vec()
}

/// Whatever mallory writes every ten seconds for five rounds.
fn shares_stay(write: impl Fn(u64) -> ClusterFacts, expected: &str) -> World {
    let mut world = fleet();
    world.of_mut("mallory").mute = true;
    world.run(10 * ROUND);
    let before = world.shares("web");
    for _ in 0..15 {
        let now = world.now;
        world.write(write(now), 2);
        world.watch(10, |world| {
            let (before, now) = (before.clone(), world.shares("web"));
            assert!(moved(&before, &now) < 0.03, "{expected}: {before:?} {now:?}");
        });
    }
    let named = write(0).metadata.name.unwrap();
    assert_eq!(reasons(&world, &named), [expected; 2], "{named}");
    world
}

#[test]
fn absurd_numbers_are_left_out_and_named() {
    for (demand, capacity, load) in [(1e300, 1e300, 1e300), (-1e300, -5.0, -1.0), (f64::MAX, f64::MIN, 1e8)] {
        let service = ServiceFacts {
            demand_rps: Some(demand),
            capacity_rps: Some(capacity),
            load_rps: Some(load),
            ..Default::default()
        };
        shares_stay(|now| written(said("mallory", service.clone()), now), "field");
    }
}

#[test]
fn who_speaks_in_the_name_of_another_is_not_heard() {
    let service = ServiceFacts { capacity_rps: Some(0.0), demand_rps: Some(9000.0), ..Default::default() };
    let claim = |now| {
        let mut object = written(said("east", service.clone()), now);
        object.metadata.name = Some("mallory-0".to_owned());
        object
    };
    shares_stay(claim, "not_its_owners");
}

#[test]
fn a_form_that_is_not_known_yet_is_not_guessed_at() {
    let service = ServiceFacts { demand_rps: Some(9000.0), ..Default::default() };
    let newer = |now| written(ClusterFactsSpec { version: Some(99), ..said("mallory", service.clone()) }, now);
    shares_stay(newer, "version");
}

#[test]
fn a_part_that_is_missing_costs_itself_and_is_told() {
    let half = |now| written(ClusterFactsSpec { parts: Some(2), ..said("mallory", ServiceFacts::default()) }, now);
    let world = shares_stay(half, "");
    let state = world.clusters[0].pipeline.stores().facts.broker.clone().unwrap();
    assert_eq!(state.incomplete, [ClusterId::new("mallory").unwrap()]);
}

/// Ten times what was usual is believed, and not a thousand times; services of which nothing is said are not touched by it.
#[test]
fn a_peer_that_turns_bad_moves_no_service_that_it_has_no_part_in() {
    let mut world = World::new(&["east", "north", "west"], OPTIMIZED)
        .apart(|_, _| 10.0)
        .exports("web", "east", 10)
        .exports("web", "north", 20)
        .exports("pay", "east", 10)
        .exports("pay", "west", 20)
        .asks("east", "web", 120.0)
        .asks("east", "pay", 120.0)
        .started();
    world.run(10 * ROUND);
    let before = world.shares("web");
    world.of_mut("west").mute = true;
    let service = ServiceFacts { name: "pay".to_owned(), capacity_rps: Some(1e300), ..Default::default() };
    let mut spec = said("west", service);
    spec.services[0].name = "pay".to_owned();
    for _ in 0..15 {
        let now = world.now;
        world.write(written(spec.clone(), now), 2);
        world.watch(10, |world| {
            assert!(moved(&before, &world.shares("web")) < 0.03, "{:?}", world.shares("web"));
            let pay = &world.shares("pay")["east"];
            assert!((pay.values().sum::<f64>() - 1.0).abs() < 1e-9 && pay["east"] > 0.15, "{pay:?}");
        });
    }
}

fn board(instance: &str) -> Board {
    Board::new(Identity { cluster: ClusterId::new("east").unwrap(), instance: instance.to_owned() })
}

fn by(instance: &str, since: u64, now: u64) -> ClusterFacts {
    let since = landfall_api::time::from_unix_seconds(since);
    let instance = Some(instance.to_owned());
    written(ClusterFactsSpec { instance, since, ..said("east", ServiceFacts::default()) }, now)
}

#[test]
fn of_two_operators_with_one_id_the_older_goes_on() {
    let (mut older, mut younger) = (board("a"), board("b"));
    older.put(by("a", 1000, 1000), 1000);
    younger.put(by("a", 1000, 1000), 1000);
    assert!(older.elder(1000).is_none() && younger.elder(1000).is_some(), "what is there was written by another");
    assert_eq!(younger.state(None, 1000).double.as_deref(), Some("a"));
    assert_eq!(younger.state(None, 1000).rejected["east-0"].0, "own_id");
    // One that had written before it saw the other, and comes second.
    younger.put(by("b", 2000, 2000), 2000);
    assert!(younger.elder(2000).is_none(), "nobody else is there");
    for board in [&mut older, &mut younger] {
        board.put(by("a", 1000, 2010), 2010);
        board.put(by("b", 2000, 2020), 2020);
    }
    assert!(
        older.elder(2020).is_none() && older.doubles().next().is_some() && older.state(None, 2020).double.is_none()
    );
    younger.put(by("a", 1000, 2030), 2030);
    assert!(younger.elder(2030).is_some());
    assert!(younger.elder(2030 + 3600).is_none(), "and after an hour without a word the younger one takes over");
}

#[test]
fn a_part_that_is_deleted_while_others_count_on_it_is_missing_and_not_gone() {
    let mut board = board("a");
    let part = |number| {
        let mut spec = said("north", ServiceFacts { capacity_rps: Some(5.0), ..Default::default() });
        spec.services[0].name = format!("web-{number}");
        written(ClusterFactsSpec { part: Some(number), parts: Some(2), ..spec }, 1000)
    };
    (0..2).for_each(|number| drop(board.put(part(number), 1000)));
    let north = ClusterId::new("north").unwrap();
    let services = |board: &Board| board.facts(&north).unwrap().services.len();
    assert_eq!((services(&board), board.incomplete().len()), (2, 0));
    assert_eq!(board.remove("north-1"), None);
    assert_eq!(services(&board), 2, "what it said stays until it is too old");
    board.put(by("b", 1, 5), 1000);
    assert!(board.rejected().contains_key("east-0"));
    let all: BTreeMap<_, _> = board.state(Some("away".into()), 1000).rejected;
    assert_eq!(all.len(), 1);
}
