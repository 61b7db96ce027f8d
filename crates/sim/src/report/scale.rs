//! Axes: positions of values, and labels.

/// An axis: maps values to positions, with ticks.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    shape: AxisShape,
    values: (f64, f64),
    places: (f64, f64),
    pub(super) ticks: Vec<Tick>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum AxisShape {
    Linear,
    Log,
    /// Logarithm of the excess over 1, so that 1.01 and 100 are both readable.
    LogExcess,
}

/// Smallest excess over the optimum that is drawn. Smaller ones are drawn here.
pub(super) const MIN_EXCESS: f64 = 0.001;

/// Highest ratio that is drawn. Higher ones are drawn here.
pub(super) const MAX_RATIO: f64 = 1000.0;

impl Scale {
    /// Returns a linear axis with about five to ten ticks at round numbers.
    pub(super) fn linear(values: (f64, f64), places: (f64, f64)) -> Self {
        let step = round_step((values.1 - values.0) / 7.0);
        let ticks = ticks(step, values);
        Self { shape: AxisShape::Linear, values, places, ticks }
    }

    /// Returns a linear axis with ticks at whole numbers.
    pub(super) fn counted(values: (f64, f64), places: (f64, f64)) -> Self {
        let step = round_step((values.1 - values.0) / 8.0).max(1.0);
        Self { shape: AxisShape::Linear, values, places, ticks: ticks(step, values) }
    }

    /// Returns a logarithmic axis for values above 0.
    pub(super) fn log(values: (f64, f64), places: (f64, f64)) -> Self {
        let decades = |mantissas: &[f64]| -> Vec<Tick> {
            let values_of = |power: i32| mantissas.iter().map(move |mantissa| mantissa * 10_f64.powi(power));
            let inside = |value: &f64| values.0 <= *value && *value <= values.1;
            (-9..=9).flat_map(values_of).filter(inside).map(|value| tick(value, value)).collect()
        };
        let sparse = decades(&[1.0, 2.0, 5.0]);
        let ticks = if sparse.len() < 4 { decades(&[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0]) } else { sparse };
        Self { shape: AxisShape::Log, values, places, ticks }
    }

    /// Returns an axis for ratios from 1 to `max`.
    pub(super) fn ratio(max: f64, places: (f64, f64)) -> Self {
        const MARKED: [f64; 7] = [1.001, 1.01, 1.1, 2.0, 10.0, 100.0, 1000.0];
        let max = max.clamp(1.0, MAX_RATIO);
        let top = MARKED.into_iter().find(|mark| *mark >= max && *mark >= 1.1).unwrap_or(MAX_RATIO);
        let label = |value: f64| if value < 1.005 { "≤ 1.001".to_owned() } else { number(value, value) };
        let ticks = MARKED.iter().filter(|mark| **mark <= top).map(|&value| Tick { value, label: label(value) });
        Self { shape: AxisShape::LogExcess, values: (1.0 + MIN_EXCESS, top), places, ticks: ticks.collect() }
    }

    /// Returns the position of a value. Values beyond an end are at that end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = value.clamp(self.values.0, self.values.1);
        let (from, to) = (self.shape.of(self.values.0), self.shape.of(self.values.1));
        let part = if to > from { (self.shape.of(value) - from) / (to - from) } else { 0.5 };
        self.places.0 + part * (self.places.1 - self.places.0)
    }

    /// Returns the highest value.
    pub(super) fn max(&self) -> f64 {
        self.values.1
    }

    /// Returns the positions of both ends.
    pub(super) fn ends(&self) -> (f64, f64) {
        self.places
    }
}

impl AxisShape {
    fn of(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.max(f64::MIN_POSITIVE).ln(),
            Self::LogExcess => (value - 1.0).max(MIN_EXCESS).ln(),
        }
    }
}

fn ticks(step: f64, (from, to): (f64, f64)) -> Vec<Tick> {
    let first = (from / step).ceil();
    // 0 is not negative.
    let values = (0..100).map(|k| (first + f64::from(k)) * step + 0.0);
    values.take_while(|value| *value <= to + 1e-9 * step).map(|value| tick(value, step)).collect()
}

fn tick(value: f64, step: f64) -> Tick {
    Tick { value, label: number(value, step) }
}

/// Formats a number with as many decimals as the distance between ticks needs.
fn number(value: f64, step: f64) -> String {
    let decimals = (0..9).find(|decimals| {
        let shifted = step * 10_f64.powi(*decimals);
        (shifted - shifted.round()).abs() < 1e-6 * shifted.abs().max(1.0)
    });
    format!("{value:.*}", usize::try_from(decimals.unwrap_or(9)).unwrap_or_default())
}

/// Returns 1, 2 or 5 times a power of ten, at least `min`.
fn round_step(min: f64) -> f64 {
    let min = if min > 0.0 && min.is_finite() { min } else { 1.0 };
    let power = 10_f64.powf(min.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().map(|mantissa| mantissa * power).find(|step| *step >= min * (1.0 - 1e-9));
    step.unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<&str> {
        scale.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(&Scale::linear((0.0, 1.1), (0.0, 1.0))), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&Scale::counted((0.0, 3.0), (0.0, 1.0))), ["0", "1", "2", "3"]);
        assert_eq!(labels(&Scale::counted((0.0, 60.0), (0.0, 1.0))), ["0", "10", "20", "30", "40", "50", "60"]);
        assert_eq!(labels(&Scale::log((20.0, 600.0), (0.0, 1.0))), ["20", "50", "100", "200", "500"]);
    }

    #[test]
    fn ratios_just_above_one_are_readable() {
        let scale = Scale::ratio(170.0, (0.0, 60.0));
        assert_eq!(labels(&scale), ["≤ 1.001", "1.01", "1.1", "2", "10", "100", "1000"]);
        assert!((scale.place(1.01) - 10.0).abs() < 0.1 && (scale.place(1.1) - 20.0).abs() < 0.1);
        assert!(scale.place(0.5).abs() < 1e-9 && (scale.place(f64::INFINITY) - 60.0).abs() < 1e-9);
    }

    #[test]
    fn values_beyond_an_end_are_at_the_end_and_positions_are_finite() {
        let scale = Scale::linear((0.0, 0.0), (10.0, 20.0));
        assert!((scale.place(7.0) - 15.0).abs() < 1e-9, "an axis without a length has a middle");
        let scale = Scale::linear((0.0, 2.0), (100.0, 0.0));
        assert!((scale.place(9.0)).abs() < 1e-9 && (scale.place(-1.0) - 100.0).abs() < 1e-9);
    }
}
