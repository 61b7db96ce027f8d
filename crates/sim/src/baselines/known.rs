//! What the rules know of the rounds that are over, as old as it is.

use crate::policy::{Moment, PastRound};

/// What part of a surprise the smoothed error and the smoothed absolute error take over.
const GAIN: f64 = 0.2;

/// The least part of a surprise that is followed.
const MIN_ALPHA: f64 = 0.2;

/// A surprise that is a greater part of the level than this is followed at once.
const JUMP: f64 = 0.25;

/// The part of the capacity that is asked for before anything is known.
const FIRST_GUESS: f64 = 0.5;

/// The exporters as one source sees them.
pub(super) struct View {
    pub(super) load_rps: Vec<f64>,
    /// What the source sent there in the window in which the load was measured.
    pub(super) own_rps: Vec<f64>,
    pub(super) capacity_rps: Vec<f64>,
}

/// Its own exporter a source sees without delay.
pub(super) fn view(moment: &Moment<'_>, source: usize) -> View {
    let size = moment.world.size();
    let age = |j: usize| if j == source { 0 } else { moment.world.rounds[moment.round].age[(source, j)] };
    let of = |value: &dyn Fn(&PastRound, usize) -> f64| {
        (0..size).map(|j| known(moment.past, age(j)).map_or(0.0, |past| value(past, j))).collect::<Vec<f64>>()
    };
    let report_factor = moment.world.report_factor[source];
    View {
        load_rps: of(&|past, j| past.load_rps[j]),
        own_rps: of(&|past, j| past.sent_rps[(source, j)] * report_factor),
        capacity_rps: returning(moment, of(&|past, j| past.advertised_rps[j])),
    }
}

/// What a central instance sees; 0 for who is dead.
pub(super) fn capacity_rps(moment: &Moment<'_>) -> Vec<f64> {
    let advertised = known(moment.past, moment.world.staleness).map(|past| past.advertised_rps.clone());
    returning(moment, advertised.unwrap_or_else(|| vec![0.0; moment.world.size()]))
}

/// Who is alive and was not when the facts were made has its nominal capacity, who is dead none.
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

/// The newest round that is `age` rounds older than the last one, or the first one.
fn known<T>(past: &[T], age: usize) -> Option<&T> {
    past.get(past.len().checked_sub(1)?.saturating_sub(age))
}

/// Demands as they are published, one list per round that is over. Trigg and Leach (1967): the more the errors have one
/// sign, the faster the smoothed value follows.
#[derive(Default)]
pub(super) struct Demands {
    smoothed: Vec<Vec<f64>>,
    /// By source: mean error, mean absolute error.
    errors: Vec<(f64, f64)>,
}

impl Demands {
    /// Takes in what has become past since the last call.
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

    /// What each source knows of itself.
    pub(super) fn own_rps(&self, moment: &Moment<'_>) -> Vec<f64> {
        self.smoothed.last().cloned().unwrap_or_else(|| first_guess(moment))
    }

    /// What a central instance knows, which is where the first cluster is.
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
