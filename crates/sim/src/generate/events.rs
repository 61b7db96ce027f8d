//! Events of a generated scenario.

use super::chance::Chance;
use super::draft::Draft;
use crate::scenario::ScenarioEvent;

impl Draft {
    pub(super) fn add_events(&mut self, chance: &mut Chance) {
        self.scenario.rounds = chance.one_of(&[40, 60, 96]).unwrap_or(60);
        let before = self.scenario.events.len();
        self.add_day(chance);
        self.add_ramp(chance);
        self.add_burst(chance);
        self.add_peak(chance);
        if self.scenario.events.len() == before {
            self.note("constant demand");
        }
        self.add_outages(chance);
        self.add_price_change(chance);
        self.add_disruption(chance);
    }

    fn add_day(&mut self, chance: &mut Chance) {
        if !chance.happens(0.35) {
            return;
        }
        let amplitude = chance.between(0.2, 0.7, 2);
        let longitude = self.regions.iter().map(|region| region.longitude).collect();
        let period_rounds = chance.one_of(&[48.0, 96.0, 288.0]).unwrap_or(288.0);
        self.note(format!("day and night ±{:.0} % in {period_rounds} rounds", amplitude * 100.0));
        self.scenario.events.push(ScenarioEvent::Diurnal { amplitude, period_rounds, longitude });
    }

    /// Adds a growing demand up to the last round.
    fn add_ramp(&mut self, chance: &mut Chance) {
        if !chance.happens(0.25) {
            return;
        }
        let rounds = self.scenario.rounds;
        let from_round = chance.count(5, rounds / 2);
        let ramp_rounds = chance.count(10, rounds - from_round);
        let factor = chance.between(1.2, 2.5, 1);
        let cluster = self.any(chance);
        self.note(format!("a ramp to {factor} times at {cluster} from round {from_round}"));
        self.scenario.events.push(ScenarioEvent::DemandScale {
            cluster,
            factor,
            from_round,
            to_round: rounds,
            ramp_rounds,
        });
    }

    fn add_burst(&mut self, chance: &mut Chance) {
        if !chance.happens(0.35) {
            return;
        }
        let (from_round, to_round) = self.span(chance);
        let factor = chance.between(1.5, 4.0, 1);
        let ramp_rounds = chance.count(1, 3);
        let cluster = self.any(chance);
        self.note(format!("a burst of {factor} times at {cluster} from round {from_round} to {to_round}"));
        self.scenario.events.push(ScenarioEvent::DemandScale { cluster, factor, from_round, to_round, ramp_rounds });
    }

    fn add_peak(&mut self, chance: &mut Chance) {
        if !chance.happens(0.3) {
            return;
        }
        let (at_round, _) = self.span(chance);
        let factor = chance.between(1.5, 3.0, 1);
        let width_rounds = chance.between(1.5, 8.0, 1);
        let cluster = self.any(chance);
        self.note(format!("a peak of {factor} times at {cluster} in round {at_round}"));
        let at_round = u32::try_from(at_round).map_or(0.0, f64::from);
        self.scenario.events.push(ScenarioEvent::Peak { cluster, factor, at_round, width_rounds });
    }

    /// Adds outages. The only exporter never fails: without any exporter, policies do not differ.
    fn add_outages(&mut self, chance: &mut Chance) {
        let exporters = self.exporters();
        if !chance.happens(0.35) || exporters.len() < 2 {
            return;
        }
        let how_many = if exporters.len() > 4 { chance.count(1, 2) } else { 1 };
        for j in chance.some_of(&exporters, how_many) {
            let cluster = self.scenario.clusters[j].clone();
            let (from_round, to_round) = self.span(chance);
            self.note(format!("{cluster} is out from round {from_round} to {to_round}"));
            self.scenario.events.push(ScenarioEvent::Outage { cluster, from_round, to_round });
        }
    }

    fn add_price_change(&mut self, chance: &mut Chance) {
        if !chance.happens(0.3) || self.regions.len() < 2 {
            return;
        }
        let from = self.any(chance);
        let others: Vec<String> = self.scenario.clusters.iter().filter(|name| **name != from).cloned().collect();
        let to = if chance.happens(0.5) { chance.one_of(&others) } else { None };
        let usd_per_gb = chance.one_of(&[0.0, 0.01, 0.05, 0.2, 0.5]).unwrap_or_default();
        let (from_round, to_round) = self.span(chance);
        let target = to.as_deref().unwrap_or("anywhere");
        self.note(format!("{from} to {target} at {usd_per_gb} USD/GB from round {from_round} to {to_round}"));
        let from = Some(from);
        self.scenario.events.push(ScenarioEvent::PriceChange { from, to, usd_per_gb, from_round, to_round });
    }

    fn add_disruption(&mut self, chance: &mut Chance) {
        if !chance.happens(0.3) || self.regions.len() < 2 {
            return;
        }
        let from = self.any(chance);
        let others: Vec<String> = self.scenario.clusters.iter().filter(|name| **name != from).cloned().collect();
        let to = if chance.happens(0.5) { chance.one_of(&others) } else { None };
        let (factor, add_ms) = (chance.between(1.0, 3.0, 1), chance.between(0.0, 100.0, 0));
        let (from_round, to_round) = self.span(chance);
        let target = to.as_deref().unwrap_or("all others");
        self.note(format!("a detour between {from} and {target} from round {from_round} to {to_round}"));
        self.scenario.events.push(ScenarioEvent::RttDisruption { from, to, factor, add_ms, from_round, to_round });
    }

    fn any(&self, chance: &mut Chance) -> String {
        chance.one_of(&self.scenario.clusters).unwrap_or_default()
    }

    /// Returns the rounds of an event. It starts after a policy has settled and ends in time to show its recovery.
    fn span(&self, chance: &mut Chance) -> (usize, usize) {
        let rounds = self.scenario.rounds;
        let from = chance.count(10, rounds / 2);
        (from, chance.count(from + 2, (from + 25).min(rounds - 5)))
    }
}
