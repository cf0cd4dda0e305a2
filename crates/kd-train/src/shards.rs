//! A step of a batch in shards, which processes share.

use std::collections::BTreeSet;

use candle_core::{Tensor, Var};
use kd_core::{BatchSource, Error, Mode, Params, Part, Pass, Result, Shards, Stream};
use rayon::prelude::*;

use crate::cohort::Cohort;
use crate::losses::LossInput;
use crate::plan::Plan;
use crate::prepared::Prepared;
use crate::step::check_finite;
use crate::student::Student;
use crate::tally::Tally;

/// How batches of `train` are cut, where `plan` says so.
///
/// # Errors
/// [`Error::Config`] for several processes without shards, and naming what cannot be trained in shards.
pub(crate) fn of(
    plan: &Plan,
    (train, keeps_targets): (&dyn BatchSource, bool),
    cohort: &Cohort,
) -> Result<Option<Shards>> {
    let n_ranks = cohort.ranks.n_ranks();
    let Some(n) = plan.shards else {
        if n_ranks == 1 {
            return Ok(None);
        }
        let reason = format!("{n_ranks} processes share the shards of a batch: say how many");
        return Err(Error::config("shards", reason));
    };
    if n > plan.batch_size {
        let reason = format!("{n} shards of batches of {} images", plan.batch_size);
        return Err(Error::config("shards", reason));
    }
    if !train.device().is_cpu() {
        let reason = "a batch in shards is computed on processors only: --device cpu";
        return Err(Error::config("shards", reason));
    }
    if keeps_targets && n_ranks > 1 {
        let reason = "several processes cannot write one file of soft targets; leave them out";
        return Err(Error::config("soft_targets", reason));
    }
    cohort.students.iter().try_for_each(check)?;
    Shards::new(n, cohort.ranks.clone()).map(Some)
}

/// Refuses a student that looks at more than single images.
fn check(student: &Student) -> Result<()> {
    let refused = |why: &str| {
        let reason = format!("{why}, which a training in shards cannot do yet; leave `shards` out");
        Err(Error::config(&student.name, reason))
    };
    if student.perturb.is_some() {
        return refused("`perturb` attacks each batch first");
    }
    if student.loss.needs_peers() {
        return refused("the objective hears other students");
    }
    if !student.loss.is_per_image() {
        return refused("the objective looks at several images together, or at parts of networks");
    }
    Ok(())
}

/// One step of every student, one after another, from the shards that this process has; returns the images
/// of the whole batch.
///
/// # Errors
/// As [`crate::fit`].
pub(crate) fn train_shards(
    cohort: &mut Cohort,
    portion: &[Prepared],
    (shards, n_rows): (&Shards, usize),
    learning_rate: f64,
    stream: Stream,
) -> Result<usize> {
    let counts = shards.sum(portion.iter().map(counts).collect())?;
    let n_images = counts[0] as usize;
    cohort.teacher_rows.0 += counts[1] as u64;
    cohort.teacher_rows.1 += counts[2] as u64;
    if n_images == 0 {
        return Ok(0);
    }
    cohort.sharing.iter_mut().for_each(|sharing| sharing.n_steps += 1);
    let at = ((cohort.epoch + 1, cohort.step + 1), cohort.may_diverge);
    let now = Now { epoch: cohort.epoch, learning_rate, stream, n_images, n_rows };
    for student in cohort.learning() {
        let loss = student.step_in_shards(portion, shards, now)?;
        check_finite(loss, student, at)?;
    }
    Ok(n_images)
}

/// Images, rows of the teacher's logits, and those of them that were computed.
fn counts(Prepared { batch, said, .. }: &Prepared) -> Vec<f64> {
    let n = batch.indices.len() as f64;
    let computed = said.as_ref().map(|said| said.n_computed as f64);
    vec![n, computed.map_or(0.0, |_| n), computed.unwrap_or(0.0)]
}

/// Brings the state of the optimizers together, of which each process has moved a part.
///
/// # Errors
/// Whatever optimizers and other processes report.
pub(crate) fn gather_optimizers(cohort: &mut Cohort, shards: &Shards) -> Result<()> {
    let whole = |(name, part): (String, Tensor)| {
        let mut values = part.flatten_all()?.to_vec1::<f32>()?;
        shards.spread(&mut values)?;
        Ok((name, Tensor::from_vec(values, part.shape(), part.device())?))
    };
    for student in &mut cohort.students {
        let state = student.optimizer.tensors()?.into_iter().map(whole);
        student.optimizer.load(&state.collect::<Result<_>>()?)?;
    }
    Ok(())
}

/// What is the same for all shards in a step.
#[derive(Clone, Copy)]
struct Now {
    epoch: u64,
    learning_rate: f64,
    stream: Stream,
    /// Images of the batch.
    n_images: usize,
    /// Images that were asked for.
    n_rows: usize,
}

impl Student {
    /// One step: forward, objective, backward, optimizer; returns the loss of the whole batch.
    fn step_in_shards(&mut self, portion: &[Prepared], shards: &Shards, now: Now) -> Result<f64> {
        let have: Vec<bool> = portion.iter().map(|shard| !shard.batch.indices.is_empty()).collect();
        let part = Part::new(shards, now.n_rows, &have);
        let here: Vec<&Prepared> =
            portion.iter().zip(&have).filter(|(_, has)| **has).map(|(shard, _)| shard).collect();
        let images: Vec<Tensor> = here.iter().map(|shard| shard.batch.images.clone()).collect();
        let pass = self.model.forward_shards(&images, Mode::Train(now.stream), &part)?;
        let learned = here.par_iter().zip(pass.logits());
        let learned = learned.map(|(shard, logits)| self.learn_shard(shard, logits, now));
        let (grads, tallies): (Vec<_>, Vec<_>) =
            learned.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        self.move_by(pass, &grads, now.learning_rate)?;
        self.n_steps += 1;
        let tally = whole(tallies, &have, shards)?;
        self.add(tally);
        Ok(tally.loss())
    }

    /// Backward and optimizer: each parameter moves as soon as its gradient is there.
    fn move_by(&mut self, pass: Pass, of_logits: &[Tensor], learning_rate: f64) -> Result<()> {
        let (params, mut moved) = (self.model.params(), BTreeSet::new());
        let (optimizer, now) = (&mut self.optimizer, (learning_rate, self.n_steps + 1));
        pass.backward(of_logits, &mut |grad, part, grads| {
            let Some((name, param)) = params.of_grad(grad) else { return Ok(()) };
            if !moved.insert(name) {
                let reason = "several operations use this parameter, which a training in shards cannot do yet; \
                              leave `shards` out";
                return Err(Error::config(name, reason));
            }
            optimizer.step_part((name, param), (part, grads), now)
        })?;
        self.check_learns(!moved.is_empty())
    }

    /// The gradient of one shard's logits by its share of the loss, and what is counted of it.
    fn learn_shard(
        &self,
        Prepared { batch, said, n_samples, .. }: &Prepared,
        logits: &Tensor,
        now: Now,
    ) -> Result<(Tensor, Tally)> {
        let logits = Var::from_tensor(logits)?;
        let input = LossInput {
            teacher_logits: said.as_ref().map(|said| &said.logits),
            indices: &batch.indices,
            n_samples: *n_samples,
            epoch: now.epoch,
            stream: now.stream.at("loss"),
            ..LossInput::new(&logits, &batch.labels)
        };
        self.check_owns_nothing(&input)?;
        let share = batch.indices.len() as f64 / now.n_images as f64;
        let loss = self.loss.loss(&input)?;
        let grads = (&loss * share)?.backward()?;
        let grad = match grads.get(&logits) {
            Some(grad) => grad.clone(),
            None => logits.zeros_like()?,
        };
        let loss = share * f64::from(loss.to_scalar::<f32>()?);
        let values = logits.flatten_all()?.to_vec1::<f32>()?;
        Ok((grad, Tally::of(loss, &values, &batch.labels.to_vec1()?)))
    }

    fn check_owns_nothing(&self, input: &LossInput<'_>) -> Result<()> {
        let own: Params = self.loss.own_params(input)?;
        if own.iter().next().is_none() && own.buffers().next().is_none() {
            return Ok(());
        }
        let reason = "the objective learns something itself, which a training in shards cannot do";
        Err(Error::config(&self.name, reason))
    }
}

/// Of the whole batch, from the shards that are here.
fn whole(tallies: Vec<Tally>, have: &[bool], shards: &Shards) -> Result<Tally> {
    let mut tallies = tallies.into_iter();
    let of = |has: &bool| has.then(|| tallies.next()).flatten().unwrap_or_default().to_numbers();
    Ok(Tally::of_numbers(&shards.sum(have.iter().map(of).collect())?))
}
