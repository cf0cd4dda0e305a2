//! Two maps fused by attention.

use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result as CandleResult, Shape, Tensor};
use kd_core::ops::slices;
use kd_core::{Result, vectorized};
use rayon::prelude::*;

use super::maps::{averaged, divides, here, place_in};

/// At each place `sigmoid(a) x + sigmoid(b) y`, `(a, b) = W [x; y; 1]` (Chen et al. 2021, arXiv:2104.09044,
/// figure 3b), for x `(N, H, W, M)` and W `(2, 2M + 1)`. Where y is smaller and its sides divide those of x, each
/// of its places stands for several; else it is averaged to the size of x.
pub(super) fn attended(x: &Tensor, y: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let (_, h, w, _) = x.dims4()?;
    let (_, to_h, to_w, _) = y.dims4()?;
    let fits = divides([to_h, to_w], [h, w]);
    let y = if fits { y.clone() } else { averaged(y, [h, w])? };
    let fused = here(x)?.apply_op3(&here(&y)?, &here(weights)?, Attention)?;
    Ok(fused.to_device(x.device())?)
}

struct Attention;

/// The sizes of the maps.
struct Sizes {
    /// Rows, columns and channels of x.
    x: [usize; 3],
    /// Rows and columns of y.
    y: [usize; 2],
}

impl Sizes {
    fn of(x: &[usize], y: &[usize]) -> CandleResult<Self> {
        match (x, y) {
            ([_, h, w, c], [_, rows, columns, _]) => {
                Ok(Self { x: [*h, *w, *c], y: [*rows, *columns] })
            }
            _ => candle_core::bail!("maps (N, H, W, C), got {x:?} and {y:?}"),
        }
    }

    fn image_of_x(&self) -> usize {
        self.x.iter().product()
    }

    fn image_of_y(&self) -> usize {
        self.y[0] * self.y[1] * self.x[2]
    }

    /// Where the values of y at the place `place` of x begin.
    fn below(&self, place: usize) -> usize {
        let [h, w, c] = self.x;
        place_in(self.y, place, [h, w]) * c
    }
}

/// `sigmoid(W [x; y; 1])` at one place.
#[inline(always)]
fn gates(weights: &[f32], x: &[f32], y: &[f32]) -> [f32; 2] {
    let n = x.len();
    [0, 1].map(|i| {
        let row = &weights[i * (2 * n + 1)..][..2 * n + 1];
        let sum = dot(&row[..n], x) + dot(&row[n..2 * n], y) + row[2 * n];
        1.0 / (1.0 + (-sum).exp())
    })
}

/// `a b`, summed in eight lanes.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut lanes = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        (0..8).for_each(|i| lanes[i] += a[i] * b[i]);
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| a * b);
    lanes.into_iter().chain(rest).sum()
}

/// `to += by from`.
#[inline(always)]
fn add(to: &mut [f32], by: f32, from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += by * from);
}

fn forward(sizes: &Sizes, [x, y, weights]: [&[f32]; 3]) -> Vec<f32> {
    let mut fused = vec![0.0; x.len()];
    let images = fused.par_chunks_mut(sizes.image_of_x()).zip(x.par_chunks(sizes.image_of_x()));
    images.zip(y.par_chunks(sizes.image_of_y())).for_each(|((fused, x), y)| {
        vectorized(
            #[inline(always)]
            || fuse(sizes, [x, y, weights], fused),
        );
    });
    fused
}

/// The fused map of one image.
#[inline(always)]
fn fuse(sizes: &Sizes, [x, y, weights]: [&[f32]; 3], fused: &mut [f32]) {
    let channels = sizes.x[2];
    let places = fused.chunks_mut(channels).zip(x.chunks(channels));
    for (place, (fused, x)) in places.enumerate() {
        let y = &y[sizes.below(place)..][..channels];
        let [a, b] = gates(weights, x, y);
        fused.iter_mut().zip(x.iter().zip(y)).for_each(|(f, (x, y))| *f = a * x + b * y);
    }
}

/// The gradients of one image's maps, which are zeros before, and of the weights.
#[inline(always)]
fn backward(
    sizes: &Sizes,
    [x, y, weights, grad]: [&[f32]; 4],
    (of_x, of_y): (&mut [f32], &mut [f32]),
) -> Vec<f32> {
    let (n, mut of_weights) = (sizes.x[2], vec![0.0; weights.len()]);
    for (place, (of_x, grad)) in of_x.chunks_mut(n).zip(grad.chunks(n)).enumerate() {
        let (x, below) = (&x[place * n..][..n], sizes.below(place));
        let (y, of_y) = (&y[below..][..n], &mut of_y[below..][..n]);
        let gates = gates(weights, x, y);
        add(of_x, gates[0], grad);
        add(of_y, gates[1], grad);
        for (i, read) in [x, y].into_iter().enumerate() {
            let of_sum = dot(grad, read) * gates[i] * (1.0 - gates[i]);
            let at = i * (2 * n + 1);
            let (row, of_row) = (&weights[at..][..2 * n], &mut of_weights[at..][..2 * n + 1]);
            add(of_x, of_sum, &row[..n]);
            add(of_y, of_sum, &row[n..]);
            add(&mut of_row[..n], of_sum, x);
            add(&mut of_row[n..2 * n], of_sum, y);
            of_row[2 * n] += of_sum;
        }
    }
    of_weights
}

/// The gradients of both maps and the weights.
fn gradients(sizes: &Sizes, [x, y, weights, grad]: [&[f32]; 4]) -> [Vec<f32>; 3] {
    let (mut of_x, mut of_y) = (vec![0.0; x.len()], vec![0.0; y.len()]);
    let (image_of_x, image_of_y) = (sizes.image_of_x(), sizes.image_of_y());
    let of_maps = of_x.par_chunks_mut(image_of_x).zip(of_y.par_chunks_mut(image_of_y));
    let images = of_maps.enumerate().map(|(i, (of_x, of_y))| {
        let (in_x, in_y) =
            (i * image_of_x..(i + 1) * image_of_x, i * image_of_y..(i + 1) * image_of_y);
        let read = [&x[in_x.clone()], &y[in_y], weights, &grad[in_x]];
        vectorized(
            #[inline(always)]
            || backward(sizes, read, (of_x, of_y)),
        )
    });
    let mut of_weights = vec![0.0; weights.len()];
    images.collect::<Vec<_>>().iter().for_each(|image| add(&mut of_weights, 1.0, image));
    [of_x, of_y, of_weights]
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of_x: &Layout,
        y: &CpuStorage,
        of_y: &Layout,
        weights: &CpuStorage,
        of_weights: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let sizes = Sizes::of(of_x.dims(), of_y.dims())?;
        let (x, y) = (slices::of(x, of_x)?, slices::of(y, of_y)?);
        let fused = forward(&sizes, [x, y, slices::of(weights, of_weights)?]);
        Ok((CpuStorage::F32(fused), of_x.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        weights: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let sizes = Sizes::of(x.dims(), y.dims())?;
        let all = [x, y, weights, &grad.contiguous()?];
        let grads = slices::with_all(all, |all| gradients(&sizes, all))?;
        let mut tensors = [x, y, weights].into_iter().zip(grads);
        let mut next = || {
            let (of, grad) = tensors.next()?;
            Some(Tensor::from_vec(grad, of.shape(), &Device::Cpu))
        };
        Ok((next().transpose()?, next().transpose()?, next().transpose()?))
    }
}
