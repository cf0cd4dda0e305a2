//! `dropout(relu((x + shift) W^T + b))`.

use super::{Block, Common, each};
use crate::act::{Buffer, Made};
use crate::gemm::{Matrix, Write, gemm};
use crate::ops::linear::{Activation, add_row_sums, add_to_rows, finish, undo};
use crate::ops::step::{Backward, Forward, Reads};
use crate::ops::{Dropout, deposit, slices};
use crate::{Mode, Result};

/// A linear layer, and the ReLU and the dropout after it.
pub(crate) struct LinearBlock {
    pub(crate) relu: bool,
    pub(crate) dropout: Option<Dropout>,
    /// What is added to each input. It is not formed: `(x + s) W^T = x W^T + s W 1`, and of the weights'
    /// gradient, `g^T (x + s) = g^T x + s g^T 1`.
    pub(crate) shift: Option<f32>,
}

impl LinearBlock {
    pub(super) fn activation(&self, mode: Mode) -> Activation {
        match (self.dropout, mode) {
            (Some(dropout), Mode::Train(stream)) => {
                Activation::ReluDropout { p: dropout.p, stream: dropout.stream_of(stream) }
            }
            _ if self.relu => Activation::Relu,
            _ => Activation::Identity,
        }
    }

    fn forward_one(&self, step: &mut Forward<'_>) -> Result<Made> {
        let x = step.input(0);
        let (n_out, n_in) = step.weight(0).dims2()?;
        let n = x.dims()[0];
        let mut y = Buffer::take(n * n_out);
        slices::with(step.weight(0), |weight| {
            let weight = Matrix::new(weight, n_out, n_in);
            gemm(&mut y, x.matrix(), weight.t(), Write::Set);
            Ok(())
        })?;
        let mut bias = match step.weights.get(1) {
            Some(bias) => bias.value.to_vec1::<f32>()?,
            None => vec![0.0; n_out],
        };
        if let Some(shift) = self.shift {
            slices::with(step.weight(0), |weight| {
                add_row_sums(&mut bias, weight, shift);
                Ok(())
            })?;
        }
        finish(&mut y, &bias, self.activation(step.mode), step.first_row);
        Ok(y.into())
    }

    fn backward_one(&self, mut grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        let x = step.input(0);
        let (n_out, n_in) = step.weight(0).dims2()?;
        let n = x.dims()[0];
        let y = self.relu.then(|| step.output.values());
        let to_bias = undo(&mut grad, y, n_out, self.activation(step.mode).scale());
        let g = Matrix::new(&grad, n, n_out);
        if let Some(sink) = step.sink(1) {
            deposit::deposit(sink, &to_bias)?;
        }
        if let Some(sink) = step.sink(0) {
            let (buffer, write) = sink.write();
            slices::with_mut(buffer, |to_weight| {
                gemm(to_weight, g.t(), x.matrix(), write);
                if let Some(shift) = self.shift {
                    add_to_rows(to_weight, &to_bias, shift);
                }
            })?;
        }
        if !x.needs_grad() {
            return Ok(());
        }
        let mut to_x = Buffer::take(n * n_in);
        slices::with(step.weight(0), |weight| {
            gemm(&mut to_x, g, Matrix::new(weight, n_out, n_in), Write::Set);
            Ok(())
        })?;
        step.add(0, to_x)
    }
}

impl Block for LinearBlock {
    fn forward(&self, steps: &mut [Forward<'_>], _: &Common<'_>) -> Result<Vec<Made>> {
        each(steps, |step| self.forward_one(step))
    }

    fn backward(
        &self,
        grads: Vec<Buffer>,
        steps: &mut [Backward<'_>],
        _: &Common<'_>,
    ) -> Result<()> {
        each(grads.into_iter().zip(steps), |(grad, step)| self.backward_one(grad, step))?;
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self) -> Result<&dyn super::OnGpu> {
        Ok(self)
    }

    fn reads(&self, trains: bool) -> Reads {
        Reads { inputs: trains, output: self.relu }
    }

    /// Its ReLU is undone where its bias is summed.
    fn is_clamped(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor, Var};

    use crate::ops::{Dropout, Flatten, Linear, Relu};
    use crate::{Classifier, Graph, Mode, Net, Stream};

    const MEAN: f32 = 0.1307;
    const STD: f32 = 0.3081;

    /// Logits, and the gradients of the images and of the parameters that have one.
    fn outcome(net: &Net, images: &Tensor, mode: Mode) -> Vec<Vec<f32>> {
        let images = Var::from_tensor(images).unwrap();
        let logits = net.forward(&images, mode).unwrap();
        let grads = logits.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let of_params = net.params().iter().filter_map(|(_, param)| param.grad().get().cloned());
        let all =
            [logits.clone(), grads.get(&images).unwrap().clone()].into_iter().chain(of_params);
        all.map(|tensor| tensor.flatten_all().unwrap().to_vec1().unwrap()).collect()
    }

    #[test]
    fn a_layer_that_reads_gray_images_subtracts_their_mean_itself() {
        let mut graph = Graph::new([1, 12, 12]);
        graph.then("flatten", Flatten {});
        graph.then("fc1", Linear::new(64));
        graph.then("relu", Relu {});
        graph.then("dropout", Dropout { p: 0.5, stream: Some(0) });
        graph.then("fc2", Linear::new(10));
        let plain = Net::new(graph.clone(), Stream::new(1), &Device::Cpu).unwrap();
        let graph = graph.normalized(&[MEAN], &[STD]).unwrap();
        let net = Net::with_weights(graph, &plain.params().tensors(), &Device::Cpu).unwrap();
        let mut rng = Stream::new(2).rng();
        // Strokes on black: the product leaves the black out.
        let pixels: Vec<f32> =
            (0..64 * 144).map(|_| (rng.uniform() - 0.8).max(0.0) * 5.0).collect();
        let pixels = Tensor::from_vec(pixels, (64, 1, 12, 12), &Device::Cpu).unwrap();
        let normalized = ((&pixels - f64::from(MEAN)).unwrap() / f64::from(STD)).unwrap();
        for (mode, n) in [(Mode::Eval, 2), (Mode::Train(Stream::new(3)), 6)] {
            let (got, mut want) =
                (outcome(&net, &pixels, mode), outcome(&plain, &normalized, mode));
            want[1].iter_mut().for_each(|grad| *grad /= STD);
            assert_eq!((got.len(), want.len()), (n, n));
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                let largest = want.iter().fold(0.0f32, |most, v| most.max(v.abs()));
                let error = |(got, want): (&f32, &f32)| (got - want).abs();
                let most = got.iter().zip(want).map(error).fold(0.0, f32::max);
                assert!(most <= 2e-6 * largest, "{i}: {most} of {largest}");
            }
        }
    }
}
