//! Parts of networks by what they are, for objectives that compare two networks.

use super::{Graph, IMAGES};
use crate::Result;
use crate::ops::Op;

impl Graph {
    /// The ends of the network's stages by name, and the nodes that they are.
    ///
    /// `stage:1`, `stage:2` and so on are the last maps of each size, the largest first, without those
    /// that are a single place wide; `stage:last` is the last of them; `pooled` is what the last linear
    /// layer reads, its dropout aside. A ResNet-8 and a ResNet-56 have the same ones.
    ///
    /// # Errors
    /// Those of [`Graph::shapes`].
    pub fn stages(&self) -> Result<Vec<(String, &str)>> {
        let shapes = self.shapes()?;
        let mut ends: Vec<([usize; 2], &str)> = Vec::new();
        for node in self.nodes.iter().filter(|node| !matches!(node.op, Op::Normalize(_))) {
            let [_, height, width] = *shapes.get(&node.name) else { continue };
            let size = [height, width];
            match ends.iter_mut().find(|(known, _)| *known == size) {
                Some((_, end)) => *end = &node.name,
                None if height * width > 1 => ends.push((size, &node.name)),
                None => {}
            }
        }
        let named = ends.iter().enumerate().map(|(i, (_, end))| (format!("stage:{}", i + 1), *end));
        let mut stages: Vec<_> = named.collect();
        stages.extend(ends.last().map(|(_, end)| ("stage:last".to_owned(), *end)));
        stages.extend(self.pooled().map(|pooled| ("pooled".to_owned(), pooled)));
        Ok(stages)
    }

    /// What the last linear layer reads.
    fn pooled(&self) -> Option<&str> {
        let last = self.nodes.iter().rev().find(|node| matches!(node.op, Op::Linear(_)))?;
        let mut input = last.inputs.first()?;
        while let Some(node) = self.node(input)
            && matches!(node.op, Op::Dropout(_))
        {
            input = node.inputs.first()?;
        }
        Some(input.as_str()).filter(|input| *input != IMAGES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Conv2d, Dropout, Flatten, GlobalAvgPool, Linear, MaxPool, Relu};

    #[test]
    fn stages_end_where_maps_become_smaller() {
        let mut graph = Graph::new([3, 8, 8]);
        graph.then("stem", Conv2d::new(4, 3).padding(1));
        graph.then("relu", Relu {});
        graph.then("half", MaxPool::new(2, 2, 0));
        graph.then("conv", Conv2d::new(6, 1));
        graph.then("pool", GlobalAvgPool {});
        graph.then("flatten", Flatten {});
        graph.then("drop", Dropout { p: 0.5, stream: None });
        graph.then("fc", Linear::new(5));
        let stages = graph.stages().unwrap();
        let want = [
            ("stage:1", "relu"),
            ("stage:2", "conv"),
            ("stage:last", "conv"),
            ("pooled", "flatten"),
        ];
        assert_eq!(stages, want.map(|(name, node)| (name.to_owned(), node)));
    }

    #[test]
    fn a_network_without_maps_has_what_its_head_reads() {
        let mut graph = Graph::new([1, 2, 2]);
        graph.then("flatten", Flatten {});
        graph.then("hidden", Linear::new(3));
        graph.then("relu", Relu {});
        graph.then("fc", Linear::new(5));
        assert_eq!(graph.stages().unwrap(), [("pooled".to_owned(), "relu")]);
    }
}
