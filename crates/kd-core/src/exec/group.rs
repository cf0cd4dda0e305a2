//! Nodes of a graph that are computed in one step.

use super::blocks::{Block, ConvBlock, LinearBlock, NormBlock, SumBlock};
use crate::act::Clamp;
use crate::ops::conv2d::kept::Kept;
use crate::ops::step::Weight;
use crate::ops::{BatchNorm, Conv2d, ConvSums, Dropout, Op};

/// How convolutions compute.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Convolutions {
    pub(super) sums: ConvSums,
    /// Whether the weights change no more.
    pub(super) are_fixed: bool,
}

/// An activation and the shape in which it is read: `[C, H, W]` or `[F]`.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) act: usize,
    pub(super) shape: Vec<usize>,
}

/// Nodes that are joined, before it is known what joins them further.
pub(super) struct Group {
    pub(super) head: Head,
    /// Number of the last node, whose output is the group's.
    pub(super) tail: usize,
    pub(super) inputs: Vec<Place>,
    pub(super) weights: Vec<Weight>,
    pub(super) rests: bool,
    pub(super) residual: bool,
    pub(super) clamp: Option<Clamp>,
    pub(super) map: Option<Op>,
    pub(super) dropout: Option<Dropout>,
    /// What is added to each input of a linear layer.
    pub(super) shift: Option<f32>,
}

/// What a group begins with.
pub(super) enum Head {
    Conv { conv: Conv2d, norm: Option<BatchNorm> },
    Norm(BatchNorm),
    Linear,
    Sum,
    Other(Op),
}

impl Head {
    fn of(op: &Op) -> Self {
        match op {
            Op::Conv2d(conv) => Self::Conv { conv: conv.clone(), norm: None },
            Op::BatchNorm(norm) => Self::Norm(*norm),
            Op::Linear(_) => Self::Linear,
            Op::Add(_) => Self::Sum,
            other => Self::Other(other.clone()),
        }
    }
}

impl Group {
    pub(super) fn new(op: &Op, tail: usize) -> Self {
        Self {
            head: Head::of(op),
            tail,
            inputs: Vec::new(),
            weights: Vec::new(),
            rests: false,
            residual: false,
            clamp: None,
            map: None,
            dropout: None,
            shift: None,
        }
    }

    pub(super) fn block(self, convolutions: Convolutions) -> Box<dyn Block> {
        let (residual, clamp) = (self.residual, self.clamp.unwrap_or(Clamp::NONE));
        match self.head {
            Head::Conv { conv, norm } => Box::new(ConvBlock {
                conv: conv.conv(),
                sums: convolutions.sums,
                kept: convolutions.are_fixed.then(Kept::default),
                bias: conv.bias,
                norm,
                residual,
                clamp,
                map: self.map,
            }),
            Head::Norm(norm) => Box::new(NormBlock { norm, residual, clamp }),
            Head::Linear => {
                let (relu, dropout) = (self.clamp.is_some(), self.dropout);
                Box::new(LinearBlock { relu, dropout, shift: self.shift })
            }
            Head::Sum => Box::new(SumBlock { clamp }),
            Head::Other(op) => Box::new(op),
        }
    }
}
