//! Policies without the optimizer: rules of existing products, obvious improvements on them, and two naive optimizers. The
//! optimizer is worth its code only if it beats them in the same world, by the same judge.
//!
//! Baselines see the same facts as the optimizer, with the same age. They have constants and a demand filter of their own, so
//! tuning the optimizer does not change them.
//!
//! ```text
//! rows                                     rows of shares, one at a time
//! known                                    facts of earlier rounds, with their age
//! blind, naive, proportional, waterfall    the policies
//! ```

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

/// A policy that the optimizer is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// Equal shares for all alive exporters.
    RoundRobin,
    /// Shares in proportion to 1/RTT.
    InverseWeight,
    /// `InverseWeight`, with all requests for the exporter in the source's own cluster if it is alive (weight 0).
    InverseWeightLocalZero,
    /// All requests to the nearest exporter.
    Nearest,
    /// The nearest exporter. The next ones take over the unhealthy part of it, with an overprovisioning factor of 1.4.
    IstioFailover,
    /// Local exporters while no cluster is overloaded by more than 20 %, else shares in proportion to capacity (KEP-2433).
    TopologyAware,
    /// A central instance that fills the nearest exporter to 90 %, then the next (Traffic Director).
    WaterfallRtt,
    /// `WaterfallRtt`, with exporters ordered by time and price.
    WaterfallCost,
    /// Each source solves its own problem exactly and assumes that other sources repeat their last decision.
    Selfish,
    /// Each source uses the exporter where one more request would have cost least in the last round.
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

    /// Returns the policy for one run. Some policies remember reports.
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

    /// Worlds with an unusual property.
    fn edges() -> Vec<(&'static str, World)> {
        let with = |change: fn(&mut World)| {
            let mut world = two_clusters(6);
            change(&mut world);
            world
        };
        let with_rounds = |change: fn(&mut crate::world::Round)| {
            let mut world = two_clusters(6);
            world.rounds.iter_mut().for_each(change);
            world
        };
        vec![
            ("all is well", two_clusters(6)),
            ("no demand", with_rounds(|round| round.demand_rps = vec![0.0; 2])),
            ("demand at one cluster", with_rounds(|round| round.demand_rps[0] = 0.0)),
            ("one exporter", with_rounds(|round| (round.alive[0], round.advertised_rps[0]) = (false, 0.0))),
            ("no exporter", with_rounds(|round| (round.alive, round.advertised_rps) = (vec![false; 2], vec![0.0; 2]))),
            ("alive, without capacity", with_rounds(|round| round.advertised_rps = vec![0.0; 2])),
            ("overload", with_rounds(|round| round.demand_rps = vec![1e9; 2])),
            ("round trips of 0 ms", with_rounds(|round| round.measured_rtt_ms = Matrix::filled(2, 0.0))),
            ("old facts", with(|world| world.rounds.iter_mut().for_each(|round| round.age = Matrix::filled(2, 5)))),
            ("one exporter dies and returns", with(|world| world.rounds[2].alive[0] = false)),
            ("prices do not count", with(|world| world.usd_per_ms_per_million = 0.0)),
        ]
    }

    #[test]
    fn shares_add_up_to_one_and_dead_exporters_get_none() {
        for ((what, world), baseline) in edges().iter().flat_map(|edge| Baseline::ALL.map(|baseline| (edge, baseline)))
        {
            for (round, outcome) in world.rounds.iter().zip(run(world, baseline.policy().as_mut())) {
                let any_alive = round.alive.contains(&true);
                for row in outcome.segments[0].shares.rows() {
                    let sum: f64 = row.iter().sum();
                    assert!((sum - f64::from(u8::from(any_alive))).abs() < 1e-9, "{what}, {baseline}: {row:?}");
                    let dead = row.iter().zip(&round.alive).any(|(share, alive)| *share > 0.0 && !alive);
                    assert!(!dead, "{what}, {baseline}: {row:?}");
                }
                assert!(outcome.cost_ms.is_finite(), "{what}, {baseline}");
            }
        }
    }

    #[test]
    fn name_identifies_one_baseline() {
        for baseline in Baseline::ALL {
            assert_eq!(Baseline::parse(baseline.as_str()), Some(baseline));
        }
        assert_eq!(Baseline::parse("optimal"), None);
    }
}
