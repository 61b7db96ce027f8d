//! Objects on the broker are written by other clusters, which may be broken or hostile.

use landfall_api::{ClusterFacts, ClusterFactsSpec, ServiceFacts};
use landfall_controller::broker::inbox::Inbox;
use landfall_controller::broker::objects::Identity;
use landfall_controller::change::{ObjectEvent, PeerEvent};
use landfall_controller::object::{Kind, ObjectRef};
use landfall_core::name::ClusterId;

use crate::cluster::{apply, written};
use crate::world::{OPTIMIZED, ROUND, World, moved};

fn fleet() -> World {
    World::new(&["east", "north", "mallory"], OPTIMIZED)
        .with_rtt_ms(|_, _| 10.0)
        .with_export("web", "east", 10)
        .with_export("web", "north", 20)
        .with_demand("east", "web", 120.0)
        .with_demand("north", "web", 50.0)
        .started()
}

fn facts_of(of: &str, service: ServiceFacts) -> ClusterFactsSpec {
    let services = vec![ServiceFacts { namespace: "shop".to_owned(), name: "web".to_owned(), ..service }];
    ClusterFactsSpec { cluster: of.to_owned(), part: Some(0), parts: Some(1), services, ..Default::default() }
}

/// Returns the category under which each honest cluster rejects an object.
fn reasons(world: &World, object: &str) -> Vec<&'static str> {
    let of = |i: usize| {
        let state = world.clusters[i].pipeline.stores().facts.broker.clone().unwrap();
        state.rejected.get(object).map_or("", |(category, _)| *category)
    };
    [0, 1].map(of).to_vec()
}

/// Asserts that shares stay while mallory writes every ten seconds for five rounds, and that the objects are rejected.
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
fn absurd_numbers_are_left_out_and_reported() {
    for (demand, capacity, load) in [(1e300, 1e300, 1e300), (-1e300, -5.0, -1.0), (f64::MAX, f64::MIN, 1e8)] {
        let service = ServiceFacts {
            demand_rps: Some(demand),
            capacity_rps: Some(capacity),
            load_rps: Some(load),
            ..Default::default()
        };
        shares_stay(|now| written(facts_of("mallory", service.clone()), now), "field");
    }
}

#[test]
fn facts_in_the_name_of_another_cluster_are_rejected() {
    let service = ServiceFacts { capacity_rps: Some(0.0), demand_rps: Some(9000.0), ..Default::default() };
    let claim = |now| {
        let mut object = written(facts_of("east", service.clone()), now);
        object.metadata.name = Some("mallory-0".to_owned());
        object
    };
    shares_stay(claim, "not_its_owners");
}

#[test]
fn facts_of_a_newer_version_are_rejected() {
    let service = ServiceFacts { demand_rps: Some(9000.0), ..Default::default() };
    let newer = |now| written(ClusterFactsSpec { version: Some(99), ..facts_of("mallory", service.clone()) }, now);
    shares_stay(newer, "version");
}

#[test]
fn missing_part_is_reported_and_the_rest_is_used() {
    let half = |now| written(ClusterFactsSpec { parts: Some(2), ..facts_of("mallory", ServiceFacts::default()) }, now);
    let world = shares_stay(half, "");
    let state = world.clusters[0].pipeline.stores().facts.broker.clone().unwrap();
    assert_eq!(state.incomplete, [ClusterId::new("mallory").unwrap()]);
}

/// Growth is clipped to ten times the usual value. Services without facts from the peer are not affected.
#[test]
fn hostile_peer_moves_no_service_without_facts_from_it() {
    let mut world = World::new(&["east", "north", "west"], OPTIMIZED)
        .with_rtt_ms(|_, _| 10.0)
        .with_export("web", "east", 10)
        .with_export("web", "north", 20)
        .with_export("pay", "east", 10)
        .with_export("pay", "west", 20)
        .with_demand("east", "web", 120.0)
        .with_demand("east", "pay", 120.0)
        .started();
    world.run(10 * ROUND);
    let before = world.shares("web");
    world.of_mut("west").mute = true;
    let service = ServiceFacts { name: "pay".to_owned(), capacity_rps: Some(1e300), ..Default::default() };
    let mut spec = facts_of("west", service);
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

fn inbox(instance: &str) -> Inbox {
    Inbox::new(Identity { cluster: ClusterId::new("east").unwrap(), instance: instance.to_owned() })
}

/// Passes objects to the inbox as a complete list.
fn list(inbox: &mut Inbox, objects: Vec<ClusterFacts>, now: u64) {
    inbox.take(ObjectEvent::ListBegins(Kind::ClusterFacts), now);
    objects.into_iter().for_each(|object| drop(inbox.take(apply(object), now)));
    let taken = inbox.take(ObjectEvent::ListEnds(Kind::ClusterFacts), now);
    inbox.report(&taken, now);
}

fn by(instance: &str, since: u64, now: u64) -> ClusterFacts {
    let since = landfall_api::time::from_unix_seconds(since);
    let instance = Some(instance.to_owned());
    written(ClusterFactsSpec { instance, since, ..facts_of("east", ServiceFacts::default()) }, now)
}

#[test]
fn older_of_two_operators_with_one_id_goes_on() {
    let (mut older, mut younger) = (inbox("a"), inbox("b"));
    list(&mut older, vec![by("a", 1000, 1000)], 1000);
    list(&mut younger, vec![by("a", 1000, 1000)], 1000);
    assert!(older.may_write(1000) && !younger.may_write(1000), "the object was written by another cluster");
    assert_eq!(younger.state(1000).duplicate_id.as_deref(), Some("a"));
    assert_eq!(younger.state(1000).rejected["east-0"].0, "own_id");
    // A cluster that wrote before it saw the other one, and is younger.
    younger.take(apply(by("b", 2000, 2000)), 2000);
    assert!(younger.may_write(2000), "there is no other cluster");
    for inbox in [&mut older, &mut younger] {
        inbox.take(apply(by("a", 1000, 2010)), 2010);
        inbox.take(apply(by("b", 2000, 2020)), 2020);
    }
    assert!(older.may_write(2020) && older.state(2020).duplicate_id.is_none());
    assert_eq!(older.state(2020).rejected["east-0"].0, "own_id", "it still sees the other cluster");
    younger.take(apply(by("a", 1000, 2030)), 2030);
    assert!(!younger.may_write(2030));
    assert!(younger.may_write(2030 + 3600), "after an hour without a write the younger one takes over");
}

#[test]
fn deleted_part_that_other_parts_count_on_is_missing_and_not_gone() {
    let mut inbox = inbox("a");
    let part = |number| {
        let mut spec = facts_of("north", ServiceFacts { capacity_rps: Some(5.0), ..Default::default() });
        spec.services[0].name = format!("web-{number}");
        written(ClusterFactsSpec { part: Some(number), parts: Some(2), ..spec }, 1000)
    };
    (0..2).for_each(|number| drop(inbox.take(apply(part(number)), 1000)));
    let north = ClusterId::new("north").unwrap();
    let services = |inbox: &Inbox| inbox.facts(&north).unwrap().services.len();
    assert_eq!((services(&inbox), inbox.state(1000).incomplete.len()), (2, 0));
    let deleted = ObjectEvent::Delete(Kind::ClusterFacts, ObjectRef::new("broker", "north-1"));
    let taken = inbox.take(deleted, 1000);
    let reports = |event: &PeerEvent| !matches!(event, PeerEvent::Broker(_));
    assert_eq!(inbox.report(&taken, 1000).iter().filter(|event| reports(event)).count(), 0);
    assert_eq!(services(&inbox), 2, "what it reported stays until it is too old");
    inbox.take(apply(by("b", 1, 5)), 1000);
    inbox.lose("away");
    let state = inbox.state(1000);
    assert!(state.rejected.contains_key("east-0") && state.rejected.len() == 1, "{state:?}");
}
