//! Central filling. All sources request the nearest exporter with free capacity. An exporter with too many requests admits
//! them in proportion, and the rest goes to the next exporter. A source that gains little can so displace one that gains a
//! lot.

use super::known::{Demands, capacity_rps};
use super::rows::{ascending, by_row};
use crate::matrix::Matrix;
use crate::policy::{Moment, SharingPolicy};

/// Utilization to which an exporter is filled while others have free capacity.
const TARGET: f64 = 0.9;

/// Rates below this count as 0.
const MIN_RPS: f64 = 1e-9;

/// Limit of steps per cluster. Each step fills an exporter or serves a source, so two per cluster are enough.
const MAX_STEPS: usize = 4;

/// Order of the exporters.
pub(super) enum Distance {
    Rtt,
    Cost,
}

/// The policy, with its memory of demands.
pub(super) struct Waterfall {
    by: Distance,
    demands: Demands,
}

impl Waterfall {
    pub(super) fn new(by: Distance) -> Self {
        Self { by, demands: Demands::default() }
    }
}

impl SharingPolicy for Waterfall {
    fn shares(&mut self, moment: &Moment<'_>) -> Matrix<f64> {
        self.demands.follow(moment);
        let demand = self.demands.central_rps(moment);
        let distance = match self.by {
            Distance::Rtt => moment.published_rtt_ms,
            Distance::Cost => moment.cost_ms,
        };
        let mut filling = Filling::new(capacity_rps(moment), demand, distance);
        filling.fill();
        let sent = filling.finish();
        by_row(moment, |i| sent.row(i).to_vec())
    }
}

/// State of the filling.
struct Filling {
    capacity: Vec<f64>,
    /// Free capacity of each exporter, up to the target.
    room: Vec<f64>,
    /// Demand of each source that is not placed yet.
    left: Vec<f64>,
    sent: Matrix<f64>,
    /// Exporters of each source, from the nearest on.
    order: Vec<Vec<usize>>,
}

impl Filling {
    fn new(capacity: Vec<f64>, demand: Vec<f64>, distance: &Matrix<f64>) -> Self {
        let room = capacity.iter().map(|capacity| TARGET * capacity).collect();
        let order = distance.rows().map(ascending).collect();
        Self { sent: Matrix::filled(demand.len(), 0.0), capacity, room, left: demand, order }
    }

    fn fill(&mut self) {
        for _ in 0..MAX_STEPS * self.left.len() {
            let requests: Vec<(usize, usize)> =
                (0..self.left.len()).filter_map(|i| Some((i, self.request(i)?))).collect();
            if requests.is_empty() {
                return;
            }
            self.admit(&requests);
        }
    }

    fn request(&self, source: usize) -> Option<usize> {
        let has_room = |j: &usize| self.room[*j] > MIN_RPS;
        self.order[source].iter().copied().find(has_room).filter(|_| self.left[source] > MIN_RPS)
    }

    fn admit(&mut self, requests: &[(usize, usize)]) {
        let mut asked = vec![0.0; self.room.len()];
        requests.iter().for_each(|&(i, j)| asked[j] += self.left[i]);
        let admitted: Vec<f64> = asked.iter().zip(&self.room).map(|(asked, room)| (room / asked).min(1.0)).collect();
        for &(i, j) in requests {
            let part = self.left[i] * admitted[j];
            self.sent[(i, j)] += part;
            self.left[i] -= part;
            self.room[j] -= part;
        }
    }

    /// Distributes the remaining demand by capacity.
    fn finish(mut self) -> Matrix<f64> {
        let all: f64 = self.capacity.iter().sum();
        for (i, left) in self.left.iter().enumerate().filter(|(_, left)| **left > MIN_RPS) {
            let row = self.sent.row_mut(i).iter_mut().zip(&self.capacity);
            row.for_each(|(sent, capacity)| *sent += left * capacity / all.max(MIN_RPS));
        }
        self.sent
    }
}
