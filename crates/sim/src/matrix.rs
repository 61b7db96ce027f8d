//! One value for each pair of source and exporter.

use std::ops::{Index, IndexMut};

/// A square matrix: a row per source, a column per exporter.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix<T> {
    size: usize,
    cells: Vec<T>,
}

impl<T: Copy> Matrix<T> {
    pub fn filled(size: usize, value: T) -> Self {
        Self { size, cells: vec![value; size * size] }
    }

    pub fn from_fn(size: usize, cell: impl Fn(usize, usize) -> T) -> Self {
        let cells = (0..size * size).map(|k| cell(k / size, k % size)).collect();
        Self { size, cells }
    }

    pub fn size(&self) -> usize {
        self.size
    }

    pub fn row(&self, i: usize) -> &[T] {
        &self.cells[i * self.size..(i + 1) * self.size]
    }

    pub fn row_mut(&mut self, i: usize) -> &mut [T] {
        &mut self.cells[i * self.size..(i + 1) * self.size]
    }

    pub fn rows(&self) -> impl Iterator<Item = &[T]> {
        (0..self.size).map(|i| self.row(i))
    }
}

impl<T> Index<(usize, usize)> for Matrix<T> {
    type Output = T;

    fn index(&self, (i, j): (usize, usize)) -> &T {
        &self.cells[i * self.size + j]
    }
}

impl<T> IndexMut<(usize, usize)> for Matrix<T> {
    fn index_mut(&mut self, (i, j): (usize, usize)) -> &mut T {
        &mut self.cells[i * self.size + j]
    }
}
