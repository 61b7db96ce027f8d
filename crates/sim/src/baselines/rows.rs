//! Rows of shares, and policies that compute them one source at a time.

use crate::matrix::Matrix;
use crate::policy::{Moment, SharingPolicy};

/// A policy without memory in which each source decides for itself. The function returns shares in any unit.
pub(super) struct RowByRow(pub(super) fn(&Moment<'_>, usize) -> Vec<f64>);

impl SharingPolicy for RowByRow {
    fn shares(&mut self, moment: &Moment<'_>) -> Matrix<f64> {
        by_row(moment, |source| self.0(moment, source))
    }
}

/// Scales rows to add up to 1. A row of zeros becomes equal shares for all alive exporters.
pub(super) fn by_row(moment: &Moment<'_>, row: impl Fn(usize) -> Vec<f64>) -> Matrix<f64> {
    let mut shares = Matrix::filled(moment.world.size(), 0.0);
    for i in 0..shares.size() {
        let mut given = row(i);
        if given.iter().sum::<f64>() <= 0.0 {
            given = equal(moment);
        }
        let all = given.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        shares.row_mut(i).iter_mut().zip(given).for_each(|(share, part)| *share = part / all);
    }
    shares
}

/// Returns 1 for each alive exporter, else 0.
pub(super) fn equal(moment: &Moment<'_>) -> Vec<f64> {
    moment.alive().iter().map(|&alive| f64::from(u8::from(alive))).collect()
}

/// Returns a row with all requests for one exporter.
pub(super) fn all_to(moment: &Moment<'_>, exporter: Option<usize>) -> Vec<f64> {
    let mut shares = vec![0.0; moment.world.size()];
    exporter.into_iter().for_each(|j| shares[j] = 1.0);
    shares
}

/// Returns indices sorted by value. Equal values keep their order.
pub(super) fn ascending(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    order
}
