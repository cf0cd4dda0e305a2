//! A batch in shards: the same bits on any number of ranks, and the sums of the batch as it is.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::tests::{close, floats, graph};
use super::*;
use crate::collective::on_ranks;
use crate::testing::random;
use crate::{Classifier, Collective, Grad, Mode, Part, Shards, Single, Stream};

fn mode() -> Mode {
    Mode::Train(Stream::new(7))
}

/// What a step makes of a batch: logits of the shards here, gradients and running statistics.
struct Made {
    logits: Vec<f32>,
    tensors: Vec<Vec<f32>>,
}

impl Made {
    fn of(net: &Net, logits: Vec<f32>, grads: impl Iterator<Item = Vec<f32>>) -> Self {
        let buffers = net.params().buffers().map(|(_, buffer)| floats(buffer));
        Self { logits, tensors: grads.chain(buffers).collect() }
    }

    fn bits(&self) -> Vec<u32> {
        self.tensors.iter().flatten().map(|v| v.to_bits()).collect()
    }
}

fn net() -> Net {
    Net::new(graph(), Stream::new(1), &Device::Cpu).unwrap()
}

fn images(n: usize) -> Tensor {
    random(Stream::new(2), &[n, 2, 7, 6])
}

/// The gradient of the logits of some rows.
fn of_logits(n: usize, rows: std::ops::Range<usize>) -> Tensor {
    random(Stream::new(3), &[n, 3]).narrow(0, rows.start, rows.len()).unwrap()
}

fn as_it_is(n: usize) -> Made {
    let net = net();
    let logits = net.forward(&images(n), mode()).unwrap();
    let loss = (&logits * of_logits(n, 0..n)).unwrap().sum_all().unwrap();
    loss.backward().unwrap();
    let grads = net.params().iter().map(|(_, param)| floats(param.grad().get().unwrap()));
    Made::of(&net, floats(&logits), grads)
}

fn in_shards(n: usize, n_shards: usize, ranks: Arc<dyn Collective>) -> Made {
    let (net, shards) = (net(), Shards::new(n_shards, ranks).unwrap());
    let own: Vec<_> = shards.own().map(|shard| shards.rows(shard, n)).collect();
    let have: Vec<bool> = own.iter().map(|rows| !rows.is_empty()).collect();
    let own: Vec<_> = own.into_iter().filter(|rows| !rows.is_empty()).collect();
    let pixels = own.iter().map(|rows| images(n).narrow(0, rows.start, rows.len()).unwrap());
    let part = Part::new(&shards, n, &have);
    let pass = net.forward_shards(&pixels.collect::<Vec<_>>(), mode(), &part).unwrap();
    let logits = pass.logits().iter().flat_map(floats).collect();
    let of_logits: Vec<_> = own.iter().map(|rows| of_logits(n, rows.clone())).collect();
    // The gradients take the place of the parameters, so that each rank gets all of them.
    let update = &mut |grad: &Arc<Grad>, part: Range<usize>, sums: &[f32]| {
        let (_, param) = net.params().of_grad(grad).unwrap();
        let mut values = floats(param.var());
        values[part].copy_from_slice(sums);
        Ok(param.var().set(&Tensor::from_vec(values, param.var().shape(), &Device::Cpu)?)?)
    };
    pass.backward(&of_logits, update).unwrap();
    assert!(!net.params().have_grads());
    Made::of(&net, logits, net.params().iter().map(|(_, param)| floats(param.var())))
}

#[test]
fn one_shard_is_the_batch_as_it_is() {
    let (whole, one) = (as_it_is(5), in_shards(5, 1, Arc::new(Single)));
    assert_eq!(whole.bits(), one.bits());
    assert_eq!(whole.logits, one.logits);
}

#[test]
fn any_number_of_ranks_makes_the_same_bits() {
    for n in [16, 11, 3] {
        let one = in_shards(n, 8, Arc::new(Single));
        for n_ranks in [2, 4, 8] {
            let ranks = on_ranks(n_ranks, |ranks| in_shards(n, 8, ranks)).unwrap();
            assert!(ranks.iter().all(|made| made.bits() == one.bits()), "{n} on {n_ranks}");
            let logits = ranks.iter().flat_map(|made| made.logits.clone());
            assert_eq!(logits.collect::<Vec<_>>(), one.logits, "{n} on {n_ranks}");
        }
    }
}

/// Batch norm sees the whole batch, and dropout drops the same.
#[test]
fn shards_make_what_the_batch_makes() {
    let (whole, cut) = (as_it_is(12), in_shards(12, 4, Arc::new(Single)));
    close(&cut.logits, &whole.logits, "logits");
    // A bias in front of batch norm has a gradient of 0, of which there are only the errors of rounding.
    let is_some = |(_, whole): &(_, &Vec<f32>)| whole.iter().any(|v| v.abs() > 1e-5);
    for (cut, whole) in cut.tensors.iter().zip(&whole.tensors).filter(is_some) {
        close(cut, whole, "a gradient, or a running statistic");
    }
}
