//! Networks that we export, in an engine that shares no code with ours: rten. Behind a cargo feature, so
//! that the other tests need not wait for its build.

#[cfg(test)]
mod tests {
    use std::path::Path;

    use candle_core::{Device, Tensor};
    use kd_core::testing::random;
    use kd_core::{Classifier, Mode, Net, Result, Stream};
    use kd_models::ModelSpec;
    use kd_models::onnx::{ExportInfo, save, save_quantized};
    use kd_models::quantize::{Range, quantize};

    /// One of each family, and the size of its images.
    const NETWORKS: [(&str, [usize; 3]); 15] = [
        ("mlp-30-20", [1, 28, 28]),
        ("papernot-mnist", [1, 28, 28]),
        ("vgg8", [3, 32, 32]),
        ("wrn-16-2", [3, 32, 32]),
        ("resnet8", [3, 32, 32]),
        ("resnet8x4", [3, 32, 32]),
        ("resnet18-w16", [3, 64, 64]),
        ("resnet50-cifar-w16", [3, 32, 32]),
        ("mobilenet-v2-w0.5", [3, 64, 64]),
        ("mobilenet-v2-cifar-w0.5", [3, 32, 32]),
        ("shufflenet-v2-x0.5", [3, 64, 64]),
        ("shufflenet-v1-cifar", [3, 32, 32]),
        ("shufflenet-v2-cifar", [3, 32, 32]),
        ("efficientnet-lite0", [3, 64, 64]),
        ("squeezenet1.1", [3, 64, 64]),
    ];

    fn network(name: &str, image_shape: [usize; 3]) -> Net {
        let graph = ModelSpec::from_name(name).unwrap().as_dyn().graph(image_shape, 10).unwrap();
        let graph =
            graph.normalized(&vec![0.4; image_shape[0]], &vec![0.3; image_shape[0]]).unwrap();
        let net = Net::new(graph, Stream::new(1), &Device::Cpu).unwrap();
        // Statistics of batch norm other than those that it begins with.
        for i in 0..3 {
            net.forward(&images(i, image_shape), Mode::Train(Stream::new(i))).unwrap();
        }
        net
    }

    /// Pixels in `[0, 1]`.
    fn images(seed: u64, [c, h, w]: [usize; 3]) -> Tensor {
        let images = random(Stream::new(100 + seed), &[4, c, h, w]);
        ((images + 1.0).unwrap() / 2.0).unwrap()
    }

    fn theirs(path: &Path, images: &Tensor) -> Vec<f32> {
        let model = rten::Model::load_file(path).unwrap();
        let pixels: Vec<f32> = images.flatten_all().unwrap().to_vec1().unwrap();
        let view = rten::ValueView::from_shape(images.dims(), &pixels).unwrap();
        let logits = model.run_one(view.into(), None).unwrap();
        logits.into_shape_vec::<f32, 2>().unwrap().1
    }

    /// The largest difference between the logits of `net` and of the file that `save` makes of it, as
    /// part of the largest logit.
    fn difference(net: &Net, save: impl FnOnce(&Path) -> Result<()>) -> f32 {
        let folder = tempfile::tempdir().unwrap();
        let (path, images) = (folder.path().join("it.onnx"), images(20, net.graph().image_shape));
        save(&path).unwrap();
        let want = net.forward(&images, Mode::Eval).unwrap().flatten_all().unwrap();
        let (got, want) = (theirs(&path, &images), want.to_vec1::<f32>().unwrap());
        assert_eq!(got.len(), want.len());
        let largest = want.iter().fold(0.0f32, |a, b| a.max(b.abs()));
        got.iter().zip(&want).fold(0.0f32, |a, (g, w)| a.max((g - w).abs())) / largest
    }

    #[test]
    fn logits_agree_to_four_digits() {
        for (name, shape) in NETWORKS {
            let net = network(name, shape);
            let (graph, weights) = (net.graph(), net.params().tensors());
            let far = difference(&net, |path| save(path, graph, &weights, &ExportInfo::default()));
            assert!(far < 1e-4, "{name}: {far}");
        }
    }

    /// Activations that lie between two levels to the last bit may be rounded to another one there.
    #[test]
    fn networks_in_integers_agree_within_a_few_levels() {
        for (name, shape) in [("resnet8", [3, 32, 32]), ("mobilenet-v2-w0.5", [3, 64, 64])] {
            let (net, calibration) = (network(name, shape), [images(10, shape)]);
            let weights = net.params().tensors();
            let quantized = quantize(net.graph(), &weights, &calibration, Range::MinMax).unwrap();
            let (graph, weights) = (quantized.graph.clone(), &quantized.weights);
            let own = Net::with_weights(graph, weights, &Device::Cpu).unwrap();
            let info = ExportInfo::default();
            let far = difference(&own, |path| save_quantized(path, &quantized, &info));
            assert!(far < 0.05, "{name}: {far}");
        }
    }
}
