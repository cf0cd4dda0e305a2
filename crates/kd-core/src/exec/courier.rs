//! Gradients on their way to the other ranks, and weights on their way back, while the backward goes on.
//!
//! Key decision: one thread brings the gradients of one step after another, in the order in which the
//! backward makes them, which is the same on all ranks: no message needs a name. The backward of a step is
//! the last that reads the step's weights, so that these move as soon as the gradients are there.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use candle_core::Tensor;

use super::sinks::{Parcel, Sinks};
use crate::ops::slices;
use crate::ops::step::Weight;
use crate::shards::{Lane, Shards};
use crate::{Error, Grad, Result};

/// Moves a part of the parameter of a gradient buffer by the gradients of that part.
pub type Update<'a> = dyn FnMut(&Arc<Grad>, Range<usize>, &[f32]) -> Result<()> + Send + 'a;

/// What becomes of the sums.
pub(super) struct Carrier<'a> {
    shards: &'a Shards,
    sinks: &'a Sinks,
    update: &'a mut Update<'a>,
}

/// Takes sums over the shards of this rank, and brings them where they belong.
pub(super) enum Courier<'a> {
    /// There is no other rank.
    Here(RefCell<Carrier<'a>>),
    /// To the thread that meets the others.
    Queue(Sender<Parcel>),
}

impl Carrier<'_> {
    fn bring(&mut self, parcel: Parcel) -> Result<()> {
        for (weight, sum) in parcel.weights.iter().zip(&parcel.sums) {
            self.bring_one(weight, sum)?;
        }
        self.sinks.give_back(parcel.sums);
        Ok(())
    }

    fn bring_one(&mut self, weight: &Weight, sum: &Grad) -> Result<()> {
        let Some(grad) = &weight.grad else { return Ok(()) };
        let part = self.shards.own_part(weight.value.elem_count());
        on(sum.buffer(), |sums| {
            self.shards.reduce(sums)?;
            (self.update)(grad, part.clone(), &sums[part.clone()])
        })?;
        on(&weight.value, |values| self.shards.spread(values))
    }
}

/// Calls `work` with the values of `tensor`.
fn on(tensor: &Tensor, work: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<()> {
    let mut done = Ok(());
    slices::with_mut(tensor, |values| done = work(values))?;
    done
}

/// Calls `work` with a courier, and waits until all is where it belongs.
pub(super) fn with_courier<R>(
    (shards, sinks): (&Shards, &Sinks),
    update: &mut Update<'_>,
    work: impl FnOnce(&Courier<'_>) -> Result<R>,
) -> Result<R> {
    let mut carrier = Carrier { shards, sinks, update };
    if !shards.are_shared() {
        return work(&Courier::Here(RefCell::new(carrier)));
    }
    std::thread::scope(|scope| {
        let (queue, parcels) = channel();
        let bring = move || parcels.into_iter().try_for_each(|parcel| carrier.bring(parcel));
        let courier = scope.spawn(bring);
        let done = work(&Courier::Queue(queue));
        let wait = || courier.join().unwrap_or_else(|_| Err(fell()));
        shards.traffic().timed(Lane::Rest, 0, wait)?;
        done
    })
}

fn fell() -> Error {
    Error::config("shards", "the thread that sends gradients has ended")
}

impl Courier<'_> {
    /// Brings what a step has.
    pub(super) fn send(&self, parcel: Parcel) -> Result<()> {
        match self {
            Self::Here(carrier) => carrier.borrow_mut().bring(parcel),
            // Where the thread has ended, it says why.
            Self::Queue(queue) => queue.send(parcel).map_err(|_| fell()),
        }
    }
}
