//! Numbers that somebody wrote. An API server holds them to the schema; a file has none, and what another cluster wrote is
//! not trusted.

use std::fmt;

use thiserror::Error;

/// What a number may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    least: f64,
    most: f64,
    /// Whether `least` itself is outside.
    above: bool,
}

impl Range {
    pub(super) const fn new(least: f64, most: f64) -> Self {
        Self { least, most, above: false }
    }

    pub(super) const fn above(least: f64, most: f64) -> Self {
        Self { least, most, above: true }
    }

    /// For what somebody meant: it is right or refused.
    pub(super) fn check(self, field: &str, number: f64) -> Result<f64, OutOfRange> {
        let enough = if self.above { number > self.least } else { number >= self.least };
        if enough && number <= self.most { Ok(number) } else { Err(self.refused(field, number, Instead::Nothing)) }
    }

    /// For what somebody measured: too much counts as the most, and what is no number, or less than can be, as not known.
    pub(super) fn believe(self, field: &str, number: Option<f64>) -> (Option<f64>, Option<OutOfRange>) {
        match number {
            Some(number) if number.is_finite() && number > self.most => {
                (Some(self.most), Some(self.refused(field, number, Instead::Most)))
            }
            Some(number) => match self.check(field, number) {
                Ok(number) => (Some(number), None),
                Err(_) => (None, Some(self.refused(field, number, Instead::Unknown))),
            },
            None => (None, None),
        }
    }

    fn refused(self, field: &str, number: f64, instead: Instead) -> OutOfRange {
        OutOfRange { field: field.to_owned(), number, range: self, instead }
    }
}

/// A number that is outside of its range, and what counts in its place.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{field}: {number} is not {range}{instead}")]
pub struct OutOfRange {
    field: String,
    number: f64,
    range: Range,
    instead: Instead,
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.above {
            write!(f, "a number above {}, at most {}", self.least, self.most)
        } else {
            write!(f, "a number from {} to {}", self.least, self.most)
        }
    }
}

/// What counts in the place of a number that is out of its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instead {
    /// The object is refused.
    Nothing,
    Most,
    Unknown,
}

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "",
            Self::Most => "; the most counts instead",
            Self::Unknown => "; it is left out",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_meant_is_right_or_refused() {
        let (range, above) = (Range::new(0.1, 0.99), Range::above(0.0, 1e6));
        for right in [0.1, 0.5, 0.99] {
            assert_eq!(range.check("f", right), Ok(right));
        }
        assert_eq!(above.check("f", 1e6), Ok(1e6));
        for (range, wrong, says) in [
            (range, 1.5, "f: 1.5 is not a number from 0.1 to 0.99"),
            (range, f64::NAN, "f: NaN is not a number from 0.1 to 0.99"),
            (above, 0.0, "f: 0 is not a number above 0, at most 1000000"),
            (above, f64::INFINITY, "f: inf is not a number above 0, at most 1000000"),
        ] {
            assert_eq!(range.check("f", wrong).unwrap_err().to_string(), says);
        }
    }

    #[test]
    fn what_somebody_measured_is_believed_up_to_the_most_and_else_not_known() {
        let believed = |number| {
            let (number, refused) = Range::new(0.0, 10.0).believe("f", number);
            (number, refused.map(|refused| refused.to_string()).unwrap_or_default())
        };
        assert_eq!(believed(None), (None, String::new()));
        assert_eq!(believed(Some(10.0)), (Some(10.0), String::new()));
        let most = "f: 11 is not a number from 0 to 10; the most counts instead";
        assert_eq!(believed(Some(11.0)), (Some(10.0), most.to_owned()));
        for (number, text) in [(-1.0, "-1"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
            let says = format!("f: {text} is not a number from 0 to 10; it is left out");
            assert_eq!(believed(Some(number)), (None, says));
        }
    }
}
