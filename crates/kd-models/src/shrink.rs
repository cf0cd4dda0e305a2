//! Students that are their teacher on smaller images.
//!
//! Key decision: the images stay as they are, and the student makes them smaller itself. So teacher and
//! student learn from the same pixels, and whoever uses the student need not know.

use kd_core::graph::{IMAGES, Node};
use kd_core::ops::{AvgPool, Op};
use kd_core::{Error, Graph, Result};

/// `teacher` on images whose sides are `factor` times smaller, each pixel the mean of `factor` x `factor`;
/// with all of its layers, so that all of its weights fit. Multiply-adds go down with about the square
/// of `factor`; most networks with a mean over all pixels before their head stay good (Touvron et al.
/// 2019, arXiv:1906.06423, on what that does to accuracy).
///
/// # Errors
/// [`Error::Config`] for a factor below 2, and when the network takes images of one size only or these are
/// too small for it.
pub fn shrink(teacher: &Graph, factor: usize) -> Result<Graph> {
    if factor < 2 {
        return Err(Error::config("shrink", format!("{factor}: at least 2 makes images smaller")));
    }
    let mut student = teacher.clone();
    // Behind the normalization, which stays the first node.
    let first = teacher
        .nodes
        .iter()
        .position(|node| matches!(node.op, Op::Normalize(_)) && node.inputs == [IMAGES]);
    let read = first.map_or(IMAGES, |i| teacher.nodes[i].name.as_str());
    let mut name = "shrink".to_owned();
    while teacher.node(&name).is_some() {
        name.push('_');
    }
    let inputs = student.nodes.iter_mut().flat_map(|node| node.inputs.iter_mut());
    inputs.filter(|input| *input == read).for_each(|input| input.clone_from(&name));
    let pool = Node { name, op: AvgPool::new(factor, factor).into(), inputs: vec![read.into()] };
    student.nodes.insert(first.map_or(0, |i| i + 1), pool);
    let same_weights = student.param_shapes().and_then(|own| Ok(own == teacher.param_shapes()?));
    match same_weights {
        Ok(true) => Ok(student),
        _ => {
            let reason = format!(
                "the network does not take images {factor} times smaller: a layer is for one size only"
            );
            Err(Error::config("shrink", reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};
    use kd_core::{Classifier, Mode, Net, Stream};

    use super::*;
    use crate::ModelSpec;

    fn teacher(name: &str, side: usize) -> Graph {
        let model = ModelSpec::from_name(name).unwrap();
        let graph = model.as_dyn().graph([3, side, side], 5).unwrap();
        graph.normalized(&[0.4, 0.5, 0.6], &[0.2, 0.3, 0.4]).unwrap()
    }

    fn logits(graph: Graph, weights: &crate::Weights, images: &Tensor) -> Vec<f32> {
        let net = Net::with_weights(graph, weights, &Device::Cpu).unwrap();
        net.forward(images, Mode::Eval).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Normalizing commutes with taking means: the student sees what its teacher sees of smaller images.
    #[test]
    fn it_says_of_large_images_what_its_teacher_says_of_small_ones() {
        let large = shrink(&teacher("resnet8", 32), 2).unwrap();
        let net = Net::new(large.clone(), Stream::new(1), &Device::Cpu).unwrap();
        let weights = net.params().tensors();
        let mut rng = Stream::new(2).rng();
        let pixels: Vec<f32> = (0..2 * 3 * 32 * 32).map(|_| 0.5 + 0.1 * rng.normal()).collect();
        let images = Tensor::from_vec(pixels, (2, 3, 32, 32), &Device::Cpu).unwrap();
        let small = images.avg_pool2d(2).unwrap();
        let (own, theirs) = (
            logits(large.clone(), &weights, &images),
            logits(teacher("resnet8", 16), &weights, &small),
        );
        for (own, theirs) in own.iter().zip(&theirs) {
            assert!((own - theirs).abs() < 1e-5, "{own} {theirs}");
        }
        assert_eq!(large.normalization(), teacher("resnet8", 32).normalization());
        let [whole, quarter] =
            [teacher("resnet8", 32), large].map(|g| g.counts().unwrap().multiply_adds);
        assert!((whole as f64 / quarter as f64 - 4.0).abs() < 0.05);
    }

    #[test]
    fn layers_for_one_size_are_refused() {
        let error = shrink(&teacher("mlp-20", 8), 2).unwrap_err().to_string();
        assert!(error.contains("one size only"), "{error}");
        assert!(shrink(&teacher("resnet8", 32), 1).is_err());
    }
}
