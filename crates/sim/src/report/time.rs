//! Parts of all pictures over time: the axis of rounds, and the events.

use crate::run::{RoundOutcome, Segment};
use crate::scenario::{Scenario, ScenarioEvent};
use crate::summary::warm_up;

use super::markup::{Element, hint, label, line, rect, width};
use super::scale::Scale;

/// Maximum number of steps. More would be finer than a screen.
const MAX_STEPS: usize = 500;

/// Maximum number of event names above each other.
const MAX_LANES: usize = 4;

/// Height of a lane.
const LANE: f64 = 18.0;

/// Returns the number of rounds that are drawn as one step.
pub(super) fn rounds_per_step(rounds: usize) -> usize {
    rounds.div_ceil(MAX_STEPS).max(1)
}

/// Returns a remark if a step has several rounds, else an empty text.
pub(super) fn per_step(rounds: usize, what: &str) -> String {
    match rounds_per_step(rounds) {
        1 => String::new(),
        several => format!(" Each step is {several} rounds: {what} of them."),
    }
}

/// A segment, or several rounds, drawn as one step.
#[derive(Debug)]
pub(super) struct Step<'a> {
    /// Start, in rounds.
    pub(super) from: f64,
    pub(super) to: f64,
    segments: Vec<&'a Segment>,
}

impl Step<'_> {
    pub(super) fn average(&self, value: impl Fn(&Segment) -> f64) -> f64 {
        let seconds: f64 = self.segments.iter().map(|segment| segment.seconds).sum();
        let sum: f64 = self.segments.iter().map(|segment| segment.seconds * value(segment)).sum();
        if seconds > 0.0 { sum / seconds } else { 0.0 }
    }

    pub(super) fn max(&self, value: impl Fn(&Segment) -> f64) -> f64 {
        self.segments.iter().map(|segment| value(segment)).fold(0.0, f64::max)
    }
}

/// Returns the segments of a run as steps. A long run has several rounds per step.
pub(super) fn steps(outcomes: &[RoundOutcome]) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut from = 0.0;
    for rounds in outcomes.chunks(rounds_per_step(outcomes.len())) {
        if let [round] = rounds {
            let all: f64 = round.segments.iter().map(|segment| segment.seconds).sum();
            for segment in &round.segments {
                let to = from + segment.seconds / all.max(f64::MIN_POSITIVE);
                steps.push(Step { from, to, segments: vec![segment] });
                from = to;
            }
        } else {
            let to = from + rounds.len() as f64;
            steps.push(Step { from, to, segments: rounds.iter().flat_map(|round| &round.segments).collect() });
            from = to;
        }
    }
    steps
}

/// Draws the axis of rounds at the bottom of a plot.
pub(super) fn axis(x: &Scale, bottom: f64) -> Vec<Element> {
    let (left, right) = x.ends();
    let mut elements = vec![line((left, bottom), (right, bottom), "axis")];
    for tick in &x.ticks {
        let place = x.place(tick.value);
        elements.push(line((place, bottom), (place, bottom + 4.0), "axis"));
        elements.push(label(place, bottom + 17.0, "soft middle", &tick.label));
    }
    elements
}

/// Draws the title below the axis.
pub(super) fn title(scenario: &Scenario, x: &Scale, bottom: f64) -> Element {
    let text = format!("round (each {})", duration(scenario.round_seconds));
    label(f64::midpoint(x.ends().0, x.ends().1), bottom + 35.0, "soft middle", &text)
}

fn duration(seconds: f64) -> String {
    if seconds >= 60.0 && seconds % 60.0 <= 0.0 { format!("{} min", seconds / 60.0) } else { format!("{seconds} s") }
}

/// An event with its rounds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) what: String,
}

/// Returns the warm-up and all events with a start and an end, in the order of their starts.
pub(super) fn spans(scenario: &Scenario) -> Vec<Span> {
    let rounds = scenario.rounds as f64;
    let first = Span { from: 0.0, to: warm_up(scenario.rounds) as f64, what: "warm-up".to_owned() };
    let events = scenario.events.iter().filter_map(span);
    let spans = std::iter::once(first).chain(events);
    let inside = spans.map(|span| Span { from: span.from.max(0.0), to: span.to.min(rounds), ..span });
    let mut spans: Vec<Span> = inside.filter(|span| span.from < span.to).collect();
    spans.sort_by(|a, b| a.from.total_cmp(&b.from));
    spans
}

fn span(event: &ScenarioEvent) -> Option<Span> {
    let between = |from: &usize, to: &usize, what: String| Some(Span { from: *from as f64, to: *to as f64, what });
    let or_all = |name: &Option<String>| name.clone().unwrap_or_else(|| "everywhere".to_owned());
    match event {
        ScenarioEvent::Outage { cluster, from_round, to_round } => {
            between(from_round, to_round, format!("outage of {cluster}"))
        }
        ScenarioEvent::DemandScale { cluster, factor, from_round, to_round, .. } => {
            between(from_round, to_round, format!("demand of {cluster} × {factor}"))
        }
        ScenarioEvent::Peak { cluster, factor, at_round, width_rounds } => Some(Span {
            from: at_round - 2.0 * width_rounds,
            to: at_round + 2.0 * width_rounds,
            what: format!("peak of {cluster} × {factor}"),
        }),
        ScenarioEvent::PriceChange { from, to, usd_per_gb, from_round, to_round } => {
            let what = format!("{} → {}: {usd_per_gb} USD/GB", or_all(from), or_all(to));
            between(from_round, to_round, what)
        }
        ScenarioEvent::RttDisruption { from, to, factor, add_ms, from_round, to_round } => {
            let what = format!("RTT {from} ↔ {} × {factor} + {add_ms} ms", or_all(to));
            between(from_round, to_round, what)
        }
        // It has neither a start nor an end.
        ScenarioEvent::Diurnal { .. } => None,
    }
}

/// Describes all events, for the page.
pub(super) fn in_words(scenario: &Scenario) -> Vec<String> {
    let words = |event: &ScenarioEvent| match (event, span(event)) {
        (ScenarioEvent::Diurnal { amplitude, period_rounds, .. }, _) => {
            format!("demand follows the sun: ± {:.0} % in {period_rounds} rounds", 100.0 * amplitude)
        }
        (_, Some(Span { from, to, what })) => format!("{what}, rounds {from} to {to}"),
        (_, None) => String::new(),
    };
    scenario.events.iter().map(words).collect()
}

/// Names of spans above a plot, each in the first free lane.
pub(super) struct Lanes {
    /// Lane, position of the name, and span.
    placed: Vec<(usize, f64, Span)>,
    left_out: usize,
}

impl Lanes {
    pub(super) fn new(scenario: &Scenario, x: &Scale) -> Self {
        let mut free = [f64::NEG_INFINITY; MAX_LANES];
        let mut lanes = Self { placed: Vec::new(), left_out: 0 };
        for span in spans(scenario) {
            let long = width(&span.what, 11.0) + 8.0;
            let (begin, end) = (x.place(span.from), x.place(span.to));
            let text = begin.min(x.ends().1 - long).max(x.ends().0);
            match free.iter().position(|free| *free <= begin.min(text)) {
                None => lanes.left_out += 1,
                Some(lane) => {
                    free[lane] = end.max(text + long) + 4.0;
                    lanes.placed.push((lane, text, span));
                }
            }
        }
        lanes
    }

    pub(super) fn height(&self) -> f64 {
        let lanes = self.placed.iter().map(|(lane, ..)| lane + 1).max().unwrap_or(0);
        let more = usize::from(self.left_out > 0);
        LANE * (lanes + more) as f64
    }

    /// Draws names below `top`, and shades the plot down to `bottom`.
    pub(super) fn draw(&self, x: &Scale, top: f64, bottom: f64) -> Vec<Element> {
        let plot = top + self.height();
        let mut elements = Vec::new();
        for (lane, text, span) in &self.placed {
            let above = top + LANE * *lane as f64;
            let (left, right) = (x.place(span.from), x.place(span.to));
            let name = rect((left, above), (right - left, LANE - 4.0)).class("event");
            elements.push(name.add(hint(&format!("{}, rounds {} to {}", span.what, span.from, span.to))));
            elements.push(label(text + 4.0, above + 11.0, "small", &span.what));
            elements.push(rect((left, plot), (right - left, bottom - plot)).class("shade"));
        }
        if self.left_out > 0 {
            let more = format!("and {} more", self.left_out);
            elements.push(label(x.ends().0, plot - 7.0, "small soft", &more));
        }
        elements
    }
}
