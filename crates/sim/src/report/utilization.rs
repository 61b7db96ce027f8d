//! Utilization of each exporter over time.

use crate::summary::warm_up;

use super::clusters::Exporters;
use super::input::RunReport;
use super::markup::{Element, width};
use super::picture::Picture;
use super::plot::{NAMES_BEGIN, Piece, Series, TimePlot};
use super::scale::Scale;
use super::style::Paint;
use super::time::{self, Step};

/// Top of the axis in percent. At this utilization an exporter rejects half of its requests.
const MAX_PERCENT: f64 = 200.0;

/// Maximum width of the names.
const MAX_ROOM: f64 = 280.0;

pub(super) fn utilization(report: &RunReport<'_>) -> Picture {
    let steps = time::steps(report.outcomes);
    let exporters = Exporters::new(report);
    let named = lines(report, &steps, exporters.named());
    let others = lines(report, &steps, exporters.others().iter().map(|&j| (j, Paint::Other)));
    let pieces = || named.iter().chain(&others).flat_map(|line| &line.pieces);
    let max_from = |from: f64| pieces().filter(|piece| piece.from >= from).map(|piece| piece.value).fold(0.0, f64::max);
    // Values of the warm-up may exceed the axis.
    let top = max_from(warm_up(report.world.rounds.len()) as f64).clamp(108.0, MAX_PERCENT) + 4.0;
    let longest = named.iter().map(|line| width(&line.name, 12.0)).fold(60.0, f64::max);
    let plot =
        TimePlot::new(report, (NAMES_BEGIN + longest + 2.0).min(MAX_ROOM), |places| Scale::linear((0.0, top), places));
    let mut remark = "Load over capacity of each exporter, the names in the order of the last round.".to_owned();
    if !others.is_empty() {
        remark.push_str(&format!(" Grey: the {} with the least traffic.", others.len()));
    }
    if max_from(0.0) > top {
        remark.push_str(" Values beyond the axis are drawn at its end.");
    }
    remark.push_str(&time::per_step(report.world.rounds.len(), "the highest value"));
    let mut elements = plot.frame("utilization, % of capacity", &remark);
    elements.extend(plot.lines(&others));
    elements.extend(plot.lines(&named));
    elements.extend(limits(report, &plot));
    elements.extend(plot.names(&named));
    let title = format!("Utilization of the exporters, under {}", report.policy());
    Picture::new("utilization", title, description(report)).drawn(plot.bottom(), elements)
}

fn limits(report: &RunReport<'_>, plot: &TimePlot<'_>) -> Vec<Element> {
    let target = 100.0 * report.target_utilization;
    let [capacity, target] =
        [plot.limit(100.0, "", "capacity"), plot.limit(target, "target", &format!("target {target:.0} %"))];
    [capacity, target].concat()
}

fn lines(report: &RunReport<'_>, steps: &[Step<'_>], exporters: impl Iterator<Item = (usize, Paint)>) -> Vec<Series> {
    let line = |(j, paint): (usize, Paint)| {
        let value = |step: &Step<'_>| 100.0 * step.max(|segment| segment.judgment.queues[j].utilization);
        let piece = |step: &Step<'_>| Piece { from: step.from, to: step.to, value: value(step) };
        Series {
            name: report.world.clusters[j].clone(),
            class: paint.line(),
            pieces: steps.iter().map(piece).collect(),
        }
    };
    exporters.map(line).collect()
}

fn description(report: &RunReport<'_>) -> String {
    let Some(summary) = report.summary() else { return String::new() };
    format!(
        "A line per exporter over {} rounds, with the target and the capacity. After the warm-up the highest is {:.0} %, and in \
         {} rounds an exporter exceeds its capacity.",
        summary.rounds,
        100.0 * summary.max_utilization,
        summary.rounds_over_capacity
    )
}
