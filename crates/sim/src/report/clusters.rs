//! Clusters that are drawn, their order, and their color in all pictures.

use super::input::{RunReport, mean};
use super::markup::{Element, fit, label, rect, width};
use super::picture::WIDTH;
use super::style::{COLORS, PAINTS, Paint};

/// Maximum number of sources. More would be too small to read.
const MAX_SOURCES: usize = 12;

/// Height of a row of the legend.
const LEGEND_ROW: f64 = 20.0;

/// Returns the mean demand of a source, in requests per second.
pub(super) fn demand_rps(report: &RunReport<'_>, source: usize) -> f64 {
    mean(report.world.rounds.iter().map(|round| round.demand_rps[source]))
}

/// Returns the sources with the most demand, in the order of the scenario.
pub(super) fn sources(report: &RunReport<'_>) -> Vec<usize> {
    let demands: Vec<f64> = (0..report.world.size()).map(|i| demand_rps(report, i)).collect();
    let mut sources: Vec<usize> = (0..demands.len()).filter(|&i| demands[i] > 0.0).collect();
    sources.sort_by(|&a, &b| demands[b].total_cmp(&demands[a]));
    sources.truncate(MAX_SOURCES);
    sources.sort_unstable();
    sources
}

/// Exporters that had requests, sorted by requests from the drawn sources.
pub(super) struct Exporters {
    ranked: Vec<usize>,
}

impl Exporters {
    pub(super) fn new(report: &RunReport<'_>) -> Self {
        let size = report.world.size();
        let sources = sources(report);
        let (mut drawn, mut busy) = (vec![0.0; size], vec![false; size]);
        for (round, outcome) in report.world.rounds.iter().zip(report.outcomes) {
            for segment in &outcome.segments {
                for j in 0..size {
                    let sent = sources.iter().map(|&i| round.demand_rps[i] * segment.shares[(i, j)]);
                    drawn[j] += segment.seconds * sent.sum::<f64>();
                    busy[j] |= segment.judgment.queues[j].utilization > 0.0;
                }
            }
        }
        let mut ranked: Vec<usize> = (0..size).filter(|&j| busy[j]).collect();
        ranked.sort_by(|&a, &b| drawn[b].total_cmp(&drawn[a]));
        Self { ranked }
    }

    /// Returns the exporters with a color of their own.
    pub(super) fn named(&self) -> impl DoubleEndedIterator<Item = (usize, Paint)> + '_ {
        self.ranked.iter().take(PAINTS).enumerate().map(|(rank, &j)| (j, Paint::of_rank(rank)))
    }

    /// Returns the exporters without a color of their own.
    pub(super) fn others(&self) -> &[usize] {
        self.ranked.get(PAINTS..).unwrap_or_default()
    }

    /// Draws the legend below `top`, in as many rows as needed. Returns its elements and its height. Patterns are those of
    /// `picture`.
    pub(super) fn legend(&self, clusters: &[String], picture: &str, top: f64) -> (Vec<Element>, f64) {
        let mut entries: Vec<(String, Paint)> = self.named().map(|(j, paint)| (clusters[j].clone(), paint)).collect();
        if !self.others().is_empty() {
            entries.push((format!("{} others", self.others().len()), Paint::Other));
        }
        let (mut x, mut y) = (0.0, top);
        let mut elements = Vec::new();
        for (name, paint) in entries {
            let name = fit(&name, 12.0, 0.3 * WIDTH);
            let long = 18.0 + width(&name, 12.0) + 14.0;
            if x > 0.0 && x + long > WIDTH {
                (x, y) = (0.0, y + LEGEND_ROW);
            }
            elements.push(filled(rect((x, y), (12.0, 12.0)), paint, picture, ""));
            elements.push(label(x + 18.0, y + 10.5, "", &name));
            x += long;
        }
        (elements, y + LEGEND_ROW - top)
    }
}

/// Fills a shape with a color or a pattern, and adds a class.
pub(super) fn filled(shape: Element, paint: Paint, picture: &str, class: &str) -> Element {
    match paint {
        Paint::Hatched(k) => shape.class(class).set("fill", format!("url(#{picture}-{k})")),
        Paint::Plain(_) | Paint::Other => shape.class(format!("{} {class}", paint.fill()).trim_end()),
    }
}

/// Returns the patterns that [`filled`] refers to.
pub(super) fn patterns(picture: &str) -> Element {
    let pattern = |k: usize| {
        let line = Element::void("path").class("hatch").set("d", "M0 0V6");
        Element::new("pattern")
            .set("id", format!("{picture}-{k}"))
            .set("width", 6)
            .set("height", 6)
            .set("patternUnits", "userSpaceOnUse")
            .set("patternTransform", "rotate(45)")
            .add(rect((0.0, 0.0), (6.0, 6.0)).class(format!("f{k}")))
            .add(line)
    };
    Element::new("defs").add_all((0..COLORS).map(pattern))
}
