//! Gradients on their way to the other ranks, while the backward goes on.
//!
//! Key decision: one thread brings the gradients of one step after another, in the order in which the
//! backward makes them, which is the same on all ranks: no message needs a name.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::ops::deposit::deposit;
use crate::shards::{Lane, Shards};
use crate::{Error, Grad, Result};

/// Sums over the shards of this rank, one after another, and where the sums over all belong.
struct Parcel {
    values: Vec<f32>,
    sinks: Vec<Arc<Grad>>,
}

/// Takes sums over the shards of this rank, and brings them where they belong.
pub(super) struct Courier {
    /// To the thread that adds up those of all ranks, if there are others.
    queue: Option<Sender<Parcel>>,
}

/// Calls `work` with a courier, and waits until all is where it belongs.
pub(super) fn with_courier<R>(
    shards: &Shards,
    work: impl FnOnce(&Courier) -> Result<R>,
) -> Result<R> {
    if !shards.are_shared() {
        return work(&Courier { queue: None });
    }
    std::thread::scope(|scope| {
        let (queue, parcels) = channel();
        let courier = scope.spawn(move || bring(&parcels, shards));
        let done = work(&Courier { queue: Some(queue) });
        let wait = || courier.join().unwrap_or_else(|_| Err(fell()));
        shards.traffic().timed(Lane::Rest, 0, wait)?;
        done
    })
}

fn fell() -> Error {
    Error::config("shards", "the thread that sends gradients has ended")
}

/// Adds up each parcel with those of the other ranks.
fn bring(parcels: &Receiver<Parcel>, shards: &Shards) -> Result<()> {
    for mut parcel in parcels {
        shards.add_up(&mut parcel.values)?;
        parcel.unpack()?;
    }
    Ok(())
}

impl Parcel {
    fn unpack(&self) -> Result<()> {
        let mut rest = &self.values[..];
        for sink in &self.sinks {
            let (values, after) = rest.split_at(sink.buffer().elem_count());
            deposit(sink, values)?;
            rest = after;
        }
        Ok(())
    }
}

impl Courier {
    /// Brings `values`, one after another those of `sinks`.
    pub(super) fn send(&self, values: Vec<f32>, sinks: Vec<Arc<Grad>>) -> Result<()> {
        let parcel = Parcel { values, sinks };
        match &self.queue {
            // Where the thread has ended, it says why.
            Some(queue) => queue.send(parcel).map_err(|_| fell()),
            None => parcel.unpack(),
        }
    }
}
