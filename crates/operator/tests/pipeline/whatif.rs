//! What would be, if something were otherwise.

use landfall_core::name::ServiceKey;
use landfall_operator::pipeline::Pipeline;
use landfall_operator::whatif::optimised;

use crate::optimized::{facts, service, web};
use crate::support::{NOW, policy, synced};

fn key() -> ServiceKey {
    ServiceKey::new("shop", "web").unwrap()
}

/// `east` has said now that its clients ask for 60 rps and that it can bear 400; `north` says nothing, and `west` what is given.
fn fleet(west: &str) -> Pipeline {
    synced("east", &(web("") + &facts("east", NOW, &service("demandRps: 60, capacityRps: 400")) + west))
}

#[test]
fn a_service_with_a_policy_that_is_only_tried_is_optimised_all_the_same() {
    let tried = policy("shop", "tried", "2026-01-02T00:00:00Z", "{loadBalancing: round-robin, enforcement: Shadow}");
    assert_eq!(optimised(&[fleet(&tried)]).into_iter().collect::<Vec<_>>(), [key()]);
}
