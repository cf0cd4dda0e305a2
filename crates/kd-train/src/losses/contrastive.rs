//! Contrastive representation distillation.

use candle_core::{DType, Tensor, Var};
use kd_core::math::exp_in_range;
use kd_core::ops::slices;
use kd_core::{Error, Params, Result, vectorized};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::maps::{
    self, begin_projected, buffer, given, here, normalized, pooled, projected, values,
};
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

    /// C of the rows `embedding` in the memory of side `of`.
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
        let positive = (embedding * rows(input.indices)?)?.sum_keepdim(1)?;
        let products = maps::products(embedding, &rows(negatives)?)?;
        let labels = buffer(input.own, "labels")?.flatten_all()?.to_vec1::<f32>()?;
        let label_of: Vec<i32> = negatives.iter().map(|&i| labels[i as usize] as i32).collect();
        let own = values(&positive)?;
        let norm = self.norm(input, of, (&own, &products))?;
        let noise = negatives.len() as f64 / input.n_samples as f64;
        let told = Told { temperature: self.temperature, norm, noise };
        let labels = input.labels.to_vec1::<u32>()?;
        let (parts, of_others) = told.images((&labels, &own), (&here(&products)?, &label_of))?;
        let n = parts.len() as f64;
        let value = parts.iter().map(|part| part.value).sum::<f64>() / n;
        let of_own = parts.iter().map(|part| (part.of_own / n) as f32).collect();
        Ok((given(&products, value, of_others)? + given(&positive, 0.0, of_own)?)?)
    }

    /// Z of the memory of side `of`, which the first batch sets to the mean of what it sees, times the number
    /// of images.
    fn norm(
        &self,
        input: &LossInput<'_>,
        of: usize,
        (positive, products): (&[f64], &Tensor),
    ) -> Result<f64> {
        let kept = buffer(input.own, &format!("{}.norm", SIDES[of]))?;
        let known = kept.to_vec1::<f32>()?[0];
        if known > 0.0 {
            return Ok(f64::from(known));
        }
        let seen = [positive, &values(products)?].concat();
        let likely = seen.iter().map(|product| (product / self.temperature).exp());
        let mean = likely.sum::<f64>() / seen.len() as f64;
        let norm = (mean * input.n_samples as f64) as f32;
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

/// What one image adds, and its slope by the product with its own memory.
struct Part {
    value: f64,
    of_own: f64,
}

impl Told {
    /// What the images of these labels and products with their own memories add; and the slopes of their mean by the
    /// `products` with the others'.
    fn images(
        &self,
        (labels, own): (&[u32], &[f64]),
        (products, label_of): (&Tensor, &[i32]),
    ) -> Result<(Vec<Part>, Vec<f32>)> {
        let (n, n_others) = (labels.len(), label_of.len());
        let mut slopes = vec![0.0; n * n_others];
        let parts = slices::with(products, |products| {
            let rows = slopes.par_chunks_mut(n_others).zip(products.par_chunks(n_others));
            let images = labels.par_iter().zip(own).zip(rows);
            let parts = images.map(|((&label, &own), (slopes, products))| {
                let others = (products, label_of, label as i32);
                vectorized(
                    #[inline(always)]
                    || self.image(own, others, (slopes, n)),
                )
            });
            Ok(parts.collect())
        })?;
        Ok((parts, slopes))
    }

    /// One of n images. The logarithms of several odds are one, of their product.
    #[inline(always)]
    fn image(
        &self,
        own: f64,
        (products, label_of, label): (&[f32], &[i32], i32),
        (slopes, n): (&mut [f32], usize),
    ) -> Part {
        let scale = 1.0 / (self.norm * self.noise);
        let odds = |product: f64| exp(product / self.temperature) * scale;
        let others = products.iter().zip(label_of);
        let others: Vec<f64> = others
            .map(|(product, other)| if *other == label { 0.0 } else { odds(f64::from(*product)) })
            .collect();
        let rate = 1.0 / (self.temperature * n as f64);
        for (slope, odds) in slopes.iter_mut().zip(&others) {
            *slope = (odds / (1.0 + odds) * rate) as f32;
        }
        let several = others.chunks(N_TOGETHER);
        let logs = several.map(|odds| odds.iter().map(|odds| 1.0 + odds).product::<f64>().ln());
        let own = odds(own);
        Part {
            value: (1.0 / own).ln_1p() + logs.sum::<f64>(),
            of_own: -1.0 / (1.0 + own) / self.temperature,
        }
    }
}

/// Odds of which one logarithm is taken: the product of so many is finite.
const N_TOGETHER: usize = 4;

/// `e^x` within 3e-7, x being brought into `[-87, 88]`, where what is told is certain.
#[inline(always)]
fn exp(x: f64) -> f64 {
    let x = x.clamp(-87.0, 88.0);
    let near = x as f32;
    f64::from(exp_in_range(near)) * (1.0 + (x - f64::from(near)))
}

/// Writes `rows` to the rows `indices` of `memory`.
fn put(memory: &Var, indices: &[u32], rows: &Tensor) -> Result<()> {
    let rows = rows.contiguous()?;
    indices.iter().enumerate().try_for_each(|(i, &index)| {
        Ok(memory.as_detached_tensor().slice_set(&rows.narrow(0, i, 1)?, 0, index as usize)?)
    })
}
