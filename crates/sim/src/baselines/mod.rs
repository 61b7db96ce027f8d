//! What one would do without the optimizer: the rules that products have, the obvious improvements on them, and the two
//! naive optimizers. The optimizer is worth its code only as far as it beats these, in the same world and by the same judge.
//!
//! What they know is what the optimizer knows, as old as it knows it. Their constants and their demand filter are their own,
//! so that the yardstick stays as long as it is when the optimizer is tuned.

mod rows;

mod known;

mod blind;
mod naive;
mod proportional;
mod waterfall;

use std::fmt;

use crate::policy::SharingPolicy;

use blind::{failover, inverse, inverse_local_first, only_nearest, round_robin};
use naive::{Selfish, cheapest};
use proportional::TopologyAware;
use rows::RowByRow;
use waterfall::{Distance, Waterfall};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    RoundRobin,
    /// Shares in proportion to 1/RTT.
    InverseWeight,
    /// The same, with weight 0, which is everything, for the exporter in the source's own cluster.
    InverseWeightLocalZero,
    Nearest,
    /// The nearest, and the next ones for the part of it that is not healthy, over-provisioned by 1.4.
    IstioFailover,
    /// Everybody at home while no cluster is overloaded by more than 20 %, else in proportion to capacity (KEP-2433).
    TopologyAware,
    /// A central instance fills the nearest to 90 %, then the next (Traffic Director).
    WaterfallRtt,
    /// The same by time and price.
    WaterfallCost,
    /// Each source solves its own problem exactly, and takes what the others did last time as given.
    Selfish,
    /// Each source goes to where one more request would have cost least.
    CheapestLastRound,
}

impl Baseline {
    pub const ALL: [Self; 10] = [
        Self::RoundRobin,
        Self::InverseWeight,
        Self::InverseWeightLocalZero,
        Self::Nearest,
        Self::IstioFailover,
        Self::TopologyAware,
        Self::WaterfallRtt,
        Self::WaterfallCost,
        Self::Selfish,
        Self::CheapestLastRound,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::InverseWeight => "inverse-weight",
            Self::InverseWeightLocalZero => "inverse-weight-local-zero",
            Self::Nearest => "nearest",
            Self::IstioFailover => "istio-failover",
            Self::TopologyAware => "topology-aware",
            Self::WaterfallRtt => "waterfall-rtt",
            Self::WaterfallCost => "waterfall-cost",
            Self::Selfish => "selfish",
            Self::CheapestLastRound => "cheapest-last-round",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|baseline| baseline.as_str() == name)
    }

    /// For one run: some remember what was reported.
    pub fn policy(self) -> Box<dyn SharingPolicy> {
        match self {
            Self::RoundRobin => Box::new(RowByRow(round_robin)),
            Self::InverseWeight => Box::new(RowByRow(inverse)),
            Self::InverseWeightLocalZero => Box::new(RowByRow(inverse_local_first)),
            Self::Nearest => Box::new(RowByRow(only_nearest)),
            Self::IstioFailover => Box::new(RowByRow(failover)),
            Self::TopologyAware => Box::new(TopologyAware::default()),
            Self::WaterfallRtt => Box::new(Waterfall::new(Distance::Rtt)),
            Self::WaterfallCost => Box::new(Waterfall::new(Distance::Cost)),
            Self::Selfish => Box::new(Selfish::default()),
            Self::CheapestLastRound => Box::new(RowByRow(cheapest)),
        }
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;
    use crate::run::run;
    use crate::run::tests::two_clusters;
    use crate::world::World;

    /// Worlds in which something is missing.
    fn edges() -> Vec<(&'static str, World)> {
        let with = |change: fn(&mut World)| {
            let mut world = two_clusters(6);
            change(&mut world);
            world
        };
        let of_all = |change: fn(&mut crate::world::Round)| {
            let mut world = two_clusters(6);
            world.rounds.iter_mut().for_each(change);
            world
        };
        vec![
            ("all is well", two_clusters(6)),
            ("nobody asks", of_all(|round| round.demand_rps = vec![0.0; 2])),
            ("one asks", of_all(|round| round.demand_rps[0] = 0.0)),
            ("one exports", of_all(|round| (round.alive[0], round.advertised_rps[0]) = (false, 0.0))),
            ("nobody exports", of_all(|round| (round.alive, round.advertised_rps) = (vec![false; 2], vec![0.0; 2]))),
            ("alive, without capacity", of_all(|round| round.advertised_rps = vec![0.0; 2])),
            ("an overload", of_all(|round| round.demand_rps = vec![1e9; 2])),
            ("no way takes time", of_all(|round| round.measured_rtt_ms = Matrix::filled(2, 0.0))),
            ("old facts", with(|world| world.rounds.iter_mut().for_each(|round| round.age = Matrix::filled(2, 5)))),
            ("one dies and returns", with(|world| world.rounds[2].alive[0] = false)),
            ("prices do not count", with(|world| world.usd_per_ms_per_million = 0.0)),
        ]
    }

    #[test]
    fn in_every_world_shares_add_up_to_one_and_the_dead_get_nothing() {
        for ((what, world), baseline) in edges().iter().flat_map(|edge| Baseline::ALL.map(|baseline| (edge, baseline)))
        {
            for (round, outcome) in world.rounds.iter().zip(run(world, baseline.policy().as_mut())) {
                let anybody = round.alive.contains(&true);
                for row in outcome.segments[0].shares.rows() {
                    let sum: f64 = row.iter().sum();
                    assert!((sum - f64::from(u8::from(anybody))).abs() < 1e-9, "{what}, {baseline}: {row:?}");
                    let dead = row.iter().zip(&round.alive).any(|(share, alive)| *share > 0.0 && !alive);
                    assert!(!dead, "{what}, {baseline}: {row:?}");
                }
                assert!(outcome.cost_ms.is_finite(), "{what}, {baseline}");
            }
        }
    }

    #[test]
    fn a_name_is_that_of_one_baseline() {
        for baseline in Baseline::ALL {
            assert_eq!(Baseline::parse(baseline.as_str()), Some(baseline));
        }
        assert_eq!(Baseline::parse("optimal"), None);
    }
}
