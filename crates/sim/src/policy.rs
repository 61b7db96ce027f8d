//! The interface of a policy: the facts that it sees, and the shares that it decides.

use crate::matrix::Matrix;
use crate::world::World;

/// Shares the demand of all clusters among the exporters.
pub trait SharingPolicy {
    /// Returns a row of shares per source for the round that begins. Each row adds up to 1; a dead exporter gets 0.
    fn shares(&mut self, moment: &Moment<'_>) -> Matrix<f64>;

    /// Returns new shares some seconds into the round, or `None` to wait for the next round.
    fn react(&mut self, _moment: &Moment<'_>, _seen: &EarlyMeasurement<'_>) -> Option<Matrix<f64>> {
        None
    }
}

/// Facts known at the start of a round.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// A policy may read its constants, and `alive` and the prices of the current round. The rest of the current round and
    /// all later rounds are the future.
    pub world: &'a World,
    /// Index of the round, from 0.
    pub round: usize,
    /// Measurements of all earlier rounds.
    pub past: &'a [PastRound],
    /// Round-trip times that sources publish: gated, smoothed, with a dead band of max(2 ms, 10 %).
    pub published_rtt_ms: &'a Matrix<f64>,
    /// Smoothed round-trip time without the dead band, plus service time and exchanged price.
    pub cost_ms: &'a Matrix<f64>,
    /// Highest capacity that each exporter has advertised so far, including this round.
    pub nominal_rps: &'a [f64],
}

impl Moment<'_> {
    /// Returns which exporters are alive in this round.
    pub fn alive(&self) -> &[bool] {
        &self.world.rounds[self.round].alive
    }
}

/// Measurements of one round.
#[derive(Debug, Clone, PartialEq)]
pub struct PastRound {
    /// Demand of each source.
    pub demand_rps: Vec<f64>,
    /// Demand that each cluster reports: true demand × report factor, not filtered. For a cluster without an agent it is
    /// what a central instance would see; it is not published.
    pub reported_rps: Vec<f64>,
    /// Average shares over the round.
    pub shares: Matrix<f64>,
    /// Requests that each source sent to each exporter.
    pub sent_rps: Matrix<f64>,
    /// Load of each exporter, including background load.
    pub load_rps: Vec<f64>,
    /// Requests per second that each exporter served while it rejected others. `None` if it rejected none or was dead.
    pub limit_rps: Vec<Option<f64>>,
    pub advertised_rps: Vec<f64>,
}

/// Measurements of the first seconds of a round.
#[derive(Debug, Clone, Copy)]
pub struct EarlyMeasurement<'a> {
    /// Demand that each source reports: true demand × report factor.
    pub reported_rps: &'a [f64],
    /// Elapsed fraction of the round.
    pub elapsed: f64,
}
