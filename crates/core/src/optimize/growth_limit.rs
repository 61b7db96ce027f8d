//! Limits how fast the reported numbers of a cluster may grow.
//!
//! All clusters plan from the reports of all, so one that lies, or has a broken meter, shifts the traffic of all. A
//! number may be ten times its usual level, and the level follows the reports by at most a factor of ten in twelve
//! hours. So a service that grows is followed as it grows, and absurd numbers do little harm until an operator looks.

use std::collections::BTreeMap;

use crate::name::ServiceKey;
use crate::optimize::facts::MAX_RPS;
use crate::optimize::report::Report;

/// Largest ratio of a number to its usual level.
const MAX_RATIO: f64 = 10.0;

/// Time in which the usual level can grow tenfold, in seconds.
const TENFOLD_SECONDS: f64 = 12.0 * 3600.0;

/// Number up to which growth is not limited: an export that scales from its first pod to its hundredth within a minute
/// is honest, and the other clusters must not clip its reports.
const SMALL_RPS: f64 = 10_000.0;

/// Limit of services that are remembered. If a cluster reports more, now or over time, all its levels start anew.
const MAX_SERVICES: usize = 50_000;

/// Usual levels of all services of one cluster.
#[derive(Debug, Clone, Default)]
pub struct GrowthLimit {
    services: BTreeMap<ServiceKey, Levels>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Levels {
    /// Time of the last report, in seconds since 1970. Per service, because the objects of a cluster arrive one after
    /// the other.
    at: Option<u64>,
    demand: Level,
    measured: Level,
    capacity: Level,
    load: Level,
}

/// Usual level in requests per second; `None` before the first number above 0.
#[derive(Debug, Clone, Copy, Default)]
struct Level(Option<f64>);

impl GrowthLimit {
    /// Clips the numbers that grow too fast. Returns how many were clipped.
    pub fn clip(&mut self, reports: &mut BTreeMap<ServiceKey, Report>, now: u64) -> usize {
        if self.services.len() > MAX_SERVICES {
            self.services.clear();
        }
        let mut clipped = 0;
        for (key, report) in reports {
            let levels = self.services.entry(key.clone()).or_default();
            let elapsed = now.saturating_sub(levels.at.replace(now).unwrap_or(now)) as f64;
            let growth = 10_f64.powf(elapsed / TENFOLD_SECONDS);
            let mut clip = |level: &mut Level, number: &mut Option<f64>| {
                let Some(reported) = *number else { return };
                let allowed = level.clip(reported, growth);
                clipped += usize::from(allowed != Some(reported));
                *number = allowed;
            };
            clip(&mut levels.demand, &mut report.demand_rps);
            clip(&mut levels.measured, &mut report.measured_demand_rps);
            clip(&mut levels.capacity, &mut report.capacity_rps);
            clip(&mut levels.load, &mut report.load_rps);
            // A trend is at most the demand itself per round.
            let max = report.demand_rps.unwrap_or(0.0);
            report.trend_rps = report.trend_rps.clamp(-max, max);
        }
        clipped
    }
}

impl Level {
    /// Returns the number that is allowed, and follows the report by at most a factor of `growth`. Returns `None` for a
    /// first number beyond the possible.
    fn clip(&mut self, reported: f64, growth: f64) -> Option<f64> {
        let Some(usual) = self.0 else {
            self.0 = Some(reported).filter(|reported| *reported > 0.0 && *reported < MAX_RPS);
            return Some(reported).filter(|reported| *reported < MAX_RPS);
        };
        if reported > 0.0 {
            self.0 = Some(reported.clamp(usual / growth, usual * growth));
        }
        Some(reported.min((MAX_RATIO * usual).max(SMALL_RPS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clipped(reported: &[(u64, f64)]) -> Vec<f64> {
        let key = ServiceKey::new("shop", "web").unwrap();
        let mut limit = GrowthLimit::default();
        let clip = |&(at, rps): &(u64, f64)| {
            let report = Report { capacity_rps: Some(rps), ..Report::default() };
            let mut reports = BTreeMap::from([(key.clone(), report)]);
            limit.clip(&mut reports, at);
            reports[&key].capacity_rps.unwrap()
        };
        reported.iter().map(clip).collect()
    }

    #[test]
    fn number_is_clipped_to_ten_times_its_usual_level() {
        assert_eq!(clipped(&[(0, 5000.0), (300, 50_000.0)]), [5000.0, 50_000.0]);
        let absurd = clipped(&[(0, 5000.0), (300, 1e7), (600, 1e7)]);
        assert!(absurd[1] <= 50_000.0 + 1e-9 && absurd[2] < 51_000.0, "{absurd:?}");
    }

    #[test]
    fn impossible_first_number_is_dropped() {
        let key = ServiceKey::new("shop", "web").unwrap();
        let report = Report { demand_rps: Some(MAX_RPS), capacity_rps: Some(50.0), ..Report::default() };
        let mut reports = BTreeMap::from([(key.clone(), report)]);
        assert_eq!(GrowthLimit::default().clip(&mut reports, 0), 1);
        assert_eq!((reports[&key].demand_rps, reports[&key].capacity_rps), (None, Some(50.0)));
    }

    #[test]
    fn lasting_growth_is_followed_in_time() {
        let later: Vec<(u64, f64)> = (0..=288).map(|i| (i * 300, if i == 0 { 5000.0 } else { 200_000.0 })).collect();
        assert!((clipped(&later).last().unwrap() - 200_000.0).abs() < 1e-6, "a day later");
    }

    #[test]
    fn services_reported_in_the_same_second_have_separate_levels() {
        let mut limit = GrowthLimit::default();
        let mut report = |at: u64, name: &str, rps: f64| {
            let key = ServiceKey::new("shop", name).unwrap();
            let report = Report { demand_rps: Some(rps), trend_rps: 1e7, ..Report::default() };
            let mut reports = BTreeMap::from([(key.clone(), report)]);
            limit.clip(&mut reports, at);
            reports[&key]
        };
        for i in 0..=288 {
            report(i * 300, "web", 5000.0);
            report(i * 300, "db", if i == 0 { 5000.0 } else { 200_000.0 });
        }
        let report = report(289 * 300, "db", 200_000.0);
        assert_eq!(report.demand_rps, Some(200_000.0), "a day later");
        assert!(report.trend_rps <= 200_000.0, "{report:?}");
    }

    #[test]
    fn small_services_and_those_that_come_back_are_not_clipped() {
        assert_eq!(clipped(&[(0, 0.1), (30, 9000.0)]), [0.1, 9000.0]);
        assert_eq!(clipped(&[(0, 3000.0), (30, 0.0), (60, 3000.0)]), [3000.0, 0.0, 3000.0]);
        assert_eq!(clipped(&[(0, 0.0), (30, 3000.0)]), [0.0, 3000.0], "from no pod to thirty");
    }
}
