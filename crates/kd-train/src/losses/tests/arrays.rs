//! Numbers of tensors in f64, and what formulas are written in.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};

/// Numbers of a tensor, with its sizes.
#[derive(Clone)]
pub(super) struct Array {
    pub(super) dims: Vec<usize>,
    pub(super) values: Vec<f64>,
}

impl Array {
    pub(super) fn of(tensor: &Tensor) -> Self {
        let values = tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
        Self { dims: tensor.dims().to_vec(), values: values.to_vec1().unwrap() }
    }

    /// Row i of all values of an image.
    pub(super) fn row(&self, i: usize) -> &[f64] {
        let width = self.values.len() / self.dims[0];
        &self.values[i * width..][..width]
    }

    pub(super) fn rows(&self) -> Vec<Vec<f64>> {
        (0..self.dims[0]).map(|i| self.row(i).to_vec()).collect()
    }

    /// The places of image i's map, each with its channels.
    pub(super) fn places(&self, i: usize) -> Vec<Vec<f64>> {
        let channels = *self.dims.last().unwrap();
        self.row(i).chunks(channels).map(<[f64]>::to_vec).collect()
    }
}

/// All that an objective looks at, by name: `logits`, `teacher`, `view`, `view_teacher`; the student's
/// parts as `s/PART`, the teacher's as `t/PART`, its own parameters as `own/NAME`, buffers as `kept/NAME`.
pub(super) type Inputs = BTreeMap<String, Array>;

pub(super) const LABELS: [usize; 5] = [0, 3, 2, 1, 1];
pub(super) const EPOCH: u64 = 9;
pub(super) const N_SAMPLES: usize = 12;
pub(super) const INDICES: [u32; 5] = [4, 0, 11, 7, 3];

pub(super) fn softmax(z: &[f64], temperature: f64) -> Vec<f64> {
    let exps: Vec<f64> = z.iter().map(|z| (z / temperature).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.iter().map(|e| e / sum).collect()
}

pub(super) fn kl(q: &[f64], p: &[f64]) -> f64 {
    q.iter().zip(p).map(|(q, p)| q * (q / p).ln()).sum()
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(super) fn unit(a: &[f64]) -> Vec<f64> {
    let length = dot(a, a).sqrt();
    a.iter().map(|a| a / length).collect()
}

pub(super) fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.into_iter().collect();
    values.iter().sum::<f64>() / values.len() as f64
}

pub(super) fn mean_of_rows(rows: &[Vec<f64>]) -> Vec<f64> {
    (0..rows[0].len()).map(|k| mean(rows.iter().map(|row| row[k]))).collect()
}

pub(super) fn cross_entropy(logits: &Array) -> f64 {
    mean((0..5).map(|i| -softmax(logits.row(i), 1.0)[LABELS[i]].ln()))
}

/// `W x + b`.
pub(super) fn affine(x: &[f64], weight: &Array, bias: Option<&Array>) -> Vec<f64> {
    let products = weight.rows().into_iter().map(|row| dot(&row, x));
    products.enumerate().map(|(k, y)| y + bias.map_or(0.0, |bias| bias.values[k])).collect()
}
