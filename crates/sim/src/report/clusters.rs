//! Which clusters are drawn, in which order, and with which colour in all pictures.

use super::input::{RunReport, mean};
use super::markup::{Element, fit, label, rect, width};
use super::picture::WIDTH;
use super::style::{COLORS, PAINTS, Paint};

/// More sources than this would be too small to read.
const MAX_SOURCES: usize = 12;

/// Between two rows of names.
const LEGEND_ROW: f64 = 20.0;

/// The mean demand of a source, in requests per second.
pub(super) fn demand_rps(report: &RunReport<'_>, source: usize) -> f64 {
    mean(report.world.rounds.iter().map(|round| round.demand_rps[source]))
}

/// Those with the most demand, in the order of the scenario.
pub(super) fn sources(report: &RunReport<'_>) -> Vec<usize> {
    let demands: Vec<f64> = (0..report.world.size()).map(|i| demand_rps(report, i)).collect();
    let mut sources: Vec<usize> = (0..demands.len()).filter(|&i| demands[i] > 0.0).collect();
    sources.sort_by(|&a, &b| demands[b].total_cmp(&demands[a]));
    sources.truncate(MAX_SOURCES);
    sources.sort_unstable();
    sources
}

/// Exporters that ever had a request: those that have the most from the drawn sources come first.
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

    /// Those with a colour of their own, with it.
    pub(super) fn named(&self) -> impl DoubleEndedIterator<Item = (usize, Paint)> + '_ {
        self.ranked.iter().take(PAINTS).enumerate().map(|(rank, &j)| (j, Paint::of_rank(rank)))
    }

    /// Those without.
    pub(super) fn others(&self) -> &[usize] {
        self.ranked.get(PAINTS..).unwrap_or_default()
    }

    /// A row of names, or as many as are needed, below `top`, and how high that is. Patterns are those of a picture.
    pub(super) fn legend(&self, clusters: &[String], picture: &str, top: f64) -> (Vec<Element>, f64) {
        let mut entries: Vec<(String, Paint)> = self.named().map(|(j, kind)| (clusters[j].clone(), kind)).collect();
        if !self.others().is_empty() {
            entries.push((format!("{} others", self.others().len()), Paint::Other));
        }
        let (mut x, mut y) = (0.0, top);
        let mut elements = Vec::new();
        for (name, kind) in entries {
            let name = fit(&name, 12.0, 0.3 * WIDTH);
            let long = 18.0 + width(&name, 12.0) + 14.0;
            if x > 0.0 && x + long > WIDTH {
                (x, y) = (0.0, y + LEGEND_ROW);
            }
            elements.push(filled(rect((x, y), (12.0, 12.0)), kind, picture, ""));
            elements.push(label(x + 18.0, y + 10.5, "", &name));
            x += long;
        }
        (elements, y + LEGEND_ROW - top)
    }
}

/// With the colour of its kind or with its pattern, and with a class of its own.
pub(super) fn filled(shape: Element, kind: Paint, picture: &str, class: &str) -> Element {
    match kind {
        Paint::Hatched(k) => shape.class(class).set("fill", format!("url(#{picture}-{k})")),
        Paint::Plain(_) | Paint::Other => shape.class(format!("{} {class}", kind.fill()).trim_end()),
    }
}

/// The patterns that [`filled`] refers to.
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
