//! All that can be run, by name: the optimiser, the optimiser with less of it switched on, and its rivals.

use std::fmt;

use landfall_core::optimize::facts::Tuning;

use crate::baselines::Baseline;
use crate::agents::{Optimized, Variant};
use crate::policy::Policy;
use crate::world::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    Ours(Variant),
    Rival(Baseline),
}

impl Contender {
    /// The whole optimiser: what the product does.
    pub const PRODUCT: Self = Self::Ours(Variant::Whole);

    const OURS: [Self; 3] = [Self::PRODUCT, Self::Ours(Variant::RoundsOnly), Self::Ours(Variant::Fallback)];

    /// Ours first.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::OURS.into_iter().chain(Baseline::ALL.into_iter().map(Self::Rival))
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ours(Variant::Whole) => "optimized",
            Self::Ours(Variant::RoundsOnly) => "optimized-rounds",
            Self::Ours(Variant::Fallback) => "fallback",
            Self::Rival(baseline) => baseline.as_str(),
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::all().find(|contender| contender.as_str() == name)
    }

    /// For one run. The tuning is of ours alone.
    pub fn policy(self, world: &World, tuning: Tuning) -> Box<dyn Policy> {
        match self {
            Self::Ours(variant) => Box::new(Optimized::new(world, variant, tuning)),
            Self::Rival(baseline) => baseline.policy(),
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
    fn a_name_is_that_of_one_contender() {
        for contender in Contender::all() {
            assert_eq!(Contender::parse(contender.as_str()), Some(contender));
        }
        assert_eq!(Contender::all().next(), Contender::parse("optimized"));
        assert_eq!(Contender::parse("optimal"), None);
    }
}
