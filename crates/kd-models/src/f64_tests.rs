//! Gradients of whole networks against the same networks in f64, of candle's own operations.

use candle_core::{DType, Var};
use candle_nn::loss::cross_entropy;
use kd_core::ops::{ConvSums, Op};
use kd_core::testing::random;
use kd_core::{Classifier, Mode};

use super::*;

const SHAPE: [usize; 3] = [3, 16, 16];
const LABELS: [u32; 2] = [3, 8];

/// What `node` makes of `inputs` in training.
fn compute(op: &Op, inputs: &[&Tensor], params: &dyn Fn(&str) -> Tensor) -> Tensor {
    let x = inputs[0];
    match op {
        Op::Conv2d(conv) => {
            let (padding, stride) = (conv.padding[0], conv.stride[0]);
            x.conv2d(&params("weight"), padding, stride, 1, 1).unwrap()
        }
        Op::BatchNorm(norm) => {
            let of_channel = |t: Tensor| t.reshape((1, (), 1, 1)).unwrap();
            let mean = |t: &Tensor| t.mean_keepdim((0, 2, 3)).unwrap();
            let centered = x.broadcast_sub(&mean(x)).unwrap();
            let variance = mean(&centered.sqr().unwrap());
            let root = (variance + f64::from(norm.eps)).unwrap().sqrt().unwrap();
            let normal = centered.broadcast_div(&root).unwrap();
            let scaled = normal.broadcast_mul(&of_channel(params("weight"))).unwrap();
            scaled.broadcast_add(&of_channel(params("bias"))).unwrap()
        }
        Op::Relu(_) => x.relu().unwrap(),
        Op::Add(_) => (x + inputs[1]).unwrap(),
        Op::GlobalAvgPool(_) => x.mean_keepdim((2, 3)).unwrap(),
        Op::Flatten(_) => x.flatten_from(1).unwrap(),
        Op::Linear(_) => {
            let product = x.matmul(&params("weight").t().unwrap()).unwrap();
            product.broadcast_add(&params("bias")).unwrap()
        }
        other => panic!("{other:?} is not in these networks"),
    }
}

/// The gradients in f64 of the cross entropy.
fn reference(net: &Net, images: &Tensor) -> BTreeMap<String, Tensor> {
    let double = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
    let params = net.params().iter();
    let copy = |var: &Tensor| Var::from_tensor(&double(var)).unwrap();
    let vars: BTreeMap<String, Var> =
        params.map(|(name, param)| (name.into(), copy(param.var()))).collect();
    let graph = net.graph();
    let mut made = BTreeMap::from([("images", double(images))]);
    for node in &graph.nodes {
        let inputs: Vec<&Tensor> = node.inputs.iter().map(|input| &made[&input[..]]).collect();
        let param = |name: &str| vars[&format!("{}.{name}", node.name)].as_tensor().clone();
        let output = compute(&node.op, &inputs, &param);
        made.insert(&node.name, output);
    }
    let labels = Tensor::new(&LABELS, &Device::Cpu).unwrap();
    let grads = cross_entropy(&made[&graph.output[..]], &labels).unwrap().backward().unwrap();
    vars.iter().map(|(name, var)| (name.clone(), grads.get(var).unwrap().clone())).collect()
}

/// The relative errors of the gradients of all parameters: their geometric mean.
fn error(net: &Net, images: &Tensor, want: &BTreeMap<String, Tensor>) -> f64 {
    let logits = net.forward(images, Mode::Train(Stream::new(3))).unwrap();
    let labels = Tensor::new(&LABELS, &Device::Cpu).unwrap();
    kd_core::ops::cross_entropy(&logits, &labels, 0.0).unwrap().backward().unwrap();
    let norm = |t: &Tensor| t.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt();
    let errors = net.params().iter().map(|(name, param)| {
        let got = param.grad().get().unwrap().to_dtype(DType::F64).unwrap();
        norm(&(got - &want[name]).unwrap()) / norm(&want[name])
    });
    let logarithms: Vec<f64> = errors.map(f64::ln).collect();
    (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp()
}

/// Median of five draws of weights and images: where a value near 0 falls to the other side of a ReLU, which
/// happens with either, a gradient differs by far more than rounding.
fn median(mut errors: [f64; 5]) -> f64 {
    errors.sort_by(f64::total_cmp);
    errors[2]
}

#[test]
fn fewer_multiplications_keep_the_gradients_of_whole_networks() {
    for name in ["resnet20-b", "wrn-16-2"] {
        let spec = ModelSpec::from_name(name).unwrap();
        let errors = [1, 2, 3, 4, 5].map(|seed| {
            let net = |sums| {
                let net = spec.as_dyn().build(SHAPE, 10, Stream::new(seed), &Device::Cpu);
                net.unwrap().with_conv_sums(sums)
            };
            let images = random(Stream::new(seed).at("images"), &[LABELS.len(), 3, 16, 16]);
            let want = reference(&net(ConvSums::Exact), &images);
            [ConvSums::Fast, ConvSums::Exact].map(|sums| error(&net(sums), &images, &want))
        });
        let [fast, exact] = [0, 1].map(|sums| median(errors.map(|errors| errors[sums])));
        assert!(
            exact < 5e-6 && exact < fast && fast < 3.0 * exact,
            "{name}: {fast:e}, not {exact:e}"
        );
    }
}
