//! The networks that trainings begin with, as ONNX files among what the shipment is made by.

use std::path::{Path, PathBuf};

use candle_core::Device;
use kd_core::{Classifier, Error, Graph, Net, Result, Stream};
use kd_models::onnx::{self, ExportInfo};
use kd_models::{ModelSpec, OnnxFile, inherit, with_classes};
use kd_suite::weights::{self, Wanted};

use crate::folder::Folder;
use crate::{StudentKind, Teacher};

/// A network before its first step.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    /// As suites name it.
    pub(crate) model: ModelSpec,
    /// What it computes.
    pub(crate) graph: Graph,
}

impl Start {
    /// Multiply-adds of one image.
    pub(crate) fn multiply_adds(&self) -> Result<u64> {
        Ok(self.graph.counts()?.multiply_adds)
    }
}

/// The teacher as it comes.
pub(crate) fn teacher(teacher: &Teacher) -> Result<Net> {
    let file = &teacher.network;
    let wanted = Wanted {
        normalize: teacher.normalize.as_ref(),
        image_shape: file.model.as_ref().map(|_| [3, 224, 224]),
        only_weights: true,
        ..file.wanted()
    };
    let loaded = weights::load_aloud(&file.path, &wanted, &Device::Cpu)?;
    let shape @ [_, height, width] = loaded.network.graph().image_shape;
    if height != width {
        let reason = format!("the teacher takes images of {shape:?}; square ones are needed");
        return Err(Error::config("teacher", reason));
    }
    Ok(loaded.network)
}

/// The teacher with a head for `n_classes` classes, and the head's name: its own where it has as many.
pub(crate) fn with_head(
    teacher: &Net,
    n_classes: usize,
    folder: &Folder,
) -> Result<(Start, String)> {
    let (graph, head) = with_classes(teacher.graph(), n_classes)?;
    Ok((start(teacher, graph, &folder.work("teacher.onnx"))?, head))
}

/// Multiply-adds of the student of `kind` of a teacher like `teacher`.
pub(crate) fn multiply_adds(kind: &StudentKind, teacher: &Graph) -> Result<u64> {
    Ok(graph(kind, teacher)?.counts()?.multiply_adds)
}

fn graph(kind: &StudentKind, teacher: &Graph) -> Result<Graph> {
    let n_classes = teacher.n_classes()?;
    match kind {
        StudentKind::Part(part) => part.of(teacher, n_classes),
        StudentKind::Network(model) => {
            weights::graph(model, (teacher.image_shape, n_classes), teacher.normalization())
        }
    }
}

/// The student of `kind`, with its teacher's weights where it is cut from it.
pub(crate) fn student(kind: &StudentKind, teacher: &Net, folder: &Folder) -> Result<Start> {
    let graph = graph(kind, teacher.graph())?;
    match kind {
        StudentKind::Network(model) => Ok(Start { model: model.clone(), graph }),
        _ => start(teacher, graph, &folder.work(&format!("{}.onnx", kind.name()))),
    }
}

/// `graph` with what weights of `from` it has room for, written to `path`.
fn start(from: &Net, graph: Graph, path: &Path) -> Result<Start> {
    let net = inherit(graph, &from.params().tensors(), Stream::new(0).at("init"), &Device::Cpu)?;
    onnx::save(path, net.graph(), &net.params().tensors(), &ExportInfo::default())?;
    let file: PathBuf = path.into();
    let model = ModelSpec::Onnx(OnnxFile { file });
    let graph = model.as_dyn().graph(net.graph().image_shape, net.n_classes())?;
    Ok(Start { model, graph })
}
