//! Shares over time: a small plot per source, with an area per exporter.

use std::fmt::Write;

use super::clusters::{Exporters, demand_rps, filled, patterns, sources};
use super::input::{RunReport, mean};
use super::markup::{Element, fit, hint, label, length, line, width};
use super::picture::{Picture, WIDTH};
use super::scale::Scale;
use super::style::Paint;
use super::time::{self, Step};

const NAME: &str = "split";

const COLUMNS: usize = 3;
const LEFT: f64 = 42.0;
const GAP: f64 = 24.0;
const PLOT: f64 = 130.0;
const PITCH: f64 = PLOT + 58.0;

/// Height of a name on an area.
const NAME_HEIGHT: f64 = 13.0;

pub(super) fn split(report: &RunReport<'_>) -> Picture {
    let exporters = &Exporters::new(report);
    let (legend, high) = exporters.legend(&report.world.clusters, NAME, 36.0);
    let top = 36.0 + high + 28.0;
    let steps = time::steps(report.outcomes);
    let sources = sources(report);
    let mut elements = vec![patterns(NAME)];
    elements.extend(legend);
    for (place, &source) in sources.iter().enumerate() {
        let plot = SourcePlot::new(report, place, top);
        elements.extend(plot.title(report, source));
        let bands = bands(report, exporters, source, &steps);
        elements.extend(bands.iter().map(|band| plot.area(band)));
        elements.extend(plot.frame(report));
        elements.extend(bands.iter().filter_map(|band| plot.name(band)));
        if place + COLUMNS >= sources.len() {
            elements.push(time::title(report.scenario, &plot.x, plot.top + PLOT));
        }
    }
    let bottom = top + PITCH * sources.len().div_ceil(COLUMNS).max(1) as f64 + 16.0;
    elements.push(label(0.0, bottom - 12.0, "small soft", &remarks(report, sources.len())));
    let title = format!("Shares of the exporters over time, under {}", report.policy());
    Picture::new(NAME, title, description(report, sources.len())).drawn(bottom, elements)
}

/// The share of an exporter in the requests of a source, stacked on the bands below it.
struct Band {
    name: String,
    paint: Paint,
    /// First round, last round, lower share, upper share.
    pieces: Vec<[f64; 4]>,
}

/// Returns the bands of a source. The band of the local exporter is at the bottom.
fn bands(report: &RunReport<'_>, exporters: &Exporters, source: usize, steps: &[Step<'_>]) -> Vec<Band> {
    let mut named: Vec<(usize, Paint)> = exporters.named().collect();
    named.sort_by_key(|(j, _)| *j != source);
    let named = named.into_iter().map(|(j, paint)| (report.world.clusters[j].clone(), paint, vec![j]));
    let others = (format!("{} others", exporters.others().len()), Paint::Other, exporters.others().to_vec());
    let mut below = vec![0.0; steps.len()];
    let band = |(name, paint, members): (String, Paint, Vec<usize>)| {
        let share = |step: &Step<'_>| -> f64 {
            members.iter().map(|&j| step.average(|segment| segment.shares[(source, j)])).sum()
        };
        Band { name, paint, pieces: on_top(&mut below, steps, share) }
    };
    let bands = named.chain([others]).map(band);
    bands.filter(|band| band.pieces.iter().any(|[.., low, high]| high > low)).collect()
}

fn on_top(below: &mut [f64], steps: &[Step<'_>], share: impl Fn(&Step<'_>) -> f64) -> Vec<[f64; 4]> {
    let mut pieces: Vec<[f64; 4]> = Vec::new();
    for (step, below) in steps.iter().zip(below) {
        let (low, high) = (*below, (*below + share(step)).min(1.0));
        *below = high;
        match pieces.last_mut() {
            // An unchanged band extends the last piece.
            Some([_, to, l, h]) if (*l - low).abs() + (*h - high).abs() < 1e-9 => *to = step.to,
            _ => pieces.push([step.from, step.to, low, high]),
        }
    }
    pieces
}

/// The plot of one source.
struct SourcePlot {
    x: Scale,
    y: Scale,
    top: f64,
}

impl SourcePlot {
    fn new(report: &RunReport<'_>, place: usize, top: f64) -> Self {
        let wide = (WIDTH - LEFT - 10.0 - GAP * (COLUMNS - 1) as f64) / COLUMNS as f64;
        let left = LEFT + (place % COLUMNS) as f64 * (wide + GAP);
        let top = top + (place / COLUMNS) as f64 * PITCH;
        let rounds = report.world.rounds.len() as f64;
        Self {
            x: Scale::counted((0.0, rounds), (left, left + wide)),
            y: Scale::linear((0.0, 1.0), (top + PLOT, top)),
            top,
        }
    }

    fn title(&self, report: &RunReport<'_>, source: usize) -> [Element; 2] {
        let (left, right) = self.x.ends();
        let demand = format!("{:.0}/s", demand_rps(report, source));
        let room = (right - left - width(&demand, 11.0)) * 0.9;
        let name = fit(&format!("from {}", report.world.clusters[source]), 12.0, room);
        [label(left, self.top - 7.0, "head", &name), label(right, self.top - 7.0, "small soft end", &demand)]
    }

    fn area(&self, band: &Band) -> Element {
        let mut path = String::new();
        for run in band.pieces.split(|[.., low, high]| high <= low).filter(|run| !run.is_empty()) {
            self.outline(run, &mut path);
        }
        filled(Element::new("path"), band.paint, NAME, "area").set("d", path).add(hint(&band.name))
    }

    fn name(&self, band: &Band) -> Option<Element> {
        let (x, y) = self.room(band)?;
        Some(label(x, y + 4.0, &format!("small middle halo {}", band.paint.on()), &band.name))
    }

    /// Adds the outline: along the top to the right, and back along the bottom.
    fn outline(&self, run: &[[f64; 4]], path: &mut String) {
        let mut command = 'M';
        let mut go = |x: f64, y: f64| {
            // Writing to a String cannot fail.
            let _ = write!(path, "{command}{} {}", length(self.x.place(x)), length(self.y.place(y)));
            command = 'L';
        };
        for [from, to, _, high] in run {
            go(*from, *high);
            go(*to, *high);
        }
        for [from, to, low, _] in run.iter().rev() {
            go(*to, *low);
            go(*from, *low);
        }
        path.push('Z');
    }

    /// Returns the middle of the longest stretch that has room for the name of a band.
    fn room(&self, band: &Band) -> Option<(f64, f64)> {
        let mut best: Option<(f64, f64, f64)> = None;
        for (k, [from, ..]) in band.pieces.iter().enumerate() {
            let (mut upper, mut lower) = (self.y.ends().1, self.y.ends().0);
            for [_, to, low, high] in &band.pieces[k..] {
                upper = upper.max(self.y.place(*high));
                lower = lower.min(self.y.place(*low));
                if lower - upper < NAME_HEIGHT {
                    break;
                }
                let (left, right) = (self.x.place(*from), self.x.place(*to));
                if best.is_none_or(|(long, ..)| right - left > long) {
                    best = Some((right - left, f64::midpoint(left, right), f64::midpoint(upper, lower)));
                }
            }
        }
        let needed = width(&band.name, 11.0) + 4.0;
        best.filter(|(long, ..)| *long >= needed).map(|(_, x, y)| (x, y))
    }

    fn frame(&self, report: &RunReport<'_>) -> Vec<Element> {
        let (left, _) = self.x.ends();
        let mut elements = time::axis(&self.x, self.top + PLOT);
        for (share, text) in [(0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")] {
            let y = self.y.place(share);
            elements.push(line((left - 4.0, y), (left, y), "axis"));
            if left < LEFT + 1.0 {
                elements.push(label(left - 7.0, y + 4.0, "small soft end", text));
            }
        }
        for span in time::spans(report.scenario).iter().filter(|span| span.from > 0.0) {
            for round in [span.from, span.to] {
                let x = self.x.place(round);
                let edge = |class| line((x, self.top), (x, self.top + PLOT), class);
                elements.extend([edge("under"), edge("edge")]);
            }
        }
        elements
    }
}

fn remarks(report: &RunReport<'_>, drawn: usize) -> String {
    let world = report.world;
    let all = (0..world.size()).filter(|&i| demand_rps(report, i) > 0.0).count();
    let mut text = format!(
        "Share of each exporter in the requests of a source; on the right the mean demand. {:.0} % stay in their cluster.",
        100.0 * local(report)
    );
    if drawn < all {
        let _ = write!(text, " The {drawn} sources with the most demand, of {all}.");
    }
    if time::spans(report.scenario).iter().any(|span| span.from > 0.0) {
        text.push_str(" Dotted: an event starts or ends.");
    }
    text + &time::per_step(world.rounds.len(), "the average")
}

fn description(report: &RunReport<'_>, drawn: usize) -> String {
    format!(
        "{drawn} plots over {} rounds, one per source cluster, of stacked areas: the share of each exporter in its requests. \
         {:.0} % of all requests are answered in the cluster that they come from.",
        report.world.rounds.len(),
        100.0 * local(report)
    )
}

/// Returns the mean fraction of requests that are answered in their own cluster.
fn local(report: &RunReport<'_>) -> f64 {
    mean(report.outcomes.iter().zip(&report.world.rounds).map(|(outcome, round)| {
        let Some(segment) = outcome.segments.last() else { return 0.0 };
        let local_rps = round.demand_rps.iter().enumerate().map(|(i, demand)| demand * segment.shares[(i, i)]);
        local_rps.sum::<f64>() / round.demand_rps.iter().sum::<f64>().max(f64::MIN_POSITIVE)
    }))
}
