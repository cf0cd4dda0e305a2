//! A network that learns: one step of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Tensor;
use kd_core::ops::OptimizerSpec;
use kd_core::{Classifier, Error, Mode, Params, Perturb, Result, Stream};
use serde::{Deserialize, Serialize};

use crate::choice::Choice;
use crate::losses::{Loss, LossInput, View};
use crate::optimizer::{Optimize, Optimizer};
use crate::own::Own;
use crate::prepared::Prepared;
use crate::tally::{Tally, Unread};
use crate::teacher::Said;

/// A network with its objective and its optimizer.
pub struct Student {
    /// Name within the cohort, such as `alpha0.5-t5`.
    pub name: String,
    /// The network.
    pub model: Arc<dyn Classifier>,
    /// The objective.
    pub loss: Box<dyn Loss>,
    /// For adversarial training: the attack that changes each batch first.
    pub perturb: Option<Box<dyn Perturb>>,
    /// The optimizer.
    pub optimizer: Box<dyn Optimize>,
    /// The rule by which what the objective learns itself follows its gradients.
    pub(crate) own_optimizer: OptimizerSpec,
    /// What the objective learns itself, from the first step on.
    pub(crate) own: Option<Own>,
    /// Steps that it has made.
    pub(crate) n_steps: u64,
    /// Images that it has learned from in the epochs that have ended.
    pub(crate) n_images: u64,
    /// On a GPU: what it made of the batches that are not yet in the tallies.
    unread: Option<Unread>,
    /// What it made of the batches of the current epoch.
    pub(crate) epoch: Tally,
    /// What it made of the batches since the last point of its learning curve.
    pub(crate) point: Tally,
    /// Best accuracy on the test set so far, and the first epoch that reached it.
    pub(crate) best: Best,
    /// The epoch that the held-out images choose.
    pub(crate) choice: Choice,
    /// Whether it has stopped before the last epoch.
    pub(crate) rests: bool,
    /// Whether its loss was not finite.
    pub(crate) diverged: bool,
}

/// What a forward pass gives: logits, and outputs of parts by name.
pub(crate) type Seen = (Tensor, BTreeMap<String, Tensor>);

/// The best evaluation on the test set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Best {
    pub(crate) top1: f64,
    pub(crate) epoch: u64,
}

impl Student {
    /// A student that has made no step. For an optimizer of your own, set [`Student::optimizer`]; what
    /// the objective learns itself goes on with that of `optimizer`.
    pub fn new(
        name: impl Into<String>,
        model: Box<dyn Classifier>,
        loss: impl Loss + 'static,
        optimizer: OptimizerSpec,
    ) -> Self {
        let own_optimizer = optimizer.clone();
        let optimizer = Box::new(Optimizer::new(optimizer, model.params()));
        let (epoch, point, best) = (Tally::default(), Tally::default(), Best::default());
        let (name, loss, perturb) = (name.into(), Box::new(loss), None);
        let model = model.into();
        let (n_steps, n_images, unread, choice) = (0, 0, None, Choice::default());
        let (rests, diverged) = (false, false);
        Self {
            name,
            model,
            loss,
            perturb,
            optimizer,
            own_optimizer,
            own: None,
            n_steps,
            n_images,
            unread,
            epoch,
            point,
            best,
            choice,
            rests,
            diverged,
        }
    }

    /// Best accuracy on the test set so far, and the first epoch that reached it.
    pub fn best(&self) -> (f64, u64) {
        (self.best.top1, self.best.epoch)
    }

    /// Whether its loss was not finite, in a cohort that goes on without it ([`crate::Cohort::may_diverge`]).
    pub fn has_diverged(&self) -> bool {
        self.diverged
    }

    /// Images forward and backward so far, in the epochs that have ended.
    pub fn n_images(&self) -> u64 {
        self.n_images
    }

    /// The epoch, counted from 1, whose weights the student has in the end: that which the held-out
    /// images choose, if the plan says so.
    pub fn chosen_epoch(&self) -> Option<u64> {
        (!self.choice.weights.is_empty()).then_some(self.choice.seen.epoch)
    }

    /// One step: (perturb), forward, objective, backward, optimizer. Returns the loss, where it was
    /// read.
    pub(crate) fn step(
        &mut self,
        prepared: &Prepared,
        now: (u64, f64),
        stream: Stream,
    ) -> Result<Option<f64>> {
        let seen = self.forward(prepared, stream)?;
        self.learn(prepared, (&seen, &[]), now, stream)
    }

    /// The step from what its forward pass gave on, and what the students say that learn with it.
    pub(crate) fn learn(
        &mut self,
        prepared: &Prepared,
        ((logits, taps), peers): (&Seen, &[Tensor]),
        (epoch, learning_rate): (u64, f64),
        stream: Stream,
    ) -> Result<Option<f64>> {
        let Prepared { batch, said, n_samples, .. } = prepared;
        let views = self.views(prepared, stream)?;
        let (none, teacher) = (BTreeMap::new(), said.as_ref());
        let input = LossInput {
            logits,
            teacher_logits: teacher.map(|said| &said.logits),
            labels: &batch.labels,
            taps,
            teacher_taps: teacher.map_or(&none, |said| &said.taps),
            views: &views,
            peers,
            indices: &batch.indices,
            n_samples: *n_samples,
            own: &Params::new(),
            epoch,
            stream: stream.at("loss"),
        };
        if self.own.is_none() {
            self.own = Some(Own::new(self.loss.own_params(&input)?, self.own_optimizer.clone()));
        }
        let own = self.own.as_mut().expect("invariant: made above");
        let loss = self.loss.loss(&LossInput { own: &own.params, ..input })?;
        if !loss.dims().is_empty() {
            let expected = "(), the mean over the batch";
            return Err(Error::shape(format!("loss of {}", self.name), expected, loss.dims()));
        }
        let grads = loss.backward()?;
        own.step(&grads, learning_rate, self.n_steps + 1)?;
        let params = self.model.params();
        params.take_up(&grads)?;
        self.check_learns(params.have_grads())?;
        self.n_steps += 1;
        self.optimizer.step(params, learning_rate, self.n_steps)?;
        params.clear_grads();
        if logits.device().is_cuda() {
            return self.count(&loss, logits, &batch.labels);
        }
        let loss = f64::from(loss.to_scalar::<f32>()?);
        let logits = logits.detach().flatten_all()?.to_vec1::<f32>()?;
        self.add(Tally::of(loss, &logits, &batch.labels.to_vec1()?));
        Ok(Some(loss))
    }

    /// The logits of a batch in training, and the outputs of the parts that the objective needs.
    pub(crate) fn forward(
        &self,
        Prepared { batch, features, .. }: &Prepared,
        stream: Stream,
    ) -> Result<Seen> {
        let mode = Mode::Train(stream);
        if let Some(features) = features {
            return Ok((self.model.forward_features(features, mode)?, BTreeMap::new()));
        }
        let images = match &self.perturb {
            Some(attack) => attack.perturb(&*self.model, batch, stream.at("perturb"))?,
            None => batch.images.clone(),
        };
        let taps = self.loss.taps();
        let taps: Vec<&str> = taps.iter().map(String::as_str).collect();
        self.model.forward_with_taps(&images, mode, &taps)
    }

    /// What it and the teacher say of the other versions of the images that the objective looks at.
    fn views(&self, Prepared { others, .. }: &Prepared, stream: Stream) -> Result<Vec<View>> {
        let view = |(i, (images, said)): (usize, &(Tensor, Option<Said>))| {
            let mode = Mode::Train(stream.at("view").number(i as u64));
            let logits = self.model.forward(images, mode)?;
            let teacher_logits = said.as_ref().map(|said| said.logits.clone());
            Ok(View { logits, teacher_logits })
        };
        others.iter().take(self.loss.n_views() - 1).enumerate().map(view).collect()
    }

    /// A step in which no parameter has a gradient teaches nothing, and would go unnoticed.
    pub(crate) fn check_learns(&self, learns: bool) -> Result<()> {
        if learns {
            return Ok(());
        }
        let reason = "no parameter of this network received a gradient; compute its logits in \
                      training mode from the variables of `params()`, without detaching them, and \
                      the loss from its logits or taps";
        Err(Error::config(&self.name, reason))
    }

    pub(crate) fn add(&mut self, tally: Tally) {
        self.epoch += tally;
        self.point += tally;
    }

    /// Counts a batch on the GPU, and reads the counts now and then.
    fn count(&mut self, loss: &Tensor, logits: &Tensor, labels: &Tensor) -> Result<Option<f64>> {
        let unread = match &mut self.unread {
            Some(unread) => unread,
            none => none.insert(Unread::new(logits.device())?),
        };
        unread.add(loss, logits, labels)?;
        if unread.is_due() { self.settle() } else { Ok(None) }
    }

    /// Reads what is counted on the GPU into the tallies; returns the mean loss, if there was any.
    pub(crate) fn settle(&mut self) -> Result<Option<f64>> {
        let Some(unread) = self.unread.take() else { return Ok(None) };
        let tally = unread.tally()?;
        self.add(tally);
        Ok(Some(tally.loss()))
    }
}
