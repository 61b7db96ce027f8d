//! What a policy knows, and what it decides.

use crate::matrix::Matrix;
use crate::world::World;

/// A rule by which all clusters share their demand among the exporters.
pub trait SharingPolicy {
    /// Rows of shares for the round that begins, each adding up to 1. A dead exporter must get nothing.
    fn shares(&mut self, moment: &Moment<'_>) -> Matrix<f64>;

    /// New shares some seconds into the round, when what is measured then is reason enough not to wait for the next one.
    fn react(&mut self, _moment: &Moment<'_>, _seen: &EarlyMeasurement<'_>) -> Option<Matrix<f64>> {
        None
    }
}

/// All that is known when a round begins.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// Only its constants, and of `rounds[t]` only who is alive and what the price list says: the rest of this round is the
    /// future.
    pub world: &'a World,
    /// t, from 0.
    pub round: usize,
    /// What happened in each round before this one.
    pub past: &'a [PastRound],
    /// The round-trip times that sources publish: gated, smoothed, and with a dead band of max(2 ms, 10 %).
    pub published_rtt_ms: &'a Matrix<f64>,
    /// The same without the dead band, plus service time and exchanged price.
    pub cost_ms: &'a Matrix<f64>,
    /// By exporter, the most that it has advertised so far; one that appears says at once what it can do.
    pub nominal_rps: &'a [f64],
}

impl Moment<'_> {
    /// Who can be asked in this round.
    pub fn alive(&self) -> &[bool] {
        &self.world.rounds[self.round].alive
    }
}

/// One round, as it was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct PastRound {
    /// By source.
    pub demand_rps: Vec<f64>,
    /// What a cluster reports: times the report factor. Not filtered. That of a cluster without an agent is what a central
    /// instance would see; nobody publishes it.
    pub reported_rps: Vec<f64>,
    /// In force on average over the round.
    pub shares: Matrix<f64>,
    /// What each source sent to each exporter.
    pub sent_rps: Matrix<f64>,
    /// By exporter, with the background.
    pub load_rps: Vec<f64>,
    /// By exporter, what it served per second while it rejected requests; `None`: it rejected none, or was not there.
    pub limit_rps: Vec<Option<f64>>,
    pub advertised_rps: Vec<f64>,
}

/// What the first seconds of a round show.
#[derive(Debug, Clone, Copy)]
pub struct EarlyMeasurement<'a> {
    /// What each source measures of its own demand (times its report factor).
    pub reported_rps: &'a [f64],
    /// What part of the round is already over.
    pub elapsed: f64,
}
