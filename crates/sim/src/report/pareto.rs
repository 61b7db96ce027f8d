//! Time against money: the result of each policy, and of the optimizer at other exchange rates.

use std::fmt::Write;

use crate::summary::Summary;

use super::input::{RateResult, RunReport};
use super::labels::{Label, place};
use super::markup::{Element, hint, label, length, line, rect};
use super::numbers::{ms, usd};
use super::picture::{Picture, WIDTH};
use super::scale::Scale;
use super::style::Paint;

const TOP: f64 = 40.0;
const BOTTOM: f64 = 440.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = WIDTH - 24.0;

/// Ratio of the slowest to the fastest policy above which the axis is logarithmic.
const WIDE: f64 = 5.0;

/// Rejected fraction above which a policy is drawn hollow: its mean covers only served requests.
const REJECTS: f64 = 0.0005;

/// Points closer than this share one label.
const SAME: f64 = 7.0;

pub(super) fn pareto(report: &RunReport<'_>) -> Picture {
    let plot = ParetoPlot::new(report);
    let mut elements = plot.frame();
    elements.extend(plot.sweep(report.sweep));
    let points: Vec<(f64, f64)> = report.ranked().iter().map(|summary| plot.at(summary)).collect();
    for (rank, (summary, at)) in report.ranked().into_iter().zip(&points).enumerate().rev() {
        elements.push(mark(rank, summary, *at));
    }
    elements.extend(plot.names(report, &points));
    let title = "Time against money: the mean of each policy".to_owned();
    Picture::new("pareto", title, description(report)).drawn(BOTTOM + 82.0, elements)
}

struct ParetoPlot {
    x: Scale,
    y: Scale,
}

impl ParetoPlot {
    fn new(report: &RunReport<'_>) -> Self {
        let sweep = report.sweep.iter().map(|trade| (trade.mean_ms, trade.usd_per_million));
        let policies = report.summaries.iter().map(|summary| (summary.mean_ms, summary.usd_per_million));
        let all: Vec<(f64, f64)> = policies.chain(sweep).collect();
        let max = |pick: fn(&(f64, f64)) -> f64| all.iter().map(pick).fold(0.0, f64::max);
        let (slowest, highest_price) = (max(|at| at.0), max(|at| at.1));
        let fastest = all.iter().map(|at| at.0).filter(|ms| *ms > 0.0).fold(slowest, f64::min);
        let margin = 0.08 * (slowest - fastest).max(0.02 * slowest).max(0.1);
        let x = if fastest > 0.0 && slowest > WIDE * fastest {
            Scale::log((0.85 * fastest, 1.15 * slowest), (LEFT, RIGHT))
        } else {
            Scale::linear(((fastest - margin).max(0.0), slowest + 2.0 * margin), (LEFT, RIGHT))
        };
        let top = if highest_price > 0.0 { 1.08 * highest_price } else { 1.0 };
        Self { x, y: Scale::linear((-0.05 * top, top), (BOTTOM, TOP)) }
    }

    fn at(&self, summary: &Summary) -> (f64, f64) {
        (self.x.place(summary.mean_ms), self.y.place(summary.usd_per_million))
    }

    fn frame(&self) -> Vec<Element> {
        let mut elements = Vec::new();
        for tick in &self.y.ticks {
            let y = self.y.place(tick.value);
            elements.push(line((LEFT, y), (RIGHT, y), "grid"));
            elements.push(label(LEFT - 8.0, y + 4.0, "soft end", &tick.label));
        }
        for tick in &self.x.ticks {
            let x = self.x.place(tick.value);
            elements.push(line((x, TOP), (x, BOTTOM), "grid"));
            elements.push(label(x, BOTTOM + 17.0, "soft middle", &tick.label));
        }
        let (across, down) = (f64::midpoint(LEFT, RIGHT), f64::midpoint(TOP, BOTTOM));
        elements.push(label(across, BOTTOM + 35.0, "soft middle", "mean time of a served request, ms"));
        let turned = label(14.0, down, "soft middle", "price, USD per million requests");
        elements.push(turned.set("transform", format!("rotate(-90 14 {})", length(down))));
        let remarks = [
            "Down and to the left is better. Hollow: rejects requests (fraction in brackets), and its mean is of the others.",
            "Line with squares: optimized, at other exchange rates v, in USD per ms per million requests.",
        ];
        let lines = remarks.iter().zip([57.0, 72.0]);
        elements.extend(lines.map(|(remark, below)| label(0.0, BOTTOM + below, "small soft", remark)));
        elements
    }

    fn sweep(&self, sweep: &[RateResult]) -> Vec<Element> {
        let mut path = String::new();
        let mut marks = Vec::new();
        for trade in sweep {
            let (x, y) = (self.x.place(trade.mean_ms), self.y.place(trade.usd_per_million));
            // Writing to a String cannot fail.
            let _ = write!(path, "{}{} {}", if path.is_empty() { 'M' } else { 'L' }, length(x), length(y));
            let text =
                format!("optimized at {}: {} ms, {} USD", rate(trade), ms(trade.mean_ms), usd(trade.usd_per_million));
            marks.push(rect((x - 3.5, y - 3.5), (7.0, 7.0)).class("f0").add(hint(&text)));
        }
        if marks.is_empty() {
            return marks;
        }
        let path = Element::void("path").class("line s0").set("d", path);
        std::iter::once(path).chain(marks).collect()
    }

    fn names(&self, report: &RunReport<'_>, points: &[(f64, f64)]) -> Vec<Element> {
        let mut labels: Vec<Label> = Vec::new();
        for (rank, (summary, at)) in report.ranked().iter().zip(points).enumerate() {
            let name = if summary.rejected > REJECTS {
                format!("{} ({:.2} %)", summary.policy, 100.0 * summary.rejected)
            } else {
                summary.policy.clone()
            };
            add(&mut labels, *at, name, if rank == 0 { "head" } else { "" });
        }
        let own = labels.len();
        for trade in report.sweep {
            let at = (self.x.place(trade.mean_ms), self.y.place(trade.usd_per_million));
            let (_, rates) = labels.split_at_mut(own);
            match rates.iter_mut().find(|label| near(label.at, at)) {
                Some(label) => label.lines[0] = format!("{}, {}", label.lines[0], trade.usd_per_ms_per_million),
                None => labels.push(Label { at, lines: vec![rate(trade)], class: "small" }),
            }
        }
        place(&labels, ((LEFT + 2.0, TOP), (RIGHT, BOTTOM)))
    }
}

/// Adds a name to the label at this position, or a new label.
fn add(labels: &mut Vec<Label>, at: (f64, f64), name: String, class: &'static str) {
    match labels.iter_mut().find(|label| near(label.at, at)) {
        Some(label) => label.lines.push(name),
        None => labels.push(Label { at, lines: vec![name], class }),
    }
}

fn near(a: (f64, f64), b: (f64, f64)) -> bool {
    (a.0 - b.0).hypot(a.1 - b.1) < SAME
}

fn rate(trade: &RateResult) -> String {
    format!("v = {}", trade.usd_per_ms_per_million)
}

fn mark(rank: usize, summary: &Summary, (x, y): (f64, f64)) -> Element {
    let radius = if rank == 0 { 7.0 } else { 5.0 };
    let text = format!(
        "{}: {} ms, {} USD per million, {:.2} % rejected",
        summary.policy,
        ms(summary.mean_ms),
        usd(summary.usd_per_million),
        100.0 * summary.rejected
    );
    let paint = Paint::of_rank(rank);
    let class = if summary.rejected > REJECTS { format!("hollow {}", paint.stroke()) } else { paint.fill() };
    let shape = match paint {
        Paint::Plain(_) => Element::new("circle").at("cx", x).at("cy", y).at("r", radius),
        // The second policy with this color.
        Paint::Hatched(_) | Paint::Other => {
            let [x, y, up] = [x, y, radius + 1.0].map(length);
            Element::new("path").set("d", format!("M{x} {y}m0 -{up}l{up} {up}l-{up} {up}l-{up} -{up}Z"))
        }
    };
    shape.class(class).add(hint(&text))
}

fn description(report: &RunReport<'_>) -> String {
    let point = |summary: &Summary| {
        format!("{} {} ms {} USD", summary.policy, ms(summary.mean_ms), usd(summary.usd_per_million))
    };
    let trade =
        |trade: &RateResult| format!("{} {} ms {} USD", rate(trade), ms(trade.mean_ms), usd(trade.usd_per_million));
    let points: Vec<String> = report.summaries.iter().map(point).collect();
    let trades: Vec<String> = report.sweep.iter().map(trade).collect();
    format!("A point per policy: {}. The optimizer at other exchange rates: {}.", points.join(", "), trades.join(", "))
}
