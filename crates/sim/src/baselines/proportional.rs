//! Topology-aware routing as Kubernetes has it for zones: local only, or all exporters for all sources.

use super::known::{Demands, capacity_rps};
use super::rows::{all_to, by_row};
use crate::matrix::Matrix;
use crate::policy::{Moment, SharingPolicy};

/// Tolerated excess of a cluster's part of the demand over its part of the capacity.
const OVERLOAD: f64 = 0.2;

/// Local exporters while all clusters can serve their own demand, else shares by capacity.
#[derive(Default)]
pub(super) struct TopologyAware {
    demands: Demands,
}

impl SharingPolicy for TopologyAware {
    fn shares(&mut self, moment: &Moment<'_>) -> Matrix<f64> {
        self.demands.follow(moment);
        let capacity = capacity_rps(moment);
        let demand = self.demands.central_rps(moment);
        let (capacities, demands): (f64, f64) = (capacity.iter().sum(), demand.iter().sum());
        let fits = |(capacity, demand): (&f64, &f64)| {
            let limit = (1.0 + OVERLOAD) * capacity / capacities;
            *demand <= 0.0 || (*capacity > 0.0 && demand / demands <= limit)
        };
        let all_fit = capacity.iter().zip(&demand).all(fits);
        by_row(moment, |i| if all_fit && capacity[i] > 0.0 { all_to(moment, Some(i)) } else { capacity.clone() })
    }
}
