//! Random scenarios from a seed: worlds on which no policy has been tuned.
//!
//! Regions of real clouds, distances along the great circle, list prices, and users around a longitude. Each kind of
//! disturbance that the simulator knows is added with a probability of its own. The same seed gives the same scenario.
//!
//! ```text
//! chance     random numbers, rounded as a user would write them
//! regions    where clusters are, and what traffic between them costs
//! draft      a scenario in the making: service, demand, noise, stale facts, wrong reports
//! events     what happens in it
//! ```

mod chance;
mod regions;

mod draft;

mod events;

use crate::scenario::Scenario;
use chance::Chance;
use draft::Draft;
use regions::{REGIONS, Region};

/// Maximum number of clusters, as in a scenario.
const MAX_CLUSTERS: usize = 200;

/// Returns a valid scenario for any seed. The number of clusters is clamped to 1 to 200.
pub fn generate(seed: u64, clusters: usize) -> Scenario {
    let mut chance = Chance::new(seed);
    let mut draft = Draft::new(seed, fleet(&mut chance, clusters.clamp(1, MAX_CLUSTERS)));
    draft.set_service(&mut chance);
    draft.set_demand(&mut chance);
    draft.set_objective(&mut chance);
    draft.add_events(&mut chance);
    draft.add_noise(&mut chance);
    draft.add_stale_facts(&mut chance);
    draft.add_model_error(&mut chance);
    draft.finish()
}

/// Returns regions for a fleet. Regions repeat if there are more clusters than regions.
fn fleet(chance: &mut Chance, size: usize) -> Vec<Region> {
    let mut fleet = Vec::with_capacity(size);
    while fleet.len() < size {
        fleet.extend(chance.some_of(&REGIONS, size - fleet.len()));
    }
    fleet
}
