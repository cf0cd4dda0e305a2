//! The same work by candle-nn's layers and optimizer, as they are.

use candle_core::{DType, Device};
use candle_nn::{
    AdamW, Dropout, Linear, Module, Optimizer, ParamsAdamW, VarBuilder, VarMap, linear, loss,
};
use kd_core::{BatchSource, Result};

use crate::BATCH_SIZE;
use crate::cnn::clock;
use crate::mlp::digits;

/// Batches that steps go round over.
const N_BATCHES: usize = 16;

/// Milliseconds of a training step of 784-1200-1200-10 with dropout and Adam.
pub(crate) fn teacher_steps(n_steps: usize, device: &Device) -> Result<Vec<f64>> {
    let variables = VarMap::new();
    let builder = VarBuilder::from_varmap(&variables, DType::F32, device);
    let layer = |(i, [n_in, n_out]): (usize, [usize; 2])| linear(n_in, n_out, builder.pp(i));
    let sizes = [[784, 1200], [1200, 1200], [1200, 10]].into_iter().enumerate();
    let layers: Vec<Linear> = sizes.map(layer).collect::<candle_core::Result<_>>()?;
    let dropout = Dropout::new(0.5);
    let settings = ParamsAdamW { lr: 1e-3, weight_decay: 0.0, ..ParamsAdamW::default() };
    let mut adam = AdamW::new(variables.all_vars(), settings)?;
    let loader = digits()?.on(device)?;
    let order = loader.order(0);
    let batches = order.chunks(BATCH_SIZE).take(N_BATCHES).map(|indices| loader.batch(0, indices));
    let batches = batches.collect::<Result<Vec<_>>>()?;
    clock(n_steps, device, |i| {
        let batch = &batches[i % N_BATCHES];
        let mut x = batch.images.flatten_from(1)?;
        for layer in &layers[..2] {
            x = dropout.forward(&layer.forward(&x)?.relu()?, true)?;
        }
        let loss = loss::cross_entropy(&layers[2].forward(&x)?, &batch.labels)?;
        Ok(adam.backward_step(&loss)?)
    })
}
