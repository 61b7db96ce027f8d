//! Names beside points, placed without overlaps.

use super::markup::{Element, label, line, width};

/// The name of a point, or of several points at the same position.
#[derive(Debug, Clone)]
pub(super) struct Label {
    pub(super) at: (f64, f64),
    pub(super) lines: Vec<String>,
    pub(super) class: &'static str,
}

/// Left, top, right, bottom.
type Area = [f64; 4];

type Point = (f64, f64);

const FONT: f64 = 12.0;
const LINE: f64 = 14.0;

/// Gap between two names in a line. It is wide because the estimate of a width does not know bold text.
const GAP: f64 = 8.0;

/// Free space around a point.
const POINT: f64 = 6.0;

/// Distances of a name from its point, in order of preference.
const DISTANCES: [f64; 7] = [15.0, 22.0, 30.0, 46.0, 66.0, 92.0, 130.0];

/// Directions of a name from its point, in order of preference.
const DIRECTIONS: [(f64, f64); 12] = [
    (1.0, 0.0),
    (-1.0, 0.0),
    (0.0, -1.0),
    (0.0, 1.0),
    (0.8, -0.8),
    (0.8, 0.8),
    (-0.8, -0.8),
    (-0.8, 0.8),
    (0.4, -1.0),
    (0.4, 1.0),
    (-0.4, -1.0),
    (-0.4, 1.0),
];

/// Places names in order. A name without room is left out: the point has a tooltip.
pub(super) fn place(labels: &[Label], within: (Point, Point)) -> Vec<Element> {
    let around = |label: &Label| [label.at.0 - POINT, label.at.1 - POINT, label.at.0 + POINT, label.at.1 + POINT];
    let points = labels.iter().map(around).collect();
    let mut board = Board { within, points, names: Vec::new(), leaders: Vec::new() };
    let mut elements = Vec::new();
    for (k, one) in labels.iter().enumerate() {
        let places =
            || DISTANCES.iter().flat_map(|far| DIRECTIONS.iter().map(|direction| one.beside(*direction, *far)));
        let free = |area: &Area| board.is_free(area);
        let clear = |area: &Area| free(area) && board.is_clear(k, &one.leader(area), area);
        // Lines that cross are better than no name.
        let Some(place) = places().find(clear).or_else(|| places().find(free)) else { continue };
        elements.extend(one.draw(&place));
        board.leaders.push(one.leader(&place));
        board.names.push(place);
    }
    elements
}

/// The occupied space.
struct Board {
    within: (Point, Point),
    points: Vec<Area>,
    names: Vec<Area>,
    leaders: Vec<[Point; 2]>,
}

impl Board {
    fn is_free(&self, area: &Area) -> bool {
        let (from, to) = self.within;
        let inside = area[0] >= from.0 && area[1] >= from.1 && area[2] <= to.0 && area[3] <= to.1;
        inside && !self.names.iter().chain(&self.points).any(|other| overlap(area, other))
    }

    /// Returns true if the name of the k-th point crosses no leader, and its leader crosses no name and no other point.
    fn is_clear(&self, k: usize, leader: &[Point; 2], area: &Area) -> bool {
        let others = self.points.iter().enumerate().filter(|(n, _)| *n != k).map(|(_, point)| point);
        !self.leaders.iter().any(|other| crosses(other, area))
            && !self.names.iter().chain(others).any(|other| crosses(leader, other))
    }
}

impl Label {
    fn beside(&self, direction: Point, far: f64) -> Area {
        let wide = self.lines.iter().map(|text| width(text, FONT)).fold(0.0, f64::max);
        let high = LINE * self.lines.len() as f64;
        let middle = (self.at.0 + direction.0 * (far + 0.5 * wide), self.at.1 + direction.1 * (far + 0.5 * high));
        [middle.0 - 0.5 * wide, middle.1 - 0.5 * high, middle.0 + 0.5 * wide, middle.1 + 0.5 * high]
    }

    /// Returns the line from the point to the nearest edge of the name.
    fn leader(&self, [left, top, right, bottom]: &Area) -> [Point; 2] {
        let near = (self.at.0.clamp(left - 3.0, right + 3.0), self.at.1.clamp(*top, *bottom));
        [self.at, near]
    }

    /// Draws the name, with a leader if it is not next to its point.
    fn draw(&self, place: &Area) -> Vec<Element> {
        let [left, top, right, _] = *place;
        let [at, near] = self.leader(place);
        let mut elements = Vec::new();
        if (near.0 - at.0).hypot(near.1 - at.1) > 12.0 {
            elements.push(line(at, near, "leader"));
        }
        let is_left = right < self.at.0;
        for (k, text) in self.lines.iter().enumerate() {
            let base = top + LINE * k as f64 + 11.0;
            let (x, anchor) = if is_left { (right, "end") } else { (left, "") };
            let class = if k == 0 { self.class } else { "" };
            elements.push(label(x, base, format!("halo {class} {anchor}").trim_end(), text));
        }
        elements
    }
}

fn overlap(a: &Area, b: &Area) -> bool {
    a[0] < b[2] + GAP && b[0] < a[2] + GAP && a[1] < b[3] && b[1] < a[3]
}

/// Returns true if a line crosses an area (Liang and Barsky, 1984).
fn crosses([from, to]: &[Point; 2], [left, top, right, bottom]: &Area) -> bool {
    let sides = [(from.0, to.0 - from.0, *left, *right), (from.1, to.1 - from.1, *top, *bottom)];
    let (mut enters, mut leaves) = (0.0_f64, 1.0_f64);
    for (start, length, low, high) in sides {
        if length.abs() < 1e-9 {
            if start <= low || start >= high {
                return false;
            }
            continue;
        }
        let (a, b) = ((low - start) / length, (high - start) / length);
        enters = enters.max(a.min(b));
        leaves = leaves.min(a.max(b));
    }
    enters < leaves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_points_side_by_side_do_not_overlap() {
        let label = |x: f64| Label { at: (x, 50.0), lines: vec!["round-robin".to_owned()], class: "" };
        let labels = [label(50.0), label(60.0), label(70.0)];
        let elements = place(&labels, ((0.0, 0.0), (400.0, 200.0)));
        let texts = elements.iter().filter(|element| element.to_string().starts_with("<text"));
        assert_eq!(texts.count(), 3);
        assert!(place(&labels, ((0.0, 0.0), (20.0, 20.0))).is_empty());
    }

    #[test]
    fn line_crosses_an_area_in_its_path() {
        let area = [10.0, 10.0, 20.0, 20.0];
        assert!(crosses(&[(0.0, 15.0), (30.0, 15.0)], &area) && crosses(&[(12.0, 0.0), (18.0, 30.0)], &area));
        assert!(!crosses(&[(0.0, 15.0), (9.0, 15.0)], &area) && !crosses(&[(0.0, 0.0), (30.0, 9.0)], &area));
        assert!(!crosses(&[(0.0, 30.0), (12.0, 20.0)], &area));
    }
}
