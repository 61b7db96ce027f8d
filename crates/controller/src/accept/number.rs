//! Range checks. An API server enforces the schema, but files have none, and numbers of other clusters are not trusted.

use std::fmt;

use thiserror::Error;

/// Range of a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    min: f64,
    max: f64,
    /// True if `min` itself is out of range.
    above: bool,
}

impl Range {
    pub(super) const fn new(min: f64, max: f64) -> Self {
        Self { min, max, above: false }
    }

    /// Returns the range above `min`, up to `max`.
    pub(super) const fn above(min: f64, max: f64) -> Self {
        Self { min, max, above: true }
    }

    /// Checks a configured number. A number out of range is refused.
    pub(super) fn check(self, field: &str, number: f64) -> Result<f64, OutOfRange> {
        let enough = if self.above { number > self.min } else { number >= self.min };
        if enough && number <= self.max { Ok(number) } else { Err(self.refused(field, number, Substitute::None)) }
    }

    /// Checks a measured number. One that is too large is replaced with the maximum. One that is too small, or not
    /// finite, is left out.
    pub(super) fn clip(self, field: &str, number: Option<f64>) -> (Option<f64>, Option<OutOfRange>) {
        match number {
            Some(number) if number.is_finite() && number > self.max => {
                (Some(self.max), Some(self.refused(field, number, Substitute::Max)))
            }
            Some(number) => match self.check(field, number) {
                Ok(number) => (Some(number), None),
                Err(_) => (None, Some(self.refused(field, number, Substitute::Unknown))),
            },
            None => (None, None),
        }
    }

    fn refused(self, field: &str, number: f64, substitute: Substitute) -> OutOfRange {
        OutOfRange { field: field.to_owned(), number, range: self, substitute }
    }
}

/// A number that is out of its range, and what is used instead.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{field}: {number} is not {range}{substitute}")]
pub struct OutOfRange {
    field: String,
    number: f64,
    range: Range,
    substitute: Substitute,
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.above {
            write!(f, "a number above {}, at most {}", self.min, self.max)
        } else {
            write!(f, "a number from {} to {}", self.min, self.max)
        }
    }
}

/// What is used instead of a number that is out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Substitute {
    /// Nothing: the object is refused.
    None,
    Max,
    Unknown,
}

impl fmt::Display for Substitute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "",
            Self::Max => "; the maximum is used instead",
            Self::Unknown => "; it is left out",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_number_out_of_range_is_refused() {
        let (range, above) = (Range::new(0.1, 0.99), Range::above(0.0, 1e6));
        for valid in [0.1, 0.5, 0.99] {
            assert_eq!(range.check("f", valid), Ok(valid));
        }
        assert_eq!(above.check("f", 1e6), Ok(1e6));
        for (range, wrong, message) in [
            (range, 1.5, "f: 1.5 is not a number from 0.1 to 0.99"),
            (range, f64::NAN, "f: NaN is not a number from 0.1 to 0.99"),
            (above, 0.0, "f: 0 is not a number above 0, at most 1000000"),
            (above, f64::INFINITY, "f: inf is not a number above 0, at most 1000000"),
        ] {
            assert_eq!(range.check("f", wrong).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn measured_number_is_clipped_to_the_maximum_and_unknown_below_the_minimum() {
        let clipped = |number| {
            let (number, refused) = Range::new(0.0, 10.0).clip("f", number);
            (number, refused.map(|refused| refused.to_string()).unwrap_or_default())
        };
        assert_eq!(clipped(None), (None, String::new()));
        assert_eq!(clipped(Some(10.0)), (Some(10.0), String::new()));
        let message = "f: 11 is not a number from 0 to 10; the maximum is used instead";
        assert_eq!(clipped(Some(11.0)), (Some(10.0), message.to_owned()));
        for (number, text) in [(-1.0, "-1"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
            let message = format!("f: {text} is not a number from 0 to 10; it is left out");
            assert_eq!(clipped(Some(number)), (None, message));
        }
    }
}
