//! Contrastive representation distillation.

use candle_core::{DType, Tensor, Var};
use kd_core::{Error, Params, Result};
use serde::{Deserialize, Serialize};

use super::maps::{begin, linear, normalized, own, pooled};
use super::pair::Pair;
use super::rows::{check, with_labels};
use super::{Loss, LossInput};

/// Whose embeddings are meant.
const SIDES: [&str; 2] = ["student", "teacher"];

/// `hard CE + weight (C(s, M_t) + C(t, M_s))`: s and t are embeddings of length 1 of pooled features, by linear
/// maps that are learned; M are memories of the embeddings of all training images. C is noise-contrastive
/// estimation: image i's own embedding in the memory of the other network is told from those of
/// `n_negatives` images of other classes, `-log h(i) - sum log (1 - h(j))` with `h(j) = e / (e + n / N)`, `e =
/// exp(s m_j / tau) / Z`, Z being set by the first batch (Tian et al. 2020, arXiv:1910.10699, eq. 10 and 19).
///
/// The authors draw negatives for each image; here all images of a batch share a draw, of which each leaves
/// its own class out. That makes one matrix product of what would be half a gigabyte of gathered rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Contrastive {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the contrast.
    pub weight: f64,
    /// Numbers of an embedding.
    pub n_dims: usize,
    /// Images that each one is told from, at most.
    pub n_negatives: usize,
    /// Tau, above 0.
    pub temperature: f64,
    /// How much of an embedding the memory keeps when the image comes again, in `[0, 1]`.
    pub momentum: f64,
    /// The parts: `PART` or `STUDENT=TEACHER`.
    pub tap: Pair,
}

impl Default for Contrastive {
    fn default() -> Self {
        Self {
            hard: 1.0,
            weight: 0.8,
            n_dims: 128,
            n_negatives: 16_384,
            temperature: 0.07,
            momentum: 0.5,
            tap: "pooled".into(),
        }
    }
}

impl Loss for Contrastive {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let embeddings = self.embeddings(input)?;
        let rows = Tensor::new(input.indices, input.labels.device())?;
        let negatives = self.negatives(input)?;
        let apart = apart(input, &negatives)?;
        let [own, theirs] = &embeddings;
        let contrast = |embedding: &Tensor, of: usize| {
            let memory = buffer(input.own, SIDES[of])?.as_detached_tensor();
            let positive = (embedding * memory.index_select(&rows, 0)?)?.sum_keepdim(1)?;
            let negative = embedding.matmul(&memory.index_select(&negatives, 0)?.t()?)?;
            self.contrast((&positive, &negative), &apart, (input, of))
        };
        let both = (contrast(own, 1)? + contrast(theirs, 0)?)?;
        self.remember(input, &embeddings)?;
        with_labels(input, self.hard, (both * self.weight)?)
    }

    fn needs_teacher(&self) -> bool {
        true
    }

    fn taps(&self) -> Vec<String> {
        vec![self.tap.student.clone()]
    }

    fn teacher_taps(&self) -> Vec<String> {
        vec![self.tap.teacher.clone()]
    }

    fn own_params(&self, first: &LossInput<'_>) -> Result<Params> {
        let mut params = Params::new();
        let bound = (3.0 / self.n_dims as f64).sqrt() as f32;
        for (side, part) in SIDES.iter().zip(self.tap.of(first)?) {
            let part = pooled(&part)?;
            let (n_in, like) = (part.dims()[1], (&part, first.stream));
            begin(&mut params, (&format!("{side}.weight"), &[self.n_dims, n_in]), n_in, like)?;
            begin(&mut params, (&format!("{side}.bias"), &[self.n_dims]), n_in, like)?;
            let mut rng = first.stream.at("memory").at(side).rng();
            let values = (0..first.n_samples * self.n_dims).map(|_| rng.uniform_in(-bound, bound));
            let memory = Tensor::from_iter(values, part.device())?;
            params.insert_buffer(side, &memory.reshape((first.n_samples, self.n_dims))?)?;
            let unset = Tensor::zeros(1, DType::F32, part.device())?;
            params.insert_buffer(&format!("{side}.norm"), &unset)?;
        }
        let unknown = Tensor::full(-1f32, (first.n_samples, 1), first.logits.device())?;
        params.insert_buffer("labels", &unknown)?;
        Ok(params)
    }

    fn check(&self) -> Result<()> {
        if self.n_dims == 0 || self.n_negatives == 0 || !(0.0..=1.0).contains(&self.momentum) {
            let reason = "n_dims and n_negatives are at least 1, momentum is in [0, 1]";
            return Err(Error::config("contrastive", reason));
        }
        check(&[("hard", self.hard), ("weight", self.weight)], &[self.temperature])
    }
}

impl Contrastive {
    /// Rows of length 1, of student and teacher.
    fn embeddings(&self, input: &LossInput<'_>) -> Result<[Tensor; 2]> {
        let [student, teacher] = self.tap.of(input)?;
        let embed = |part: &Tensor, side: &str| {
            let weight = own(input.own, &format!("{side}.weight"))?;
            let bias = own(input.own, &format!("{side}.bias"))?;
            normalized(&linear(&pooled(part)?, weight)?.broadcast_add(bias)?)
        };
        Ok([embed(&student, SIDES[0])?, embed(&teacher, SIDES[1])?])
    }

    /// Images that all of the batch are told from.
    fn negatives(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let mut rng = input.stream.at("negatives").rng();
        let n = self.n_negatives.min(input.n_samples);
        let drawn: Vec<u32> = (0..n).map(|_| rng.below(input.n_samples as u32)).collect();
        Ok(Tensor::from_vec(drawn, n, input.labels.device())?)
    }

    /// C of products `(N, 1)` with the own image's memory and `(N, n)` with others', of which those at 1 in
    /// `apart` count.
    fn contrast(
        &self,
        (positive, negative): (&Tensor, &Tensor),
        apart: &Tensor,
        (input, of): (&LossInput<'_>, usize),
    ) -> Result<Tensor> {
        let positive = (positive / self.temperature)?.exp()?;
        let negative = (negative / self.temperature)?.exp()?;
        let norm = norm(input, &format!("{}.norm", SIDES[of]), [&positive, &negative])?;
        let (n_images, n) = negative.dims2()?;
        let noise = n as f64 / input.n_samples as f64;
        let likely = |products: Tensor| products.to_dtype(DType::F64)? / norm;
        let positive = likely(positive)?;
        let found = (&positive / (&positive + noise)?)?.log()?.sum_all()?;
        let others = ((likely(negative)? / noise)? + 1.0)?.log()?;
        let others = (others * apart)?.sum_all()?;
        Ok(((others - found)? / n_images as f64)?)
    }

    /// Moves the batch's images in both memories to where they are now.
    fn remember(&self, input: &LossInput<'_>, embeddings: &[Tensor; 2]) -> Result<()> {
        for (side, embedding) in SIDES.iter().zip(embeddings) {
            let memory = buffer(input.own, side)?;
            let rows = Tensor::new(input.indices, memory.device())?;
            let old = memory.as_detached_tensor().index_select(&rows, 0)?;
            let moved = ((old * self.momentum)? + (embedding.detach() * (1.0 - self.momentum))?)?;
            put(memory, input.indices, &normalized(&moved)?)?;
        }
        let labels = input.labels.to_dtype(DType::F32)?.unsqueeze(1)?;
        put(buffer(input.own, "labels")?, input.indices, &labels)
    }
}

/// 1 where an image and one of `negatives` are of two classes, as far as is known, `(N, n)` in f64.
fn apart(input: &LossInput<'_>, negatives: &Tensor) -> Result<Tensor> {
    let theirs = buffer(input.own, "labels")?.as_detached_tensor().index_select(negatives, 0)?;
    let own = input.labels.to_dtype(DType::F32)?.unsqueeze(1)?;
    let dims = (own.dims()[0], theirs.dims()[0]);
    let theirs = theirs.t()?.broadcast_as(dims)?;
    Ok(own.broadcast_as(dims)?.ne(&theirs)?.to_dtype(DType::F64)?)
}

/// Z, which the first batch sets to the mean of what it sees, times the number of images.
fn norm(input: &LossInput<'_>, name: &str, seen: [&Tensor; 2]) -> Result<f64> {
    let kept = buffer(input.own, name)?;
    let known = kept.to_vec1::<f32>()?[0];
    if known > 0.0 {
        return Ok(f64::from(known));
    }
    let mean = Tensor::cat(&seen, 1)?.detach().to_dtype(DType::F64)?.mean_all()?;
    let norm = mean.to_scalar::<f64>()? * input.n_samples as f64;
    kept.set(&Tensor::new(&[norm as f32], kept.device())?)?;
    Ok(f64::from(norm as f32))
}

fn buffer<'p>(own: &'p Params, name: &str) -> Result<&'p Var> {
    let reason = "the objective has no such buffer; make it by `own_params`";
    own.buffer(name).ok_or_else(|| Error::config(name, reason))
}

/// Writes `rows` to the rows `indices` of `memory`.
fn put(memory: &Var, indices: &[u32], rows: &Tensor) -> Result<()> {
    let rows = rows.contiguous()?;
    indices.iter().enumerate().try_for_each(|(i, &index)| {
        Ok(memory.as_detached_tensor().slice_set(&rows.narrow(0, i, 1)?, 0, index as usize)?)
    })
}
