//! Failover order: which exporters serve if those with a weight fail, before there is a new plan.
//!
//! A share of e⁻⁸⁰ is 0 in any weight, and yet it tells which exporter comes next: shares are proportional to
//! C_j·exp(−(c_j + φ_j)/ε), and that also holds among the exporters that are left. So candidates have priorities. Those
//! with a weight come first. Each further level has the shares that the plan would have without the levels before it.

use crate::optimize::exponential::{exp, ln};
use crate::optimize::solution::{ExplainedShare, weights};

/// Failover priority of a candidate, and its weight among the candidates of that priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Priority {
    /// 0 is served first; a level is served if all candidates of the levels before it fail.
    pub level: u8,
    /// Weight within the level, at least 1; 0 without a path to the exporter.
    pub nominal: u32,
}

/// Returns one priority per candidate. The weights of a level add up to `total`.
pub fn failover_order(candidates: &[ExplainedShare<'_>], epsilon_ms: f64, total: u32) -> Vec<Priority> {
    let attractions: Vec<Option<f64>> = candidates.iter().map(|terms| attraction(terms, epsilon_ms)).collect();
    let anywhere = attractions.iter().any(Option::is_some);
    let mut left: Vec<usize> = (0..candidates.len()).filter(|&j| attractions[j].is_some() || !anywhere).collect();
    let mut shares: Vec<f64> = left.iter().map(|&j| candidates[j].share).collect();
    let mut order = vec![Priority::default(); candidates.len()];
    for level in 0..u8::MAX {
        let parts = weights(&shares, total);
        for (&j, &nominal) in left.iter().zip(&parts).filter(|(_, nominal)| **nominal > 0) {
            order[j] = Priority { level, nominal };
        }
        left.retain(|&j| order[j].nominal == 0);
        if left.is_empty() {
            break;
        }
        shares = softmax(&left.iter().map(|&j| attractions[j].unwrap_or(0.0)).collect::<Vec<_>>());
    }
    order
}

/// Returns ln C_j − (c_j + φ_j)/ε, or `None` without a path.
fn attraction(terms: &ExplainedShare<'_>, epsilon_ms: f64) -> Option<f64> {
    let (path_cost, exporter) = (terms.path_cost?, terms.exporter);
    let cost_ms = path_cost.latency_ms + path_cost.price_ms + exporter.service_ms + exporter.congestion_price_ms;
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
    use crate::optimize::solution::PlannedExporter;

    fn planned(name: &str, capacity_rps: f64, congestion_price_ms: f64) -> PlannedExporter {
        PlannedExporter {
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

    fn terms(exporter: &PlannedExporter, share: f64, latency_ms: Option<f64>) -> ExplainedShare<'_> {
        ExplainedShare {
            exporter,
            share,
            path_cost: latency_ms.map(|latency_ms| UnitCost { latency_ms, price_ms: 0.0 }),
        }
    }

    #[test]
    fn candidates_without_a_weight_wait_and_the_nearest_has_the_first_priority() {
        let exporters = [("a", 100.0), ("b", 100.0), ("c", 300.0), ("d", 100.0)].map(|(name, c)| planned(name, c, 0.0));
        let candidates = [
            terms(&exporters[0], 1.0, Some(1.0)),
            terms(&exporters[1], 0.0, Some(50.0)),
            terms(&exporters[2], 0.0, Some(50.0)),
            terms(&exporters[3], 0.0, Some(90.0)),
        ];
        let priority = |level, nominal| Priority { level, nominal };
        assert_eq!(
            failover_order(&candidates, 0.5, 1000),
            [priority(0, 1000), priority(1, 250), priority(1, 750), priority(2, 1000)]
        );
    }

    #[test]
    fn full_exporter_waits_behind_one_with_capacity_and_one_without_a_path_is_left_out() {
        let (full, free, far) = (planned("a", 100.0, 900.0), planned("b", 100.0, 0.0), planned("c", 100.0, 0.0));
        let own = planned("d", 100.0, 0.0);
        let candidates = [
            terms(&full, 0.0, Some(1.0)),
            terms(&free, 0.0, Some(80.0)),
            terms(&far, 0.0, None),
            terms(&own, 1.0, Some(0.5)),
        ];
        let order: Vec<(u8, u32)> =
            failover_order(&candidates, 0.5, 10).iter().map(|priority| (priority.level, priority.nominal)).collect();
        assert_eq!(order, [(2, 10), (1, 10), (0, 0), (0, 10)]);
    }

    #[test]
    fn source_without_any_path_is_planned_as_if_it_reached_all() {
        let exporters = [planned("a", 100.0, 0.0), planned("b", 100.0, 0.0)];
        let candidates = [terms(&exporters[0], 0.5, None), terms(&exporters[1], 0.5, None)];
        assert!(
            failover_order(&candidates, 0.5, 10).iter().all(|priority| *priority == Priority { level: 0, nominal: 5 })
        );
    }
}
