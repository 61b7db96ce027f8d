//! Constraints of a linear program, row by row.

/// The constraints as a sparse matrix and a bound for each row.
#[derive(Default)]
pub(crate) struct Constraints {
    pub(crate) rows: Vec<usize>,
    pub(crate) columns: Vec<usize>,
    pub(crate) values: Vec<f64>,
    pub(crate) bounds: Vec<f64>,
}

impl Constraints {
    pub(crate) fn push(&mut self, terms: impl IntoIterator<Item = (usize, f64)>, bound: f64) {
        for (column, value) in terms {
            self.rows.push(self.bounds.len());
            self.columns.push(column);
            self.values.push(value);
        }
        self.bounds.push(bound);
    }
}
