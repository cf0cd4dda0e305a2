//! What objectives on features are written in: functions of the outputs of parts, `(N, H, W, C)` or
//! `(N, F)`, through which gradients flow.

use candle_core::{CpuStorage, CustomOp1, D, DType, Device, Layout, Shape, Tensor, Var};
use kd_core::ops::{Linear, slices};
use kd_core::{Error, Mode, Params, Result, Stream, apply, init, vectorized};
use rayon::prelude::*;

/// As maps `(N, H, W, C)`: a vector is a map of one place.
pub(super) fn map(part: &Tensor) -> Result<Tensor> {
    match *part.dims() {
        [n, c] => Ok(part.reshape((n, 1, 1, c))?),
        [_, _, _, _] => Ok(part.contiguous()?),
        _ => Err(Error::shape("tap", "(N, H, W, C) or (N, F)", part.dims())),
    }
}

/// As rows `(N, F)` in f64: all values of an image.
pub(super) fn vectors(part: &Tensor) -> Result<Tensor> {
    Ok(part.flatten_from(1)?.to_dtype(DType::F64)?)
}

/// `(N, C)`: the mean over all places of a map.
pub(super) fn pooled(part: &Tensor) -> Result<Tensor> {
    Ok(map(part)?.mean((1, 2))?)
}

/// Means of `size` x `size` windows that cover a map.
///
/// # Errors
/// [`Error::Shape`] for a map whose sides are no multiples of `size`.
pub(super) fn averaged(map: &Tensor, size: [usize; 2]) -> Result<Tensor> {
    let (n, h, w, c) = map.dims4()?;
    let [to_h, to_w] = size;
    if [h, w] == size {
        return Ok(map.clone());
    }
    if to_h == 0 || to_w == 0 || h % to_h != 0 || w % to_w != 0 {
        let expected = format!("a map whose sides are multiples of {to_h} and {to_w}");
        return Err(Error::shape("tap", expected, map.dims()));
    }
    let windows = map.reshape(&[n, to_h, h / to_h, to_w, w / to_w, c][..])?;
    Ok(windows.mean(4)?.mean(2)?)
}

/// A map of another size: each place repeated, or the means over windows.
///
/// # Errors
/// [`Error::Shape`] for sides neither of which are multiples of the other.
pub(super) fn resized(map: &Tensor, [to_h, to_w]: [usize; 2]) -> Result<Tensor> {
    let (n, h, w, c) = map.dims4()?;
    let (from, to) = ([h, w], [to_h, to_w]);
    if from == to || !divides(from, to) {
        return averaged(map, to);
    }
    let n_places = to_h * to_w;
    let places =
        (0..n * n_places).map(|i| (i / n_places * h * w + place_in(from, i % n_places, to)) as u32);
    let places = Tensor::from_iter(places, map.device())?;
    Ok(map.reshape((n * h * w, c))?.index_select(&places, 0)?.reshape((n, to_h, to_w, c))?)
}

/// Whether the sides of the `smaller` map divide those of the `larger` one.
pub(super) fn divides(smaller: [usize; 2], larger: [usize; 2]) -> bool {
    smaller.iter().zip(larger).all(|(small, large)| *small > 0 && large % small == 0)
}

/// Where in a map of the first size the place `place` of one of the second size lies.
pub(super) fn place_in([rows, columns]: [usize; 2], place: usize, [h, w]: [usize; 2]) -> usize {
    place / w * rows / h * columns + place % w * columns / w
}

/// The same tensor in CPU memory, its values in their order.
pub(super) fn here(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.to_device(&Device::Cpu)?.contiguous()?)
}

/// Both as maps of one size: the larger one's means over windows.
pub(super) fn of_one_size([own, theirs]: [Tensor; 2]) -> Result<[Tensor; 2]> {
    let (own, theirs) = (map(&own)?, map(&theirs)?);
    let size = |map: &Tensor| [map.dims()[1], map.dims()[2]];
    let smaller = [size(&own), size(&theirs)].into_iter().min().unwrap_or_default();
    Ok([averaged(&own, smaller)?, averaged(&theirs, smaller)?])
}

/// Rows divided by their Euclidean lengths, at least 1e-12; those of zeros stay zeros.
pub(super) fn normalized(rows: &Tensor) -> Result<Tensor> {
    let squares = rows.sqr()?.sum_keepdim(D::Minus1)?;
    // Below the root, where the gradient of a length of 0 is a number.
    Ok(rows.broadcast_div(&squares.clamp(1e-24, f64::MAX)?.sqrt()?)?)
}

/// `mean (a - b)^2`, a scalar in f64.
pub(super) fn mean_squared(own: &Tensor, theirs: &Tensor) -> Result<Tensor> {
    let n = own.elem_count() as f64;
    let (sums, grad) = by_image([own, theirs], |[a, b], grad| {
        let apart = || a.iter().zip(b).map(|(a, b)| a - b);
        grad.iter_mut().zip(apart()).for_each(|(grad, d)| *grad = (2.0 / n) as f32 * d);
        apart().map(|d| f64::from(d).powi(2)).sum::<f64>()
    })?;
    given(own, sums.iter().sum::<f64>() / n, grad)
}

/// What `f` says of each image's values in both tensors, and the gradient for the first one that it writes.
pub(super) fn by_image<R: Send>(
    both: [&Tensor; 2],
    f: impl Fn([&[f32]; 2], &mut [f32]) -> R + Sync,
) -> Result<(Vec<R>, Vec<f32>)> {
    let n_images = both[0].dims()[0].max(1);
    let [own, theirs] = both.map(here);
    let said = slices::with_all([&own?, &theirs?], |[own, theirs]| {
        let mut grad = vec![0.0; own.len()];
        let [width, other] = [own, theirs].map(|values| (values.len() / n_images).max(1));
        let images = grad.par_chunks_mut(width).zip(own.par_chunks(width));
        let images = images.zip(theirs.par_chunks(other));
        let said = images.map(|((grad, own), theirs)| {
            vectorized(
                #[inline(always)]
                || f([own, theirs], grad),
            )
        });
        let said = said.collect();
        (said, grad)
    });
    Ok(said?)
}

/// Adds the parameter `name` with PyTorch's initial values for `fan_in` inputs.
pub(super) fn begin(
    params: &mut Params,
    (name, shape): (&str, &[usize]),
    fan_in: usize,
    like: (&Tensor, Stream),
) -> Result<()> {
    let (bound, mut rng) = (init::pytorch_bound(fan_in) as f32, like.1.at("own").at(name).rng());
    let values = (0..shape.iter().product()).map(|_| rng.uniform_in(-bound, bound));
    let values: Vec<f32> = values.collect();
    params.insert(name, &Tensor::from_vec(values, shape, like.0.device())?)?;
    Ok(())
}

/// Adds the parameters that [`projected`] needs, from the channels of `x` to `n_out`.
pub(super) fn begin_projected(
    params: &mut Params,
    name: &str,
    n_out: usize,
    (x, stream): (&Tensor, Stream),
) -> Result<()> {
    let n_in = x.dim(D::Minus1)?;
    begin(params, (&format!("{name}weight"), &[n_out, n_in]), n_in, (x, stream))?;
    begin(params, (&format!("{name}bias"), &[n_out]), n_in, (x, stream))
}

/// The parameter `name` of an objective, tracked.
pub(super) fn own<'p>(params: &'p Params, name: &str) -> Result<&'p Tensor> {
    let reason = "the objective has no such parameter; make them by `own_params`";
    let param = params.get(name).ok_or_else(|| Error::config(name, reason))?;
    Ok(param.var().as_tensor())
}

/// The buffer `name` of an objective.
pub(super) fn buffer<'p>(params: &'p Params, name: &str) -> Result<&'p Var> {
    let reason = "the objective has no such buffer; make it by `own_params`";
    params.buffer(name).ok_or_else(|| Error::config(name, reason))
}

/// `a b^T` of rows `(N, F)` and `(M, F)`, in f32.
pub(super) fn products(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    layer(a, &[&b.to_dtype(DType::F32)?])
}

/// `x w^T + b` along the channels, w being `NAMEweight`, `(out, in)`, and b `NAMEbias`: a linear layer, and on
/// maps a 1x1 convolution.
pub(super) fn projected(x: &Tensor, params: &Params, name: &str) -> Result<Tensor> {
    let param = |part: &str| own(params, &format!("{name}{part}"));
    layer(x, &[param("weight")?, param("bias")?])
}

fn layer(x: &Tensor, params: &[&Tensor]) -> Result<Tensor> {
    let (n_out, n_in) = params[0].dims2()?;
    let mut dims = x.dims().to_vec();
    *dims.last_mut().expect("invariant: a part has channels") = n_out;
    let rows = x.reshape(((), n_in))?.to_dtype(DType::F32)?.contiguous()?;
    let op = Linear { bias: params.len() > 1, ..Linear::new(n_out) };
    let params =
        params.iter().map(|param| param.contiguous()).collect::<candle_core::Result<Vec<_>>>()?;
    let params: Vec<&Tensor> = params.iter().collect();
    // No number is drawn for it.
    Ok(apply(op, &[&rows], &params, Mode::Train(Stream::new(0)))?.reshape(dims)?)
}

/// A scalar of this value, in f64, whose gradient for `of` is `grad`, `of`'s values in their order: for what is
/// quicker computed than written in candle's operations.
pub(super) fn given(of: &Tensor, value: f64, grad: Vec<f32>) -> Result<Tensor> {
    let here = of.to_device(&Device::Cpu)?.apply_op1(Given { value, grad })?;
    Ok(here.to_device(of.device())?)
}

/// A value with its gradient.
struct Given {
    value: f64,
    grad: Vec<f32>,
}

/// Values that one thread scales at least.
const SCALED: usize = 1 << 14;

impl CustomOp1 for Given {
    fn name(&self) -> &'static str {
        "given"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F64(vec![self.value]), Shape::from(())))
    }

    fn bwd(
        &self,
        of: &Tensor,
        _: &Tensor,
        of_value: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let by = of_value.to_scalar::<f64>()? as f32;
        let grad = self.grad.par_iter().with_min_len(SCALED).map(|grad| grad * by);
        let grad = Tensor::from_vec(grad.collect(), of.dims(), &Device::Cpu)?;
        grad.to_dtype(of.dtype()).map(Some)
    }
}

/// All values, in f64.
pub(super) fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}
