//! Cost of each policy over time, as a multiple of the lowest possible cost.

use crate::summary::Summary;

use super::input::RunReport;
use super::markup::{Element, label, line};
use super::numbers::ratio;
use super::picture::{Picture, WIDTH};
use super::plot::{NAME_PITCH, Piece, Series, TimePlot};
use super::scale::{MAX_RATIO, Scale};
use super::style::Paint;
use super::time;

/// Width of the names and their means.
const ROOM: f64 = 266.0;

pub(super) fn cost(report: &RunReport<'_>) -> Picture {
    let rounds = report.world.rounds.len();
    let lines: Vec<Series> =
        report.ranked().iter().enumerate().map(|(rank, summary)| of_policy(rank, summary)).collect();
    let max = lines.iter().flat_map(|line| &line.pieces).map(|piece| piece.value).fold(1.0, f64::max);
    let plot = TimePlot::new(report, ROOM, |places| Scale::ratio(max, places));
    let mut remark = "Logarithmic in the excess over 1. Means are of costs, without the warm-up.".to_owned();
    if max > plot.y.max() {
        remark.push_str(&format!(" Values above {MAX_RATIO} are drawn at the top."));
    }
    remark.push_str(&time::per_step(rounds, "the highest value"));
    let mut elements = plot.frame("J/J*, cost over the lowest possible cost", &remark);
    elements.extend(plot.lines(&lines));
    elements.extend(key(report, &plot, &lines));
    let title = "Cost of each policy, over the optimum".to_owned();
    Picture::new("cost", title, description(report)).drawn(plot.bottom(), elements)
}

/// Draws the names of the policies, sorted by mean cost.
fn key(report: &RunReport<'_>, plot: &TimePlot<'_>, lines: &[Series]) -> Vec<Element> {
    let ranked = report.ranked();
    let mean = |k: usize| ranked[k].j_over_optimum.mean;
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by(|&a, &b| mean(a).total_cmp(&mean(b)));
    let (left, top) = (plot.x.ends().1 + 18.0, plot.y.ends().1 + 6.0);
    let mut elements = vec![label(WIDTH, top, "small soft end", "mean J/J*")];
    for (place, &k) in order.iter().enumerate() {
        let y = top + 20.0 + (NAME_PITCH + 3.0) * place as f64;
        let head = if k == 0 { "head" } else { "" };
        elements.push(line((left, y - 4.0), (left + 26.0, y - 4.0), &lines[k].class));
        elements.push(label(left + 34.0, y, head, &lines[k].name));
        elements.push(label(WIDTH, y, &format!("end {head}"), &ratio(mean(k))));
    }
    elements
}

fn of_policy(rank: usize, summary: &Summary) -> Series {
    let per_round = &summary.j_over_optimum.per_round;
    let several = time::rounds_per_step(per_round.len());
    let piece = |(k, rounds): (usize, &[f64])| {
        let from = (k * several) as f64;
        let value = rounds.iter().copied().fold(0.0, f64::max);
        Piece { from, to: from + rounds.len() as f64, value }
    };
    let paint = Paint::of_rank(rank).line();
    Series {
        name: summary.policy.clone(),
        class: if rank == 0 { format!("{paint} wide") } else { paint },
        pieces: per_round.chunks(several).enumerate().map(piece).collect(),
    }
}

fn description(report: &RunReport<'_>) -> String {
    let mean = |summary: &Summary| format!("{} {}", summary.policy, ratio(summary.j_over_optimum.mean));
    let means: Vec<String> = report.summaries.iter().map(mean).collect();
    format!(
        "A line per policy over the rounds: its cost J over the lowest possible cost J*. Means: {}.",
        means.join(", ")
    )
}
