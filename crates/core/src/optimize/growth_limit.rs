//! What a cluster usually says, and how far beyond it is believed at once.
//!
//! All clusters plan from what each of them says, so one that lies, or has a broken meter, moves everybody. A number may be
//! ten times the usual one; the usual follows what is said by no more than a factor of ten in twelve hours. So a service that
//! grows is believed as it grows, and nonsense costs little for as long as it takes somebody to look.

use std::collections::BTreeMap;

use crate::name::ServiceKey;
use crate::optimize::facts::MOST_RPS;
use crate::optimize::report::Report;

/// How much more than usual is believed.
const MOST_TIMES: f64 = 10.0;

/// How long the usual takes to become ten times as much, in seconds.
const TENFOLD_SECONDS: f64 = 12.0 * 3600.0;

/// Up to this, everything is believed: services begin somewhere. An export that grows from its first pod to its hundredth in a
/// minute is no liar, and must not be held for one by everybody but itself.
const SMALL_RPS: f64 = 10_000.0;

/// Services that are remembered. Who names more than that, now or over time, is believed as at first.
const MOST_SERVICES: usize = 50_000;

/// Of all services of one cluster.
#[derive(Debug, Clone, Default)]
pub struct Usual {
    services: BTreeMap<ServiceKey, Levels>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Levels {
    /// When it was last told, in seconds since 1970. Each service for itself: the objects of a cluster come one after the
    /// other.
    at: Option<u64>,
    demand: Level,
    measured: Level,
    capacity: Level,
    load: Level,
}

/// In requests per second; `None` before anything but 0 was said.
#[derive(Debug, Clone, Copy, Default)]
struct Level(Option<f64>);

impl Usual {
    /// Cuts what is beyond belief. Returns how many numbers were.
    pub fn believe(&mut self, reports: &mut BTreeMap<ServiceKey, Report>, now: u64) -> usize {
        if self.services.len() > MOST_SERVICES {
            self.services.clear();
        }
        let mut cut = 0;
        for (key, report) in reports {
            let levels = self.services.entry(key.clone()).or_default();
            let elapsed = now.saturating_sub(levels.at.replace(now).unwrap_or(now)) as f64;
            let most = 10_f64.powf(elapsed / TENFOLD_SECONDS);
            let mut believe = |level: &mut Level, number: &mut Option<f64>| {
                let Some(said) = *number else { return };
                let believed = level.believe(said, most);
                cut += usize::from(believed != Some(said));
                *number = believed;
            };
            believe(&mut levels.demand, &mut report.demand_rps);
            believe(&mut levels.measured, &mut report.measured_demand_rps);
            believe(&mut levels.capacity, &mut report.capacity_rps);
            believe(&mut levels.load, &mut report.load_rps);
            // What grows by more than all of it per round is no trend.
            let most = report.demand_rps.unwrap_or(0.0);
            report.trend_rps = report.trend_rps.clamp(-most, most);
        }
        cut
    }
}

impl Level {
    /// `None`: it is more than anybody can, and nothing is known of what is usual.
    fn believe(&mut self, said: f64, most: f64) -> Option<f64> {
        let Some(usual) = self.0 else {
            self.0 = Some(said).filter(|said| *said > 0.0 && *said < MOST_RPS);
            return Some(said).filter(|said| *said < MOST_RPS);
        };
        if said > 0.0 {
            self.0 = Some(said.clamp(usual / most, usual * most));
        }
        Some(said.min((MOST_TIMES * usual).max(SMALL_RPS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn believed(said: &[(u64, f64)]) -> Vec<f64> {
        let key = ServiceKey::new("shop", "web").unwrap();
        let mut usual = Usual::default();
        let believe = |&(at, rps): &(u64, f64)| {
            let report = Report { capacity_rps: Some(rps), ..Report::default() };
            let mut reports = BTreeMap::from([(key.clone(), report)]);
            usual.believe(&mut reports, at);
            reports[&key].capacity_rps.unwrap()
        };
        said.iter().map(believe).collect()
    }

    #[test]
    fn ten_times_the_usual_is_believed_and_no_more() {
        assert_eq!(believed(&[(0, 5000.0), (300, 50_000.0)]), [5000.0, 50_000.0]);
        let absurd = believed(&[(0, 5000.0), (300, 1e7), (600, 1e7)]);
        assert!(absurd[1] <= 50_000.0 + 1e-9 && absurd[2] < 51_000.0, "{absurd:?}");
    }

    #[test]
    fn who_begins_with_more_than_anybody_can_says_nothing() {
        let key = ServiceKey::new("shop", "web").unwrap();
        let report = Report { demand_rps: Some(MOST_RPS), capacity_rps: Some(50.0), ..Report::default() };
        let mut reports = BTreeMap::from([(key.clone(), report)]);
        assert_eq!(Usual::default().believe(&mut reports, 0), 1);
        assert_eq!((reports[&key].demand_rps, reports[&key].capacity_rps), (None, Some(50.0)));
    }

    #[test]
    fn what_goes_on_growing_is_believed_in_time() {
        let later: Vec<(u64, f64)> = (0..=288).map(|i| (i * 300, if i == 0 { 5000.0 } else { 200_000.0 })).collect();
        assert!((believed(&later).last().unwrap() - 200_000.0).abs() < 1e-6, "a day later");
    }

    #[test]
    fn services_that_are_told_of_in_objects_of_the_same_second_have_each_their_usual() {
        let mut usual = Usual::default();
        let mut said = |at: u64, name: &str, rps: f64| {
            let key = ServiceKey::new("shop", name).unwrap();
            let report = Report { demand_rps: Some(rps), trend_rps: 1e7, ..Report::default() };
            let mut reports = BTreeMap::from([(key.clone(), report)]);
            usual.believe(&mut reports, at);
            reports[&key]
        };
        for i in 0..=288 {
            said(i * 300, "web", 5000.0);
            said(i * 300, "db", if i == 0 { 5000.0 } else { 200_000.0 });
        }
        let report = said(289 * 300, "db", 200_000.0);
        assert_eq!(report.demand_rps, Some(200_000.0), "a day later");
        assert!(report.trend_rps <= 200_000.0, "{report:?}");
    }

    #[test]
    fn small_services_and_those_that_come_back_are_believed_at_once() {
        assert_eq!(believed(&[(0, 0.1), (30, 9000.0)]), [0.1, 9000.0]);
        assert_eq!(believed(&[(0, 3000.0), (30, 0.0), (60, 3000.0)]), [3000.0, 0.0, 3000.0]);
        assert_eq!(believed(&[(0, 0.0), (30, 3000.0)]), [0.0, 3000.0], "from nothing to thirty pods");
    }
}
