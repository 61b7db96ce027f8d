//! Facts of earlier rounds as a baseline sees them, with their age.

use crate::policy::{Moment, PastRound};

/// Gain of the smoothed error and of the smoothed absolute error.
const GAIN: f64 = 0.2;

/// Lower bound of the smoothing factor.
const MIN_ALPHA: f64 = 0.2;

/// Relative error above which the filter jumps to the reported value.
const JUMP: f64 = 0.25;

/// Assumed demand before the first report, as a fraction of the capacity.
const FIRST_GUESS: f64 = 0.5;

/// All exporters as one source sees them.
pub(super) struct ExporterView {
    /// Load of each exporter.
    pub(super) load_rps: Vec<f64>,
    /// Load from this source in the same round.
    pub(super) own_rps: Vec<f64>,
    pub(super) capacity_rps: Vec<f64>,
}

/// Returns the exporters as a source sees them. A source sees its own exporter without delay.
pub(super) fn view(moment: &Moment<'_>, source: usize) -> ExporterView {
    let size = moment.world.size();
    let age = |j: usize| if j == source { 0 } else { moment.world.rounds[moment.round].age[(source, j)] };
    let seen = |value: &dyn Fn(&PastRound, usize) -> f64| {
        (0..size).map(|j| known(moment.past, age(j)).map_or(0.0, |past| value(past, j))).collect::<Vec<f64>>()
    };
    let report_factor = moment.world.report_factor[source];
    ExporterView {
        load_rps: seen(&|past, j| past.load_rps[j]),
        own_rps: seen(&|past, j| past.sent_rps[(source, j)] * report_factor),
        capacity_rps: returning(moment, seen(&|past, j| past.advertised_rps[j])),
    }
}

/// Returns capacities as a central instance sees them. A dead exporter has 0.
pub(super) fn capacity_rps(moment: &Moment<'_>) -> Vec<f64> {
    let advertised = known(moment.past, moment.world.staleness).map(|past| past.advertised_rps.clone());
    returning(moment, advertised.unwrap_or_else(|| vec![0.0; moment.world.size()]))
}

/// Corrects old capacities: an exporter that returned has its nominal capacity, a dead one has 0.
fn returning(moment: &Moment<'_>, mut capacity_rps: Vec<f64>) -> Vec<f64> {
    for ((capacity, &alive), nominal) in capacity_rps.iter_mut().zip(moment.alive()).zip(moment.nominal_rps) {
        *capacity = match alive {
            true if *capacity > 0.0 => *capacity,
            true => *nominal,
            false => 0.0,
        };
    }
    capacity_rps
}

/// Returns the round that is `age` rounds older than the last one. Returns the first round if there is no older one.
fn known<T>(past: &[T], age: usize) -> Option<&T> {
    past.get(past.len().checked_sub(1)?.saturating_sub(age))
}

/// Smoothed demands of each earlier round. The filter is Trigg and Leach's (1967): it follows faster if errors keep one
/// sign.
#[derive(Default)]
pub(super) struct Demands {
    smoothed: Vec<Vec<f64>>,
    /// Mean error and mean absolute error of each source.
    errors: Vec<(f64, f64)>,
}

impl Demands {
    /// Takes in the rounds since the last call.
    pub(super) fn follow(&mut self, moment: &Moment<'_>) {
        for past in &moment.past[self.smoothed.len()..] {
            let next = self.step(&past.reported_rps);
            self.smoothed.push(next);
        }
    }

    fn step(&mut self, reported_rps: &[f64]) -> Vec<f64> {
        let Some(levels) = self.smoothed.last() else {
            self.errors = vec![(0.0, 0.0); reported_rps.len()];
            return reported_rps.to_vec();
        };
        let sources = levels.iter().zip(reported_rps).zip(&mut self.errors);
        sources
            .map(|((level, reported), (error, absolute))| {
                let surprise = reported - level;
                *error = (1.0 - GAIN) * *error + GAIN * surprise;
                *absolute = (1.0 - GAIN) * *absolute + GAIN * surprise.abs();
                let jumped = surprise.abs() > JUMP * level;
                let alpha = (error.abs() / absolute.max(f64::MIN_POSITIVE)).clamp(MIN_ALPHA, 1.0);
                if jumped { *reported } else { level + alpha * surprise }
            })
            .collect()
    }

    /// Returns the demand of each source as the source itself knows it.
    pub(super) fn own_rps(&self, moment: &Moment<'_>) -> Vec<f64> {
        self.smoothed.last().cloned().unwrap_or_else(|| first_guess(moment))
    }

    /// Returns demands as a central instance in the first cluster knows them.
    pub(super) fn central_rps(&self, moment: &Moment<'_>) -> Vec<f64> {
        if self.smoothed.is_empty() {
            return first_guess(moment);
        }
        let age = moment.world.rounds[moment.round].age.row(0);
        age.iter().enumerate().map(|(l, &age)| known(&self.smoothed, age).map_or(0.0, |round| round[l])).collect()
    }
}

fn first_guess(moment: &Moment<'_>) -> Vec<f64> {
    let size = moment.world.size();
    let all: f64 = moment.nominal_rps.iter().sum();
    vec![FIRST_GUESS * all / size as f64; size]
}
