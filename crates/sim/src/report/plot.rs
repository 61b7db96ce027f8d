//! A plot over time with a line per item.

use std::fmt::Write;

use super::input::RunReport;
use super::markup::{Element, fit, hint, label, length, line};
use super::picture::WIDTH;
use super::scale::Scale;
use super::time::{self, Lanes};

const TOP: f64 = 34.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 64.0;

/// Distance between two names.
pub(super) const NAME_PITCH: f64 = 15.0;

/// Distance from the end of a line to its name.
pub(super) const NAMES_BEGIN: f64 = 38.0;

/// A plot over rounds.
pub(super) struct TimePlot<'a> {
    report: &'a RunReport<'a>,
    pub(super) x: Scale,
    pub(super) y: Scale,
    lanes: Lanes,
}

/// A constant value over some rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Piece {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) value: f64,
}

/// The line of an item.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) class: String,
    pub(super) pieces: Vec<Piece>,
}

impl<'a> TimePlot<'a> {
    /// Returns a plot with room for names on the right. `y` makes the axis from the positions of bottom and top.
    pub(super) fn new(report: &'a RunReport<'a>, room: f64, y: impl Fn((f64, f64)) -> Scale) -> Self {
        let x = Scale::counted((0.0, report.world.rounds.len() as f64), (LEFT, WIDTH - room));
        let lanes = Lanes::new(report.scenario, &x);
        let top = TOP + lanes.height() + 6.0;
        Self { report, x, y: y((top + HEIGHT, top)), lanes }
    }

    /// Returns the bottom of the picture.
    pub(super) fn bottom(&self) -> f64 {
        self.y.ends().0 + 64.0
    }

    /// Draws the axes, the events and the remark.
    pub(super) fn frame(&self, title: &str, remark: &str) -> Vec<Element> {
        let ((left, right), (bottom, top)) = (self.x.ends(), self.y.ends());
        let mut elements = Vec::new();
        for tick in &self.y.ticks {
            let y = self.y.place(tick.value);
            elements.push(line((left, y), (right, y), "grid"));
            elements.push(label(left - 8.0, y + 4.0, "soft end", &tick.label));
        }
        elements.extend(self.lanes.draw(&self.x, TOP, bottom));
        let middle = f64::midpoint(bottom, top);
        let turned = label(14.0, middle, "soft middle", title);
        elements.push(turned.set("transform", format!("rotate(-90 14 {})", length(middle))));
        elements.extend(time::axis(&self.x, bottom));
        elements.push(time::title(self.report.scenario, &self.x, bottom));
        elements.push(label(0.0, bottom + 56.0, "small soft", remark));
        elements
    }

    /// Draws a horizontal line with its name.
    pub(super) fn limit(&self, value: f64, class: &str, name: &str) -> [Element; 2] {
        let ((left, right), y) = (self.x.ends(), self.y.place(value));
        let name = label(left + 6.0, y - 4.0, "small halo", name);
        [line((left, y), (right, y), &format!("limit {class}")), name]
    }

    /// Draws lines, the first one on top.
    pub(super) fn lines(&self, lines: &[Series]) -> Vec<Element> {
        lines.iter().rev().map(|line| self.path(line)).collect()
    }

    fn path(&self, line: &Series) -> Element {
        let mut path = String::new();
        let mut command = 'M';
        let mut last: Option<f64> = None;
        for (k, piece) in line.pieces.iter().enumerate() {
            let ends = line.pieces.get(k + 1).is_none();
            // A constant value needs no corner.
            if last.is_some_and(|value| (value - piece.value).abs() < 1e-12) && !ends {
                continue;
            }
            let (from, to) = (length(self.x.place(piece.from)), length(self.x.place(piece.to)));
            let (before, y) = (last.map(|value| length(self.y.place(value))), length(self.y.place(piece.value)));
            // Writing to a String cannot fail.
            let _ = match before {
                Some(before) => write!(path, "L{from} {before}L{from} {y}"),
                None => write!(path, "{command}{from} {y}"),
            };
            if ends {
                let _ = write!(path, "L{to} {y}");
            }
            command = 'L';
            last = Some(piece.value);
        }
        Element::new("path").class(&line.class).set("d", path).add(hint(&line.name))
    }

    /// Draws the names at the ends of the lines.
    pub(super) fn names(&self, lines: &[Series]) -> Vec<Element> {
        let ends = lines.iter().map(|line| line.pieces.last().map_or(0.0, |piece| piece.value));
        let ends: Vec<f64> = ends.map(|value| self.y.place(value)).collect();
        let (bottom, top) = self.y.ends();
        let right = self.x.ends().1;
        let [from, bend, to] = [right + 2.0, right + 14.0, right + 32.0].map(length);
        let mut elements = Vec::new();
        for ((line, end), y) in lines.iter().zip(&ends).zip(apart(&ends, NAME_PITCH, (top, bottom))) {
            let leader = format!("M{from} {}L{bend} {}H{to}", length(*end), length(y));
            elements.push(Element::void("path").class(&line.class).set("d", leader));
            let name = fit(&line.name, 12.0, WIDTH - right - NAMES_BEGIN);
            elements.push(label(right + NAMES_BEGIN, y + 4.0, "", &name));
        }
        elements
    }
}

/// Returns positions close to the wanted ones, at least `pitch` apart, and within a range if they fit.
pub(super) fn apart(wanted: &[f64], pitch: f64, (top, bottom): (f64, f64)) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    // Blocks of adjacent positions, with the wanted middle of each block.
    let mut blocks: Vec<(Vec<usize>, f64)> = Vec::new();
    for k in order {
        blocks.push((vec![k], wanted[k]));
        while let [.., (above, high), (below, low)] = blocks.as_slice() {
            let distance = 0.5 * pitch * (above.len() + below.len()) as f64;
            if low - high >= distance - 1e-9 {
                break;
            }
            let members = [above.as_slice(), below.as_slice()].concat();
            let middle = mean_of(&members, wanted, pitch, (top, bottom));
            blocks.truncate(blocks.len() - 2);
            blocks.push((members, middle));
        }
    }
    let mut places = vec![0.0; wanted.len()];
    for (members, middle) in blocks {
        let first = middle - 0.5 * pitch * (members.len() - 1) as f64;
        members.iter().enumerate().for_each(|(n, &k)| places[k] = first + pitch * n as f64);
    }
    places
}

/// Returns the middle of a block, moved so that the block stays within the range.
fn mean_of(members: &[usize], wanted: &[f64], pitch: f64, (top, bottom): (f64, f64)) -> f64 {
    let mean = members.iter().map(|&k| wanted[k]).sum::<f64>() / members.len() as f64;
    let half = 0.5 * pitch * (members.len() - 1) as f64;
    mean.min(bottom - half).max(top + half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_apart_and_in_order() {
        let wanted = [100.0, 100.0, 101.0, 10.0, 300.0, 299.0];
        let places = apart(&wanted, 14.0, (0.0, 300.0));
        let mut sorted = places.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] >= 14.0 - 1e-9), "{places:?}");
        assert!((places[3] - 10.0).abs() < 1e-9 && places[5] < places[4] && places[4] <= 300.0 + 1e-9, "{places:?}");
        assert!(apart(&[], 14.0, (0.0, 1.0)).is_empty());
    }
}
