//! Optimizers that ignore each other. Each source decides well by its own view, and the sum of the decisions is bad.

use landfall_core::optimize::congestion::{Curve, Shape, curves};
use landfall_core::optimize::fill::{Bin, water_fill};

use super::known::{Demands, ExporterView, view};
use super::rows::{all_to, by_row};
use crate::matrix::Matrix;
use crate::policy::{Moment, SharingPolicy};

const SHAPE: Shape = Shape { target_utilization: 0.9, burstiness: 1.0 };

/// Each source solves its own problem exactly.
#[derive(Default)]
pub(super) struct Selfish {
    demands: Demands,
}

impl SharingPolicy for Selfish {
    fn shares(&mut self, moment: &Moment<'_>) -> Matrix<f64> {
        self.demands.follow(moment);
        let demand = self.demands.own_rps(moment);
        by_row(moment, |source| selfish(moment, source, demand[source]))
    }
}

fn selfish(moment: &Moment<'_>, source: usize, demand_rps: f64) -> Vec<f64> {
    let view = view(moment, source);
    let eligible = eligible(&view);
    let curves = known_curves(moment, &view, &eligible);
    let bin = |(&j, curve): (&usize, Curve)| Bin {
        cost_ms: moment.cost_ms[(source, j)],
        curve,
        background_rps: (view.load_rps[j] - view.own_rps[j]).max(0.0),
        portion: 1.0,
    };
    let bins: Vec<Bin> = eligible.iter().zip(curves).map(bin).collect();
    let mut row = vec![0.0; moment.world.size()];
    let filled = water_fill(&bins, demand_rps).loads_rps;
    eligible.into_iter().zip(filled).for_each(|(j, load)| row[j] = load);
    row
}

/// Sends all requests to the exporter where one more request would have cost least.
pub(super) fn cheapest(moment: &Moment<'_>, source: usize) -> Vec<f64> {
    let view = view(moment, source);
    let eligible = eligible(&view);
    let curves = known_curves(moment, &view, &eligible);
    let cost = |(&j, curve): (&usize, Curve)| (j, moment.cost_ms[(source, j)] + curve.marginal_ms(view.load_rps[j]));
    let costs = eligible.iter().zip(curves).map(cost);
    let least = costs.min_by(|a, b| a.1.total_cmp(&b.1));
    all_to(moment, least.map(|(j, _)| j))
}

/// Returns the exporters that are alive and have capacity.
fn eligible(view: &ExporterView) -> Vec<usize> {
    (0..view.capacity_rps.len()).filter(|&j| view.capacity_rps[j] > 0.0).collect()
}

fn known_curves(moment: &Moment<'_>, view: &ExporterView, eligible: &[usize]) -> Vec<Curve> {
    let capacities: Vec<f64> = eligible.iter().map(|&j| view.capacity_rps[j]).collect();
    let range = |row: &[f64]| {
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        most - row.iter().copied().fold(f64::INFINITY, f64::min)
    };
    curves(&capacities, SHAPE, moment.cost_ms.rows().map(range).fold(0.0, f64::max), 1.0)
}
