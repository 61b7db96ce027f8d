//! The capacity that a cluster publishes for its own export, from measurements. Pure. A step is a round.
//!
//! ```text
//! load and utilization ──▶ calibration: capacity of a pod ─┐
//! ready pods ────────────▶ pods that count ────────────────┴─▶ capacity
//! ```
//!
//! All clusters plan with this capacity, and nothing that they do corrects a wrong one. So an assumed number must give
//! way to measurements, and one measurement must not change it much.

use crate::optimize::agent::{ExportMeasurement, Load};

/// Utilization from which on load over utilization is a usable capacity. Below it, much of the utilization is what a
/// pod uses without any requests.
const MIN_UTILIZATION: f64 = 0.3;
/// Lowest and highest plausible capacity of a pod, as factors of the configured one.
const PLAUSIBLE_FACTORS: (f64, f64) = (0.1, 10.0);
/// Smoothing gain for the logarithm of the capacity of a pod. In the logarithm, twice as much and half as much weigh
/// alike.
const GAIN: f64 = 0.3;
/// Largest change in one round, as a factor.
const MAX_STEP: f64 = 1.2;
/// Fraction of the removed pods that is forgotten per round. A third is left after ten rounds.
const FORGOTTEN_PER_ROUND: f64 = 0.1;
/// Largest number of pods that count, as a factor of the ready ones.
const MAX_REMEMBERED: f64 = 1.25;
/// Utilization above which pods were not removed for being idle: autoscalers aim at less than this.
const BUSY_UTILIZATION: f64 = 0.8;

/// Measurements of the export of one service in one window. A field is `None` if it is not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    pub load_rps: Option<f64>,
    /// Load as a fraction of the capacity of the ready pods. It may exceed 1.
    pub utilization: Option<f64>,
    /// Load estimated from the DNS answers of all clusters. It is good enough to distinguish idle from busy.
    pub answered_rps: Option<f64>,
}

/// Pods of the export.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExportPods {
    pub ready: usize,
    /// Configured capacity of one pod.
    pub nominal_rps: f64,
}

/// State of the capacity estimate, kept from window to window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Capacity {
    /// Learnt capacity of a ready pod. `None` if it was never measured; then the configured one counts.
    per_pod_rps: Option<f64>,
    /// Number of pods that count.
    pods: f64,
}

/// Load and capacity of an export at the end of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExportCapacity {
    /// `None` if neither the load nor the utilization was measured.
    pub load_rps: Option<f64>,
    pub capacity_rps: f64,
}

impl ExportCapacity {
    /// Returns the measurement for an [`Agent`](crate::optimize::agent::Agent). `answered_rps` is the load estimated
    /// from the answers of all clusters, for an export whose load is not measured. Rejected requests are not known
    /// here.
    pub fn measured(self, answered_rps: Option<f64>) -> Option<ExportMeasurement> {
        let load = self.load_rps.map(Load::Measured).or_else(|| answered_rps.map(Load::Answers))?;
        Some(ExportMeasurement { load, nominal_rps: self.capacity_rps, limit_rps: None })
    }
}

impl Capacity {
    /// Continues from the published capacity of one pod, if there is one.
    pub fn learnt(per_pod_rps: Option<f64>) -> Self {
        Self { per_pod_rps: valid(per_pod_rps).filter(|rps| *rps > 0.0), pods: 0.0 }
    }

    /// Returns the learnt capacity of a ready pod, or `None` if it was never measured.
    pub fn per_pod_rps(self) -> Option<f64> {
        self.per_pod_rps
    }

    /// Returns the state after a window.
    #[must_use]
    pub fn step(self, sample: Sample, pods: ExportPods) -> Self {
        let per_pod_rps = self.calibrated(sample, pods);
        let known = Self { per_pod_rps, ..self };
        let load_rps = known.load_rps(sample, pods).or_else(|| valid(sample.answered_rps));
        Self { pods: known.pods_that_count(load_rps, pods), ..known }
    }

    /// Returns load and capacity. Precondition: a [step](Self::step) with the same sample and pods.
    pub fn export(self, sample: Sample, pods: ExportPods) -> ExportCapacity {
        ExportCapacity { load_rps: self.load_rps(sample, pods), capacity_rps: self.pods * self.per_pod(pods) }
    }

    /// Returns the new capacity of a pod: its load over its utilization, smoothed. The previous value stays while one
    /// of the two is unknown.
    fn calibrated(self, sample: Sample, pods: ExportPods) -> Option<f64> {
        let (Some(load), Some(utilization)) = (valid(sample.load_rps), valid(sample.utilization)) else {
            return self.per_pod_rps;
        };
        if utilization <= MIN_UTILIZATION || load <= 0.0 || pods.ready == 0 {
            return self.per_pod_rps;
        }
        let observed = plausible(load / utilization / pods.ready as f64, pods.nominal_rps);
        let before = self.per_pod(pods);
        Some(before * (observed / before).powf(GAIN).clamp(1.0 / MAX_STEP, MAX_STEP))
    }

    /// Returns the learnt or configured capacity of a pod, within the plausible range of the present configuration.
    fn per_pod(self, pods: ExportPods) -> f64 {
        plausible(self.per_pod_rps.unwrap_or(pods.nominal_rps), pods.nominal_rps)
    }

    /// Returns the measured load, or the one that follows from the utilization.
    fn load_rps(self, sample: Sample, pods: ExportPods) -> Option<f64> {
        let by_utilization = || Some(valid(sample.utilization)? * pods.ready as f64 * self.per_pod(pods));
        valid(sample.load_rps).or_else(by_utilization)
    }

    /// Returns the number of pods that count. Added pods count at once. Pods disappear for two reasons, which must not
    /// be confused:
    ///
    /// An autoscaler removes pods when load falls. If the capacity fell with them, plans would send less and the
    /// autoscaler would remove more. A cluster that was quiet for a night would then get no requests any more. So the
    /// published capacity falls slowly, over ten rounds and more: pods that the autoscaler can bring back still count.
    ///
    /// Pods that fail leave their load to the others, and the autoscaler does not bring them back. So at most a quarter
    /// more pods than are ready ever count. If the ready pods are busy, or none is ready, only ready ones count.
    fn pods_that_count(self, load_rps: Option<f64>, pods: ExportPods) -> f64 {
        let ready = pods.ready as f64;
        let busy = load_rps.is_some_and(|load| load > BUSY_UTILIZATION * ready * self.per_pod(pods));
        if busy || self.pods <= ready {
            return ready;
        }
        let decayed = self.pods - FORGOTTEN_PER_ROUND * (self.pods - ready);
        decayed.min(MAX_REMEMBERED * ready)
    }
}

/// Drops a measurement that is not a finite number of 0 or more. Measurements come from outside.
fn valid(measured: Option<f64>) -> Option<f64> {
    measured.filter(|number| number.is_finite() && *number >= 0.0)
}

/// Limits the capacity of a pod to the plausible range.
fn plausible(rps: f64, nominal_rps: f64) -> f64 {
    rps.clamp(PLAUSIBLE_FACTORS.0 * nominal_rps, PLAUSIBLE_FACTORS.1 * nominal_rps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(load_rps: impl Into<Option<f64>>, utilization: impl Into<Option<f64>>) -> Sample {
        Sample { load_rps: load_rps.into(), utilization: utilization.into(), answered_rps: None }
    }

    /// Ready pods with a configured capacity of 100 requests per second each.
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
    fn unmeasured_export_has_the_configured_capacity_of_its_ready_pods() {
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
    fn measured_load_takes_precedence_over_utilization_and_answers() {
        let load = |sample| Capacity::default().step(sample, pods(4)).export(sample, pods(4));
        assert!(near(load(sample(150.0, 0.2)).load_rps.unwrap(), 150.0));
        assert!(near(load(sample(None, 0.5)).load_rps.unwrap(), 200.0), "half of the capacity of four pods");
        assert!(near(load(sample(None, 0.5)).measured(Some(7.0)).unwrap().load.rps(), 200.0));
        assert!(load(sample(0.0, None)).measured(Some(7.0)).unwrap().load == Load::Measured(0.0), "0 is a measurement");
    }

    #[test]
    fn capacity_of_a_pod_is_learnt_from_load_and_utilization() {
        // 360 requests a second keep four pods at half of their capacity: 180 each.
        let learnt = after(Capacity::default(), 60, sample(360.0, 0.5), pods(4));
        assert!(near(rps(learnt, pods(4)), 720.0), "{learnt:?}");
        let quiet = learnt.step(sample(36.0, MIN_UTILIZATION), pods(4));
        assert!(near(rps(quiet, pods(4)), 720.0), "too little to learn from");
        let alone = learnt.step(sample(500.0, None), pods(4)).step(Sample::default(), pods(4));
        assert!(near(rps(alone, pods(4)), 720.0), "what was learnt stays");
        let busy = sample(None, 0.5);
        assert!(near(learnt.export(busy, pods(4)).load_rps.unwrap(), 360.0), "and counts for a load");
        let lower = after(learnt, 60, sample(100.0, 0.5), pods(4));
        assert!(near(rps(lower, pods(4)), 200.0), "it is learnt downwards as well");
    }

    #[test]
    fn one_measurement_changes_the_capacity_by_a_fifth_at_most() {
        let known = after(Capacity::default(), 40, sample(200.0, 0.5), pods(4));
        for (load, expected) in [(1e6, 480.0), (1.0, 400.0 / 1.2)] {
            let shaken = known.step(sample(load, 0.5), pods(4));
            assert!(near(rps(shaken, pods(4)), expected), "{load}: {shaken:?}");
        }
        let nudged = rps(known.step(sample(220.0, 0.5), pods(4)), pods(4));
        assert!((400.0..415.0).contains(&nudged), "{nudged}");
    }

    #[test]
    fn capacity_stays_between_a_tenth_and_ten_times_the_configured_one() {
        let fast = after(Capacity::default(), 100, sample(1e9, 0.5), pods(4));
        assert!(near(rps(fast, pods(4)), 4000.0), "{fast:?}");
        let slow = after(Capacity::default(), 100, sample(1e-3, 0.9), pods(4));
        assert!(near(rps(slow, pods(4)), 40.0), "{slow:?}");
        let configured_anew = ExportPods { ready: 4, nominal_rps: 10.0 };
        assert!(near(rps(fast, configured_anew), 400.0));
    }

    #[test]
    fn pods_removed_by_an_autoscaler_are_forgotten_slowly() {
        let idle = |ready: usize| sample(0.5 * 100.0 * ready as f64, None);
        let ten = Capacity::default().step(idle(10), pods(10));
        let nine = ten.step(idle(9), pods(9));
        assert!(near(rps(nine, pods(9)), 990.0), "a tenth of the removed pod is forgotten: {nine:?}");
        let later = after(nine, 9, idle(9), pods(9));
        assert!(
            (930.0..940.0).contains(&rps(later, pods(9))),
            "a third of the pod is left after ten rounds: {later:?}"
        );
        assert!(near(rps(ten.step(idle(4), pods(4)), pods(4)), 500.0), "at most a quarter more than is ready");
        assert!(near(rps(nine.step(idle(12), pods(12)), pods(12)), 1200.0));
    }

    #[test]
    fn failed_pods_stop_counting_at_once() {
        let ten = Capacity::default().step(sample(700.0, None), pods(10));
        let eight = ten.step(sample(700.0, None), pods(8));
        assert!(near(rps(eight, pods(8)), 800.0), "the remaining pods are busy: {eight:?}");
        let by_utilization = ten.step(sample(None, 0.85), pods(8));
        assert!(near(rps(by_utilization, pods(8)), 800.0), "{by_utilization:?}");
        let unmeasured = ten.step(Sample::default(), pods(2));
        assert!(near(rps(unmeasured, pods(2)), 250.0), "{unmeasured:?}");
        assert!(near(rps(ten.step(sample(0.0, None), pods(0)), pods(0)), 0.0), "no ready pod, no capacity");
    }

    #[test]
    fn new_capacity_of_a_pod_applies_to_remembered_pods_at_once() {
        let ten = after(Capacity::default(), 40, sample(500.0, 0.5), pods(10));
        let slower = ten.step(sample(400.0, 0.8), pods(9));
        let per_pod = 100.0 * (400.0 / 0.8 / 9.0_f64 / 100.0).powf(GAIN).max(1.0 / MAX_STEP);
        assert!(near(rps(slower, pods(9)), 9.9 * per_pod), "{slower:?}");
    }

    #[test]
    fn invalid_measurements_are_ignored() {
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
