//! Work that threads share.

use rayon::prelude::*;

/// Calls `task` with each of `tasks`, on all threads.
pub(crate) fn each<T: Send>(tasks: impl Iterator<Item = T>, task: impl Fn(T) + Sync) {
    share(tasks.collect(), &task);
}

/// Compiled once for all that is done with tasks of one type: rayon's part is long.
fn share<T: Send>(tasks: Vec<T>, task: &(dyn Fn(T) + Sync)) {
    tasks.into_par_iter().for_each(task);
}
