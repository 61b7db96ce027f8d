//! Who answers when those that the plan has chosen fail, before there is a new plan.
//!
//! A share of e⁻⁸⁰ is 0 in any weight, and yet it says who comes next: shares are proportional to C_j·exp(−(c_j + φ_j)/ε), and
//! that holds among whoever is left. So candidates come in tiers. The first holds those with a weight; the next one shares as
//! the plan would if there were nobody before it.

use crate::optimize::exponential::{exp, ln};
use crate::optimize::solution::{Terms, weights};

/// When a candidate has its turn, and its part among those that have it together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turn {
    /// 0 comes first.
    pub tier: u8,
    /// Its part of the whole, at least 1. 0: there is no way to it.
    pub nominal: u32,
}

/// One turn per candidate. `whole`: what the parts of a tier add up to.
pub fn turns(candidates: &[Terms<'_>], epsilon_ms: f64, whole: u32) -> Vec<Turn> {
    let attractions: Vec<Option<f64>> = candidates.iter().map(|terms| attraction(terms, epsilon_ms)).collect();
    let anywhere = attractions.iter().any(Option::is_some);
    let mut left: Vec<usize> = (0..candidates.len()).filter(|&j| attractions[j].is_some() || !anywhere).collect();
    let mut shares: Vec<f64> = left.iter().map(|&j| candidates[j].share).collect();
    let mut turns = vec![Turn::default(); candidates.len()];
    for tier in 0..u8::MAX {
        let parts = weights(&shares, whole);
        for (&j, &nominal) in left.iter().zip(&parts).filter(|(_, nominal)| **nominal > 0) {
            turns[j] = Turn { tier, nominal };
        }
        left.retain(|&j| turns[j].nominal == 0);
        if left.is_empty() {
            break;
        }
        shares = softmax(&left.iter().map(|&j| attractions[j].unwrap_or(0.0)).collect::<Vec<_>>());
    }
    turns
}

/// ln C_j − (c_j + φ_j)/ε. `None`: there is no way.
fn attraction(terms: &Terms<'_>, epsilon_ms: f64) -> Option<f64> {
    let (way, exporter) = (terms.way?, terms.exporter);
    let cost_ms = way.latency_ms + way.price_ms + exporter.service_ms + exporter.congestion_price_ms;
    Some(ln(exporter.usable_rps) - cost_ms / epsilon_ms)
}

fn softmax(attractions: &[f64]) -> Vec<f64> {
    let largest = attractions.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    attractions.iter().map(|attraction| exp(attraction - largest)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::ClusterId;
    use crate::optimize::cost::UnitCost;
    use crate::optimize::solution::Planned;

    fn planned(name: &str, capacity_rps: f64, congestion_price_ms: f64) -> Planned {
        Planned {
            cluster: ClusterId::new(name).unwrap(),
            congestion_price_ms,
            wait_ms: 0.0,
            load_rps: 0.0,
            capacity_rps,
            usable_rps: capacity_rps,
            residual_rps: 0.0,
            service_ms: 0.0,
        }
    }

    fn terms(exporter: &Planned, share: f64, latency_ms: Option<f64>) -> Terms<'_> {
        Terms { exporter, share, way: latency_ms.map(|latency_ms| UnitCost { latency_ms, price_ms: 0.0 }) }
    }

    #[test]
    fn who_has_no_weight_waits_and_the_nearest_has_its_turn_first() {
        let exporters = [("a", 100.0), ("b", 100.0), ("c", 300.0), ("d", 100.0)].map(|(name, c)| planned(name, c, 0.0));
        let candidates = [
            terms(&exporters[0], 1.0, Some(1.0)),
            terms(&exporters[1], 0.0, Some(50.0)),
            terms(&exporters[2], 0.0, Some(50.0)),
            terms(&exporters[3], 0.0, Some(90.0)),
        ];
        let turn = |tier, nominal| Turn { tier, nominal };
        assert_eq!(turns(&candidates, 0.5, 1000), [turn(0, 1000), turn(1, 250), turn(1, 750), turn(2, 1000)]);
    }

    #[test]
    fn a_full_exporter_waits_behind_one_with_room_and_one_without_a_way_for_ever() {
        let (full, free, far) = (planned("a", 100.0, 900.0), planned("b", 100.0, 0.0), planned("c", 100.0, 0.0));
        let own = planned("d", 100.0, 0.0);
        let candidates = [
            terms(&full, 0.0, Some(1.0)),
            terms(&free, 0.0, Some(80.0)),
            terms(&far, 0.0, None),
            terms(&own, 1.0, Some(0.5)),
        ];
        let tiers: Vec<(u8, u32)> = turns(&candidates, 0.5, 10).iter().map(|turn| (turn.tier, turn.nominal)).collect();
        assert_eq!(tiers, [(2, 10), (1, 10), (0, 0), (0, 10)]);
    }

    #[test]
    fn who_reaches_nobody_is_planned_as_if_it_reached_all() {
        let exporters = [planned("a", 100.0, 0.0), planned("b", 100.0, 0.0)];
        let candidates = [terms(&exporters[0], 0.5, None), terms(&exporters[1], 0.5, None)];
        assert!(turns(&candidates, 0.5, 10).iter().all(|turn| *turn == Turn { tier: 0, nominal: 5 }));
    }
}
