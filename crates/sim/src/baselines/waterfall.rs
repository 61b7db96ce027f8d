//! Central filling: all sources ask for the nearest exporter that has room, one that is asked for too much admits them in
//! proportion, and what is left goes on to the next. Who would gain little by a place takes it from who would gain a lot.

use super::known::{Demands, capacity_rps};
use super::rows::{ascending, by_row};
use crate::matrix::Matrix;
use crate::policy::{Moment, SharingPolicy};

/// How full an exporter is made while any other has room.
const TARGET: f64 = 0.9;

/// Less than this many requests a second are neither demand nor room.
const NOTHING_RPS: f64 = 1e-9;

/// Each turn fills an exporter or serves a source; this many per cluster are more than enough.
const TURNS: usize = 4;

pub(super) enum Distance {
    Rtt,
    Cost,
}

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

struct Filling {
    capacity: Vec<f64>,
    room: Vec<f64>,
    left: Vec<f64>,
    sent: Matrix<f64>,
    /// Distance source, the exporters from the nearest on.
    order: Vec<Vec<usize>>,
}

impl Filling {
    fn new(capacity: Vec<f64>, demand: Vec<f64>, distance: &Matrix<f64>) -> Self {
        let room = capacity.iter().map(|capacity| TARGET * capacity).collect();
        let order = distance.rows().map(ascending).collect();
        Self { sent: Matrix::filled(demand.len(), 0.0), capacity, room, left: demand, order }
    }

    fn fill(&mut self) {
        for _ in 0..TURNS * self.left.len() {
            let wishes: Vec<(usize, usize)> = (0..self.left.len()).filter_map(|i| Some((i, self.wish(i)?))).collect();
            if wishes.is_empty() {
                return;
            }
            self.admit(&wishes);
        }
    }

    fn wish(&self, source: usize) -> Option<usize> {
        let has_room = |j: &usize| self.room[*j] > NOTHING_RPS;
        self.order[source].iter().copied().find(has_room).filter(|_| self.left[source] > NOTHING_RPS)
    }

    fn admit(&mut self, wishes: &[(usize, usize)]) {
        let mut asked = vec![0.0; self.room.len()];
        wishes.iter().for_each(|&(i, j)| asked[j] += self.left[i]);
        let admitted: Vec<f64> = asked.iter().zip(&self.room).map(|(asked, room)| (room / asked).min(1.0)).collect();
        for &(i, j) in wishes {
            let part = self.left[i] * admitted[j];
            self.sent[(i, j)] += part;
            self.left[i] -= part;
            self.room[j] -= part;
        }
    }

    /// When everything is full, what is left goes everywhere, by capacity.
    fn finish(mut self) -> Matrix<f64> {
        let all: f64 = self.capacity.iter().sum();
        for (i, left) in self.left.iter().enumerate().filter(|(_, left)| **left > NOTHING_RPS) {
            let row = self.sent.row_mut(i).iter_mut().zip(&self.capacity);
            row.for_each(|(sent, capacity)| *sent += left * capacity / all.max(NOTHING_RPS));
        }
        self.sent
    }
}
