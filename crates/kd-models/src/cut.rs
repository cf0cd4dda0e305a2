//! Students that are the beginning of their teacher.
//!
//! Key decision: what is kept keeps its names, so that the teacher's weights load by name; what is
//! new has names that the teacher lacks, so that none of its weights ends there.

use candle_core::Device;
use kd_core::graph::{Counts, IMAGES, Node};
use kd_core::ops::{Flatten, GlobalAvgPool, Linear, Op};
use kd_core::{Classifier, Error, Graph, Net, Result, Stream};

use crate::Weights;

/// Where a network can be cut: all that reaches its output goes through this node alone.
#[derive(Debug, Clone, PartialEq)]
pub struct CutPoint {
    /// The node that would be the last of the teacher's.
    pub node: String,
    /// The shape of its output.
    pub shape: Vec<usize>,
    /// The size of the student, its head included.
    pub counts: Counts,
}

impl CutPoint {
    /// Whether a cut at `later` has as many multiply-adds and an output of the same shape.
    fn costs_as(&self, later: &Self) -> bool {
        self.counts.multiply_adds == later.counts.multiply_adds && self.shape == later.shape
    }
}

/// The student that is `teacher` up to the node `node`, the mean over all pixels where that is a map of
/// features, and a linear layer to `n_classes` logits.
///
/// Only what the node needs is kept, under its names. The layer that is new is called `cut.head`, with
/// underscores behind it where the teacher has such a node.
///
/// # Errors
/// [`Error::Config`] when there is no such node, or when it gives neither a map of features nor a vector.
pub fn cut(teacher: &Graph, node: &str, n_classes: usize) -> Result<Graph> {
    let is_map = teacher.shapes()?.get(node).len() == 3;
    let mut student = teacher.cut(node)?;
    if is_map {
        student.then(unused(teacher, "cut.mean"), GlobalAvgPool {});
        student.then(unused(teacher, "cut.pool"), Flatten {});
    }
    student.then(unused(teacher, "cut.head"), Linear::new(n_classes));
    student.shapes()?;
    Ok(student)
}

/// The student of most layers whose multiply-adds are at most `share` of the teacher's: [`cut`] at the
/// last of [`cut_points`] for which that holds, the head included.
///
/// # Errors
/// [`Error::Config`] for a share outside `(0, 1]`, and when even the smallest student has more.
pub fn cut_within(teacher: &Graph, share: f64, n_classes: usize) -> Result<Graph> {
    if !(share > 0.0 && share <= 1.0) {
        return Err(Error::config("macs", format!("{share} is not a share in (0, 1]")));
    }
    let most = share * teacher.counts()?.multiply_adds as f64;
    let points = cut_points(teacher, n_classes)?;
    let macs = |point: &CutPoint| point.counts.multiply_adds;
    let Some(last) = points.iter().rfind(|point| macs(point) as f64 <= most) else {
        let reason = match points.iter().min_by_key(|point| macs(point)) {
            Some(least) => format!(
                "{share} of the teacher's are {most:.0} multiply-adds; the smallest student, cut at `{}`, has {}",
                least.node,
                macs(least)
            ),
            None => "the teacher can be cut nowhere: its paths join only at its output".into(),
        };
        return Err(Error::config("macs", reason));
    };
    cut(teacher, &last.node, n_classes)
}

/// `graph` with a head for `n_classes` classes, and the head's name: its last layer gives as many logits.
///
/// # Errors
/// [`Error::Config`] when the last layer with parameters is neither linear nor a convolution, or does not
/// give the logits.
pub fn with_classes(graph: &Graph, n_classes: usize) -> Result<(Graph, String)> {
    let name = head(graph)?.name.clone();
    let mut graph = graph.clone();
    let layer = graph.nodes.iter_mut().find(|node| node.name == name);
    match layer.map(|node| &mut node.op) {
        Some(Op::Linear(linear)) => linear.out_features = n_classes,
        Some(Op::Conv2d(conv)) => conv.out_channels = n_classes,
        _ => {
            let reason = format!("the head `{name}` is neither a linear layer nor a convolution");
            return Err(Error::config("classes", reason));
        }
    }
    match graph.n_classes()? {
        n if n == n_classes => Ok((graph, name)),
        n => {
            let reason = format!("the last layer `{name}` does not give the logits, {n} in all");
            Err(Error::config("classes", reason))
        }
    }
}

/// The last node that has parameters.
///
/// # Errors
/// [`Error::Config`] when there is none.
pub fn head(graph: &Graph) -> Result<&Node> {
    let shapes = graph.shapes()?;
    let has_params = |node: &&Node| !node.op.as_dyn().params(&shapes.inputs(node)).is_empty();
    let last = graph.nodes.iter().rfind(has_params);
    last.ok_or_else(|| Error::config("classes", "this network has no parameters"))
}

/// Where `teacher` can be cut, with weights of its own before the cut and layers left out after it, in
/// the order in which it computes; with the size of a student of `n_classes` classes.
///
/// A node within a residual block is none of them, since the shortcut goes past it; of a convolution,
/// its batch norm and its activation the last one is.
///
/// # Errors
/// Those of [`Graph::shapes`].
pub fn cut_points(teacher: &Graph, n_classes: usize) -> Result<Vec<CutPoint>> {
    let shapes = teacher.shapes()?;
    let network = teacher.cut(&teacher.output)?;
    let mut points = Vec::new();
    for node in bottlenecks(&network) {
        let student = cut(teacher, &node.name, n_classes)?;
        if teacher.cut(&node.name)?.counts()?.parameters > 0 {
            let (node, shape) = (node.name.clone(), shapes.get(&node.name).to_vec());
            let point = CutPoint { node, shape, counts: student.counts()? };
            // A norm or an activation costs nothing more than what is before it.
            points.pop_if(|last: &mut CutPoint| last.costs_as(&point));
            points.push(point);
        }
    }
    Ok(points)
}

/// The network of `graph` with `weights` where names and shapes agree, and initial values from
/// `stream` elsewhere.
///
/// # Errors
/// Those of [`Net::new`].
pub fn inherit(graph: Graph, weights: &Weights, stream: Stream, device: &Device) -> Result<Net> {
    let mut values = Net::new(graph.clone(), stream, device)?.params().tensors();
    take_over(&mut values, weights);
    Net::with_weights(graph, &values, device)
}

/// Makes `values` those of `weights` where names and shapes agree; gives the names of the others.
pub fn take_over(values: &mut Weights, weights: &Weights) -> Vec<String> {
    let mut others = Vec::new();
    for (name, value) in values {
        match weights.get(name).filter(|known| known.dims() == value.dims()) {
            Some(known) => value.clone_from(known),
            None => others.push(name.clone()),
        }
    }
    others
}

/// Nodes that nothing goes past, but the last one. No node of `network` is without effect.
fn bottlenecks(network: &Graph) -> Vec<&Node> {
    let last_read =
        |name: &str| network.nodes.iter().rposition(|n| n.inputs.iter().any(|i| i == name));
    let mut furthest = last_read(IMAGES);
    let mut found = Vec::new();
    for (i, node) in network.nodes.iter().enumerate() {
        if furthest <= Some(i) && node.name != network.output {
            found.push(node);
        }
        furthest = furthest.max(last_read(&node.name));
    }
    found
}

/// `name`, or with an underscore more for each time that a node of `graph` has it.
fn unused(graph: &Graph, name: &str) -> String {
    let mut name = name.to_owned();
    while graph.node(&name).is_some() {
        name.push('_');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelSpec;
    use candle_core::Tensor;
    use kd_core::Mode;
    use kd_core::ops::{Add, Conv2d};
    use kd_core::testing::random;

    fn teacher(name: &str) -> Graph {
        ModelSpec::from_name(name).unwrap().as_dyn().graph([3, 32, 32], 10).unwrap()
    }

    fn nodes(points: &[CutPoint]) -> Vec<&str> {
        points.iter().map(|point| point.node.as_str()).collect()
    }

    /// conv (3 -> 4, 1x1, 4x4 pixels), a block `a + b(a)`, conv (4 -> 2), pool, head.
    fn by_hand() -> Graph {
        let mut graph = Graph::new([3, 4, 4]);
        let a = graph.then("a", Conv2d::new(4, 1));
        let b = graph.then("b", Conv2d::new(4, 1));
        graph.push("never.read", Conv2d::new(9, 1), &[&a]);
        graph.push("sum", Add {}, &[&a, &b]);
        graph.then("c", Conv2d::new(2, 1));
        graph.then("pool", GlobalAvgPool {});
        graph.then("flat", Flatten {});
        graph.then("fc", Linear::new(5));
        graph
    }

    #[test]
    fn points_are_where_all_paths_meet_with_sizes_by_hand() {
        let points = cut_points(&by_hand(), 7).unwrap();
        assert_eq!(nodes(&points), ["a", "sum", "c", "pool", "flat"]);
        let sizes = points.iter().map(|p| (p.counts.multiply_adds, p.counts.parameters));
        let want = [
            (16 * 12 + 4 * 7, 12 + 28 + 7),
            (16 * (12 + 16) + 4 * 7, 28 + 28 + 7),
            (16 * (12 + 16 + 8) + 2 * 7, 36 + 14 + 7),
            (16 * (12 + 16 + 8) + 2 * 7, 36 + 14 + 7),
            (16 * (12 + 16 + 8) + 2 * 7, 36 + 14 + 7),
        ];
        assert_eq!(sizes.collect::<Vec<_>>(), want);
        assert_eq!(points[1].shape, [4, 4, 4]);
        assert_eq!(points[4].shape, [2]);
    }

    #[test]
    fn the_last_point_within_the_budget_is_taken() {
        let teacher = by_hand();
        let whole = teacher.counts().unwrap().multiply_adds as f64;
        let last = |share: f64| cut_within(&teacher, share, 7).unwrap().nodes[..].to_vec();
        let kept = |share| last(share).iter().filter(|n| !n.name.starts_with("cut.")).count();
        // Of 586 multiply-adds, not counting the node that is never read.
        let at = |macs: f64| macs / whole;
        assert_eq!(
            [at(220.0), at(475.9), at(476.0), at(589.0), at(590.0)].map(kept),
            [1, 1, 3, 3, 6]
        );
        for share in [0.0, -1.0, 1.5, f64::NAN] {
            assert!(cut_within(&teacher, share, 7).is_err());
        }
        let error = cut_within(&teacher, 0.01, 7).unwrap_err().to_string();
        assert!(error.contains("cut at `a`, has 220"), "{error}");
    }

    #[test]
    fn residual_blocks_and_bottlenecks_are_cut_between_them() {
        let resnet = cut_points(&teacher("resnet18-cifar-w16"), 10).unwrap();
        let resnet = nodes(&resnet);
        assert!(resnet.contains(&"stem") && resnet.contains(&"layer2") && resnet.contains(&"pool"));
        assert!(!resnet.contains(&"layer1.0.relu1") && !resnet.contains(&"layer2.0.downsample.1"));
        let mobile = cut_points(&teacher("mobilenet-v2-w0.5"), 10).unwrap();
        let mobile = nodes(&mobile);
        assert!(mobile.contains(&"features.3.add") && mobile.contains(&"features.2.conv.1.2"));
        assert!(!mobile.contains(&"features.2.conv.1.0"));
        assert!(!mobile.contains(&"features.3.conv.2"));
    }

    #[test]
    fn a_student_has_the_teachers_features_and_a_head_of_its_own() {
        let device = Device::Cpu;
        let teacher = Net::new(teacher("resnet8"), Stream::new(1), &device).unwrap();
        let weights = teacher.params().tensors();
        let graph = cut(teacher.graph(), "layer2", 3).unwrap();
        let student = inherit(graph.clone(), &weights, Stream::new(2), &device).unwrap();
        let images = random(Stream::new(3), &[2, 3, 32, 32]);
        let tapped = |net: &Net| {
            net.forward_with_taps(&images, Mode::Eval, &["layer2"]).unwrap().1["layer2"].clone()
        };
        let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(&tapped(&teacher)), values(&tapped(&student)));
        assert_eq!(student.forward(&images, Mode::Eval).unwrap().dims(), [2, 3]);
        let head = |net: &Net| values(&net.params().tensors()["cut.head.weight"]);
        let other = inherit(graph.clone(), &weights, Stream::new(4), &device).unwrap();
        let again = inherit(graph, &weights, Stream::new(2), &device).unwrap();
        assert_eq!(head(&student), head(&again));
        assert_ne!(head(&student), head(&other));
    }

    #[test]
    fn a_student_can_be_cut_again_and_wrong_nodes_are_refused() {
        let first = cut(&by_hand(), "sum", 4).unwrap();
        let second = cut(&first, "cut.pool", 6).unwrap();
        assert_eq!(second.output, "cut.head_");
        assert_eq!(second.n_classes().unwrap(), 6);
        let error = cut(&first, "nothing", 4).unwrap_err().to_string();
        assert_eq!(error, "`nothing`: the network has no node of this name");
        assert!(cut(&first, "sum", 0).is_err());
    }
}
