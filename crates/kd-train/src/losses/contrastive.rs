//! Contrastive representation distillation.

use candle_core::{DType, Tensor, Var};
use kd_core::{Error, Params, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::maps::{self, begin_projected, buffer, given, normalized, pooled, projected, values};
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
        let negatives = self.negatives(input);
        let [own, theirs] = &embeddings;
        let both = (self.contrast(input, (own, 1), &negatives)?
            + self.contrast(input, (theirs, 0), &negatives)?)?;
        self.remember(input, &embeddings)?;
        with_labels(input, self.hard, (both * self.weight)?)
    }

    fn pairs(&self) -> &[Pair] {
        std::slice::from_ref(&self.tap)
    }

    fn own_params(&self, first: &LossInput<'_>) -> Result<Params> {
        let mut params = Params::new();
        let bound = (3.0 / self.n_dims as f64).sqrt() as f32;
        for (side, part) in SIDES.iter().zip(self.tap.of(first)?) {
            let part = pooled(&part)?;
            let like = (&part, first.stream);
            begin_projected(&mut params, &format!("{side}."), self.n_dims, like)?;
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
            normalized(&projected(&pooled(part)?, input.own, &format!("{side}."))?)
        };
        Ok([embed(&student, SIDES[0])?, embed(&teacher, SIDES[1])?])
    }

    /// Images that all of the batch are told from.
    fn negatives(&self, input: &LossInput<'_>) -> Vec<u32> {
        let mut rng = input.stream.at("negatives").rng();
        let n = self.n_negatives.min(input.n_samples);
        (0..n).map(|_| rng.below(input.n_samples as u32)).collect()
    }

    /// C of the rows `embedding` in the memory of side `of`, with its gradient.
    fn contrast(
        &self,
        input: &LossInput<'_>,
        (embedding, of): (&Tensor, usize),
        negatives: &[u32],
    ) -> Result<Tensor> {
        let memory = buffer(input.own, SIDES[of])?.as_detached_tensor();
        let rows = |indices: &[u32]| {
            Result::Ok(memory.index_select(&Tensor::new(indices, memory.device())?, 0)?)
        };
        let (own, others) = (rows(input.indices)?, rows(negatives)?);
        let constant = embedding.detach();
        let positive = values(&(&constant * &own)?.sum_keepdim(1)?)?;
        let products = values(&maps::products(&constant, &others)?)?;
        let labels = buffer(input.own, "labels")?.flatten_all()?.to_vec1::<f32>()?;
        let label_of: Vec<f32> = negatives.iter().map(|&i| labels[i as usize]).collect();
        let norm = self.norm(input, of, [&positive, &products])?;
        let noise = negatives.len() as f64 / input.n_samples as f64;
        let told = Told { temperature: self.temperature, norm, noise };
        let images = input.labels.to_vec1::<u32>()?;
        let images = images.par_iter().zip(&positive).zip(products.par_chunks(negatives.len()));
        let parts: Vec<Part> =
            images.map(|((&label, own), row)| told.image(label, *own, (row, &label_of))).collect();
        let n = parts.len() as f64;
        let value = parts.iter().map(|part| part.value).sum::<f64>() / n;
        let slopes: Vec<f64> =
            parts.iter().flat_map(|part| &part.of_others).map(|g| g / n).collect();
        let slopes = Tensor::from_vec(slopes, (parts.len(), negatives.len()), memory.device())?;
        let of_own: Vec<f64> = parts.iter().map(|part| part.of_own / n).collect();
        let of_own = Tensor::from_vec(of_own, (parts.len(), 1), memory.device())?;
        let grad = maps::products(&slopes, &others.t()?)?.to_dtype(DType::F64)?;
        let grad = (grad + own.to_dtype(DType::F64)?.broadcast_mul(&of_own)?)?;
        given(embedding, value, grad.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?)
    }

    /// Z of the memory of side `of`, which the first batch sets to the mean of what it sees, times the number
    /// of images.
    fn norm(&self, input: &LossInput<'_>, of: usize, seen: [&[f64]; 2]) -> Result<f64> {
        let kept = buffer(input.own, &format!("{}.norm", SIDES[of]))?;
        let known = kept.to_vec1::<f32>()?[0];
        if known > 0.0 {
            return Ok(f64::from(known));
        }
        let likely = seen.concat().into_iter().map(|product| (product / self.temperature).exp());
        let n = seen[0].len() + seen[1].len();
        let norm = (likely.sum::<f64>() / n as f64 * input.n_samples as f64) as f32;
        kept.set(&Tensor::new(&[norm], kept.device())?)?;
        Ok(f64::from(norm))
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

/// How an image's own embedding is told from others.
struct Told {
    temperature: f64,
    norm: f64,
    noise: f64,
}

/// What one image adds, and its slopes by the products with its own memory and with the others'.
struct Part {
    value: f64,
    of_own: f64,
    of_others: Vec<f64>,
}

impl Told {
    fn image(&self, label: u32, own: f64, (others, labels): (&[f64], &[f32])) -> Part {
        let likely = |product: f64| (product / self.temperature).exp() / self.norm;
        let own = likely(own);
        let mut value = (self.noise / own).ln_1p();
        let of_own = -self.noise / (own + self.noise) / self.temperature;
        let of_others = others.iter().zip(labels).map(|(product, other)| {
            // Labels are whole numbers, and unknown ones are negative.
            if *other >= 0.0 && *other as u32 == label {
                return 0.0;
            }
            let other = likely(*product);
            value += (other / self.noise).ln_1p();
            other / (other + self.noise) / self.temperature
        });
        let of_others = of_others.collect();
        Part { value, of_own, of_others }
    }
}

/// Writes `rows` to the rows `indices` of `memory`.
fn put(memory: &Var, indices: &[u32], rows: &Tensor) -> Result<()> {
    let rows = rows.contiguous()?;
    indices.iter().enumerate().try_for_each(|(i, &index)| {
        Ok(memory.as_detached_tensor().slice_set(&rows.narrow(0, i, 1)?, 0, index as usize)?)
    })
}
