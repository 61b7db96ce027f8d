//! All policies by name: the optimizer, the optimizer with parts switched off, and the baselines.

use std::fmt;

use landfall_core::optimize::facts::Tuning;

use crate::agents::{Agents, Variant};
use crate::baselines::Baseline;
use crate::policy::SharingPolicy;
use crate::world::World;

/// A policy that can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    Optimizer(Variant),
    Baseline(Baseline),
}

impl Contender {
    /// The optimizer as it runs in the operator.
    pub const PRODUCT: Self = Self::Optimizer(Variant::Whole);

    const OPTIMIZERS: [Self; 3] =
        [Self::PRODUCT, Self::Optimizer(Variant::RoundsOnly), Self::Optimizer(Variant::Fallback)];

    /// Returns all policies, the optimizer first.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::OPTIMIZERS.into_iter().chain(Baseline::ALL.into_iter().map(Self::Baseline))
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Optimizer(Variant::Whole) => "optimized",
            Self::Optimizer(Variant::RoundsOnly) => "optimized-rounds",
            Self::Optimizer(Variant::Fallback) => "fallback",
            Self::Baseline(baseline) => baseline.as_str(),
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::all().find(|contender| contender.as_str() == name)
    }

    /// Returns the policy for one run. Baselines ignore the tuning.
    pub fn policy(self, world: &World, tuning: Tuning) -> Box<dyn SharingPolicy> {
        match self {
            Self::Optimizer(variant) => Box::new(Agents::new(world, variant, tuning)),
            Self::Baseline(baseline) => baseline.policy(),
        }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_identifies_one_contender() {
        for contender in Contender::all() {
            assert_eq!(Contender::parse(contender.as_str()), Some(contender));
        }
        assert_eq!(Contender::all().next(), Contender::parse("optimized"));
        assert_eq!(Contender::parse("optimal"), None);
    }
}
