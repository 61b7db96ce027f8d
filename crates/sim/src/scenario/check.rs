//! Limits of numbers, lists, matrices and names in a file. Values that pass are finite.

use thiserror::Error;

/// Error of a scenario or a trace: which field, its value, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{path}: {what}")]
pub struct Invalid {
    /// Field, as in `events[1].cluster`. The line if the text is not YAML or JSON.
    pub path: String,
    pub what: String,
}

/// Minimum and maximum.
pub(crate) type Bounds = (f64, f64);

/// Bounds of a rate. The maximum is more than any fleet serves.
pub(crate) const RPS: Bounds = (0.0, 1e9);

/// Bounds of a time. The maximum is a quarter of an hour.
pub(crate) const MS: Bounds = (0.0, 1e6);

pub(crate) const USD_PER_GB: Bounds = (0.0, 1e6);

/// Bounds of a multiplier.
pub(crate) const FACTOR: Bounds = (0.0, 1e3);

pub(crate) fn invalid(path: impl Into<String>, what: impl Into<String>) -> Invalid {
    Invalid { path: path.into(), what: what.into() }
}

pub(crate) fn number(path: &str, value: f64, range: Bounds) -> Result<(), Invalid> {
    let (least, most) = range;
    if value.is_finite() && least <= value && value <= most {
        return Ok(());
    }
    Err(invalid(path, format!("{} is not a finite number from {} to {}", shown(value), shown(least), shown(most))))
}

pub(crate) fn whole(path: &str, value: usize, (least, most): (usize, usize)) -> Result<(), Invalid> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(invalid(path, format!("{value}: expected {least} to {most}")))
}

/// Checks a list with one value per cluster.
pub(crate) fn numbers(path: &str, values: &[f64], size: usize, range: Bounds) -> Result<(), Invalid> {
    length(path, values.len(), size)?;
    values.iter().enumerate().try_for_each(|(i, &value)| number(&format!("{path}[{i}]"), value, range))
}

/// Checks a matrix with a row and a column per cluster.
pub(crate) fn matrix(path: &str, rows: &[Vec<f64>], size: usize, range: Bounds) -> Result<(), Invalid> {
    if rows.len() != size {
        return Err(invalid(path, format!("{} for {}", count(rows.len(), "row"), count(size, "cluster"))));
    }
    rows.iter().enumerate().try_for_each(|(i, row)| numbers(&format!("{path}[{i}]"), row, size, range))
}

pub(crate) fn length(path: &str, found: usize, size: usize) -> Result<(), Invalid> {
    if found == size {
        return Ok(());
    }
    Err(invalid(path, format!("{} for {}", count(found, "value"), count(size, "cluster"))))
}

pub(crate) fn cluster(path: &str, name: &str, clusters: &[String]) -> Result<(), Invalid> {
    if clusters.iter().any(|cluster| cluster == name) {
        return Ok(());
    }
    Err(invalid(path, format!("{name:?} is not one of clusters")))
}

pub(crate) fn count(count: usize, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

/// Formats a number as a user would write it: 0.5, 1000, 1e9.
fn shown(value: f64) -> String {
    let abs = value.abs();
    if value.is_finite() && abs > 0.0 && !(1e-3..1e6).contains(&abs) { format!("{value:e}") } else { value.to_string() }
}
