//! From what was measured of an own export to what the others are told that it can bear: pure. A step is a round.
//!
//! ```text
//! load and utilization ──▶ calibration: what a pod bears ─┐
//! ready pods ────────────▶ how many count ────────────────┴─▶ capacity
//! ```
//!
//! All clusters plan with what is said here, and nothing they do corrects a capacity that is wrong: a number that nobody
//! observed must not stand for ever, and one measurement must not throw it.

use crate::optimize::agent::{ExportMeasurement, Load};

/// Below this utilization much of it is what a pod uses without any requests, and a quotient says little of what it bears.
const LEAST_UTILIZATION: f64 = 0.3;
/// How far what was measured is believed away from what was configured, as a factor.
const BELIEVED: (f64, f64) = (0.1, 10.0);
/// How much of a difference a round takes over, of its logarithm: twice as much and half as much weigh alike.
const GAIN: f64 = 0.3;
/// As a factor, what one round can change at most.
const MOST_STEP: f64 = 1.2;
/// Of the pods that went, the part that is forgotten per round: a third is left after ten rounds.
const FORGOTTEN: f64 = 0.1;
/// As a factor of the ready pods, how many count at most.
const MOST_REMEMBERED: f64 = 1.25;
/// Autoscalers aim at less than this part of what pods bear. With more to do, pods did not go because they were idle.
const BUSY: f64 = 0.8;

/// Of the export of one service, in one window. `None`: nobody measures it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    pub load_rps: Option<f64>,
    /// The part of what its ready pods bear that they were asked for: 1 is all of it, and more is possible.
    pub utilization: Option<f64>,
    /// What the answers of all clusters amount to: a guess, but good enough to tell idle from busy.
    pub answered_rps: Option<f64>,
}

/// What is there to bear it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExportPods {
    pub ready: usize,
    /// What one is configured to bear.
    pub nominal_rps: f64,
}

/// What is known of an export, from window to window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Capacity {
    /// What a ready pod bears. `None`: it was never measured, and the configuration counts.
    per_pod_rps: Option<f64>,
    /// How many pods count.
    pods: f64,
}

/// At the end of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExportCapacity {
    /// `None`: nobody measured it, nor how busy the pods were.
    pub load_rps: Option<f64>,
    pub capacity_rps: f64,
}

impl ExportCapacity {
    /// For an [`Agent`](crate::optimize::agent::Agent). `answered_rps`: what the answers of all clusters amount to,
    /// which is what is left where nobody measures. Nothing here tells what was rejected.
    pub fn measured(self, answered_rps: Option<f64>) -> Option<ExportMeasurement> {
        let load = self.load_rps.map(Load::Measured).or_else(|| answered_rps.map(Load::Answers))?;
        Some(ExportMeasurement { load, nominal_rps: self.capacity_rps, limit_rps: None })
    }
}

impl Capacity {
    /// Goes on from what one pod was said to bear, if that was known.
    pub fn learnt(per_pod_rps: Option<f64>) -> Self {
        Self { per_pod_rps: sane(per_pod_rps).filter(|rps| *rps > 0.0), pods: 0.0 }
    }

    /// What a ready pod bears. `None`: it was never measured, and the configuration counts.
    pub fn per_pod_rps(self) -> Option<f64> {
        self.per_pod_rps
    }

    #[must_use]
    pub fn step(self, sample: Sample, pods: ExportPods) -> Self {
        let per_pod_rps = self.calibrated(sample, pods);
        let known = Self { per_pod_rps, ..self };
        let load_rps = known.load_rps(sample, pods).or_else(|| sane(sample.answered_rps));
        Self { pods: known.remembered(load_rps, pods), ..known }
    }

    /// After a [step](Self::step) with the same sample and pods.
    pub fn export(self, sample: Sample, pods: ExportPods) -> ExportCapacity {
        ExportCapacity { load_rps: self.load_rps(sample, pods), capacity_rps: self.pods * self.per_pod(pods) }
    }

    /// What a pod bears is its load over its utilization. While only one of both is known, what was learnt before stays.
    fn calibrated(self, sample: Sample, pods: ExportPods) -> Option<f64> {
        let (Some(load), Some(utilization)) = (sane(sample.load_rps), sane(sample.utilization)) else {
            return self.per_pod_rps;
        };
        if utilization <= LEAST_UTILIZATION || load <= 0.0 || pods.ready == 0 {
            return self.per_pod_rps;
        }
        let observed = believed(load / utilization / pods.ready as f64, pods.nominal_rps);
        let before = self.per_pod(pods);
        Some(before * (observed / before).powf(GAIN).clamp(1.0 / MOST_STEP, MOST_STEP))
    }

    /// As configured, and within what is believed where the configuration changed.
    fn per_pod(self, pods: ExportPods) -> f64 {
        believed(self.per_pod_rps.unwrap_or(pods.nominal_rps), pods.nominal_rps)
    }

    fn load_rps(self, sample: Sample, pods: ExportPods) -> Option<f64> {
        let by_utilization = || Some(sane(sample.utilization)? * pods.ready as f64 * self.per_pod(pods));
        sane(sample.load_rps).or_else(by_utilization)
    }

    /// More pods count at once. Of fewer there are two kinds, which must not be taken for each other:
    ///
    /// An autoscaler removes pods when load falls. If the capacity fell with them, plans would send less, the autoscaler would
    /// remove more, and a cluster that was quiet for a night would not be asked again (the big get bigger). So what is
    /// published falls slowly, over ten rounds and more: pods that the autoscaler can bring back still count.
    ///
    /// ExportPods that fail take no load with them, and nobody brings them back. So no more than a quarter above what is ready now
    /// is ever published, and nothing above it when what is ready is busy, or when nothing is.
    fn remembered(self, load_rps: Option<f64>, pods: ExportPods) -> f64 {
        let ready = pods.ready as f64;
        let busy = load_rps.is_some_and(|load| load > BUSY * ready * self.per_pod(pods));
        if busy || self.pods <= ready {
            return ready;
        }
        let fallen = self.pods - FORGOTTEN * (self.pods - ready);
        fallen.min(MOST_REMEMBERED * ready)
    }
}

/// Measurements come from outside.
fn sane(measured: Option<f64>) -> Option<f64> {
    measured.filter(|number| number.is_finite() && *number >= 0.0)
}

fn believed(rps: f64, nominal_rps: f64) -> f64 {
    rps.clamp(BELIEVED.0 * nominal_rps, BELIEVED.1 * nominal_rps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(load_rps: impl Into<Option<f64>>, utilization: impl Into<Option<f64>>) -> Sample {
        Sample { load_rps: load_rps.into(), utilization: utilization.into(), answered_rps: None }
    }

    /// At 100 requests per second each.
    fn pods(ready: usize) -> ExportPods {
        ExportPods { ready, nominal_rps: 100.0 }
    }

    fn after(capacity: Capacity, rounds: usize, sample: Sample, pods: ExportPods) -> Capacity {
        (0..rounds).fold(capacity, |capacity, _| capacity.step(sample, pods))
    }

    fn rps(capacity: Capacity, pods: ExportPods) -> f64 {
        capacity.export(Sample::default(), pods).capacity_rps
    }

    fn near(number: f64, expected: f64) -> bool {
        (number - expected).abs() < 1e-6 * expected.abs().max(1.0)
    }

    #[test]
    fn an_export_that_nobody_measures_bears_what_its_ready_pods_are_configured_to() {
        let capacity = Capacity::default().step(Sample::default(), pods(4));
        let export = capacity.export(Sample::default(), pods(4));
        assert_eq!((export.load_rps, export.measured(None)), (None, None));
        let measured = export.measured(Some(70.0)).unwrap();
        assert!(
            measured.load == Load::Answers(70.0) && near(measured.nominal_rps, 400.0) && measured.limit_rps.is_none()
        );
        assert!(near(rps(capacity.step(Sample::default(), pods(7)), pods(7)), 700.0), "more count at once");
    }

    #[test]
    fn a_load_that_was_measured_counts_more_than_one_that_follows_from_utilization_or_answers() {
        let load = |sample| Capacity::default().step(sample, pods(4)).export(sample, pods(4));
        assert!(near(load(sample(150.0, 0.2)).load_rps.unwrap(), 150.0));
        assert!(near(load(sample(None, 0.5)).load_rps.unwrap(), 200.0), "half of what four pods bear");
        assert!(near(load(sample(None, 0.5)).measured(Some(7.0)).unwrap().load.rps(), 200.0));
        assert!(
            load(sample(0.0, None)).measured(Some(7.0)).unwrap().load == Load::Measured(0.0),
            "nothing is a measurement"
        );
    }

    #[test]
    fn what_a_pod_bears_is_learnt_from_load_and_utilization() {
        // 360 requests a second keep four pods at half of what they bear: 180 each.
        let learnt = after(Capacity::default(), 60, sample(360.0, 0.5), pods(4));
        assert!(near(rps(learnt, pods(4)), 720.0), "{learnt:?}");
        let quiet = learnt.step(sample(36.0, LEAST_UTILIZATION), pods(4));
        assert!(near(rps(quiet, pods(4)), 720.0), "too little to learn from");
        let alone = learnt.step(sample(500.0, None), pods(4)).step(Sample::default(), pods(4));
        assert!(near(rps(alone, pods(4)), 720.0), "what was learnt stays");
        let busy = sample(None, 0.5);
        assert!(near(learnt.export(busy, pods(4)).load_rps.unwrap(), 360.0), "and counts for a load");
        let lower = after(learnt, 60, sample(100.0, 0.5), pods(4));
        assert!(near(rps(lower, pods(4)), 200.0), "it is learnt downwards as well");
    }

    #[test]
    fn one_measurement_moves_what_was_learnt_by_a_fifth_at_most_and_a_small_one_by_less() {
        let known = after(Capacity::default(), 40, sample(200.0, 0.5), pods(4));
        for (load, expected) in [(1e6, 480.0), (1.0, 400.0 / 1.2)] {
            let shaken = known.step(sample(load, 0.5), pods(4));
            assert!(near(rps(shaken, pods(4)), expected), "{load}: {shaken:?}");
        }
        let nudged = rps(known.step(sample(220.0, 0.5), pods(4)), pods(4));
        assert!((400.0..415.0).contains(&nudged), "{nudged}");
    }

    #[test]
    fn nothing_is_believed_beyond_ten_times_what_was_configured_and_a_tenth_of_it() {
        let fast = after(Capacity::default(), 100, sample(1e9, 0.5), pods(4));
        assert!(near(rps(fast, pods(4)), 4000.0), "{fast:?}");
        let slow = after(Capacity::default(), 100, sample(1e-3, 0.9), pods(4));
        assert!(near(rps(slow, pods(4)), 40.0), "{slow:?}");
        let configured_anew = ExportPods { ready: 4, nominal_rps: 10.0 };
        assert!(near(rps(fast, configured_anew), 400.0));
    }

    #[test]
    fn pods_that_an_autoscaler_removes_count_a_little_while_longer() {
        let idle = |ready: usize| sample(0.5 * 100.0 * ready as f64, None);
        let ten = Capacity::default().step(idle(10), pods(10));
        let nine = ten.step(idle(9), pods(9));
        assert!(near(rps(nine, pods(9)), 990.0), "a tenth of the one that went is forgotten: {nine:?}");
        let later = after(nine, 9, idle(9), pods(9));
        assert!((930.0..940.0).contains(&rps(later, pods(9))), "after ten rounds a third of it is left: {later:?}");
        assert!(near(rps(ten.step(idle(4), pods(4)), pods(4)), 500.0), "a quarter more than is ready, and no more");
        assert!(near(rps(nine.step(idle(12), pods(12)), pods(12)), 1200.0));
    }

    #[test]
    fn pods_that_fail_are_missed_at_once() {
        let ten = Capacity::default().step(sample(700.0, None), pods(10));
        let eight = ten.step(sample(700.0, None), pods(8));
        assert!(near(rps(eight, pods(8)), 800.0), "those that are left are busy: {eight:?}");
        let by_utilization = ten.step(sample(None, 0.85), pods(8));
        assert!(near(rps(by_utilization, pods(8)), 800.0), "{by_utilization:?}");
        let unmeasured = ten.step(Sample::default(), pods(2));
        assert!(near(rps(unmeasured, pods(2)), 250.0), "{unmeasured:?}");
        assert!(near(rps(ten.step(sample(0.0, None), pods(0)), pods(0)), 0.0), "nothing ready bears nothing");
    }

    #[test]
    fn what_is_learnt_anew_of_a_pod_counts_at_once_for_those_that_are_remembered() {
        let ten = after(Capacity::default(), 40, sample(500.0, 0.5), pods(10));
        let slower = ten.step(sample(400.0, 0.8), pods(9));
        let per_pod = 100.0 * (400.0 / 0.8 / 9.0_f64 / 100.0).powf(GAIN).max(1.0 / MOST_STEP);
        assert!(near(rps(slower, pods(9)), 9.9 * per_pod), "{slower:?}");
    }

    #[test]
    fn nonsense_is_not_measured() {
        let known = after(Capacity::default(), 10, sample(300.0, 0.5), pods(4));
        for nonsense in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0] {
            for sample in [sample(nonsense, 0.5), sample(300.0, nonsense), sample(nonsense, nonsense)] {
                let next = known.step(sample, pods(4));
                assert!(near(rps(next, pods(4)), rps(known, pods(4))), "{sample:?}");
                let load = next.export(sample, pods(4)).load_rps;
                assert!(load.is_none_or(|load| (0.0..=1000.0).contains(&load)), "{sample:?}: {load:?}");
            }
        }
    }
}
