//! What a number, a list, a matrix or a name in a file may be. Behind these checks everything is finite.

use thiserror::Error;

/// Why a scenario or a trace is refused: which field, what it has, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{path}: {what}")]
pub struct Invalid {
    /// As in `events[1].cluster`; in a text that is no YAML or JSON, where it stops being it.
    pub path: String,
    pub what: String,
}

/// The least and the most that is believed.
pub(crate) type Bounds = (f64, f64);

/// More than any fleet serves.
pub(crate) const RPS: Bounds = (0.0, 1e9);

/// Up to a quarter of an hour.
pub(crate) const MS: Bounds = (0.0, 1e6);

pub(crate) const USD_PER_GB: Bounds = (0.0, 1e6);

/// Of something that is known: a thousand times as much, at most.
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

/// One per cluster.
pub(crate) fn numbers(path: &str, values: &[f64], size: usize, range: Bounds) -> Result<(), Invalid> {
    length(path, values.len(), size)?;
    values.iter().enumerate().try_for_each(|(i, &value)| number(&format!("{path}[{i}]"), value, range))
}

/// A row per cluster, with one per cluster.
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

/// As somebody would write it: 0.5, 1000, 1e9.
fn shown(value: f64) -> String {
    let abs = value.abs();
    if value.is_finite() && abs > 0.0 && !(1e-3..1e6).contains(&abs) { format!("{value:e}") } else { value.to_string() }
}
