//! Symmetric positive definite systems: A = L·Lᵀ, and two substitutions.
//!
//! Written by hand: it is forty lines, while a general library has thousands (and detects the processor at run time,
//! after which two agents would add in different orders). Here every sum has one order, so the same input gives the
//! same bits everywhere. A dot product runs in eight lanes that are added up at the end: a fixed order, and one that a
//! compiler can vectorize.

/// Lanes of a dot product.
const LANES: usize = 8;

/// Smallest pivot, as a fraction of its diagonal element, which is positive. A smaller one is a rounding error and is
/// raised to this, which bends the Newton step a little instead of making it infinite.
const MIN_PIVOT: f64 = 1e-14;

/// Square matrix, by rows. Only the lower triangle is read.
#[derive(Debug, Clone)]
pub struct Lower {
    size: usize,
    values: Vec<f64>,
}

impl Lower {
    /// Returns a matrix of zeros.
    pub fn zero(size: usize) -> Self {
        Self { size, values: vec![0.0; size * size] }
    }

    /// Sets all elements to 0.
    pub fn clear(&mut self) {
        self.values.fill(0.0);
    }

    /// Returns row `i` from its first element to the diagonal one.
    pub fn row_mut(&mut self, i: usize) -> &mut [f64] {
        &mut self.values[i * self.size..=i * self.size + i]
    }

    /// Factors the matrix: replaces A by L.
    pub fn factor(&mut self) {
        for i in 0..self.size {
            let (done, rest) = self.values.split_at_mut(i * self.size);
            let row = &mut rest[..=i];
            for (j, other) in done.chunks_exact(self.size).enumerate() {
                row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
            }
            let pivot = row[i] - dot(&row[..i], &row[..i]);
            row[i] = pivot.max(MIN_PIVOT * row[i]).sqrt();
        }
    }

    /// Replaces b by the x of A·x = b. Precondition: [`factor`](Self::factor) was called.
    pub fn solve(&self, b: &mut [f64]) {
        for (i, row) in self.rows() {
            b[i] = (b[i] - dot(&row[..i], &b[..i])) / row[i];
        }
        for (i, row) in self.rows().rev() {
            let x = b[i] / row[i];
            b[i] = x;
            subtract(&mut b[..i], x, &row[..i]);
        }
    }

    fn rows(&self) -> impl DoubleEndedIterator<Item = (usize, &[f64])> + ExactSizeIterator {
        self.values.chunks_exact(self.size.max(1)).enumerate()
    }
}

/// Computes a −= factor·b.
#[inline(always)]
pub(super) fn subtract(a: &mut [f64], factor: f64, b: &[f64]) {
    for (a, b) in a.iter_mut().zip(b) {
        *a -= factor * b;
    }
}

/// Returns Σ aᵢbᵢ, summed in lanes.
#[inline(always)]
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lower(rows: &[&[f64]]) -> Lower {
        let mut matrix = Lower::zero(rows.len());
        rows.iter().enumerate().for_each(|(i, row)| matrix.row_mut(i).copy_from_slice(row));
        matrix
    }

    #[test]
    fn small_system_is_solved() {
        // [[4, 2], [2, 5]]·[1, 2] = [8, 12], and L = [[2, 0], [1, 2]].
        let mut matrix = lower(&[&[4.0], &[2.0, 5.0]]);
        matrix.factor();
        assert_eq!((matrix.row_mut(0).to_vec(), matrix.row_mut(1).to_vec()), (vec![2.0], vec![1.0, 2.0]));
        let mut b = [8.0, 12.0];
        matrix.solve(&mut b);
        assert_eq!(b.to_vec(), vec![1.0, 2.0]);
    }

    #[test]
    fn system_of_more_than_one_lane_is_solved() {
        let size = 3 * LANES + 5;
        let element = |i: usize, j: usize| if i == j { 60.0 } else { 1.0 / (1.0 + (i + j) as f64) };
        let mut matrix = Lower::zero(size);
        (0..size).for_each(|i| matrix.row_mut(i).iter_mut().enumerate().for_each(|(j, a)| *a = element(i, j)));
        let wanted: Vec<f64> = (0..size).map(|i| i as f64 - 10.0).collect();
        let mut b: Vec<f64> = (0..size).map(|i| (0..size).map(|j| element(i, j) * wanted[j]).sum()).collect();
        matrix.factor();
        matrix.solve(&mut b);
        assert!(b.iter().zip(&wanted).all(|(x, wanted)| (x - wanted).abs() < 1e-12), "{b:?}");
    }

    #[test]
    fn singular_system_has_a_finite_solution_and_an_empty_one_is_solved() {
        let mut matrix = lower(&[&[1.0], &[1.0, 1.0]]);
        matrix.factor();
        let mut b = [1.0, 2.0];
        matrix.solve(&mut b);
        assert!(b.iter().all(|x| x.is_finite()), "{b:?}");

        let mut nothing = Lower::zero(0);
        nothing.factor();
        nothing.solve(&mut []);
    }
}
