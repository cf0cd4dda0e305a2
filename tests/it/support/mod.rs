//! What the tests share: the program as a user starts it, a small bench for training, data and suites.

mod data;
mod lab;
mod networks;
mod program;
mod suites;

pub(crate) use data::{
    TRAIN_IMAGES, TRAIN_LABELS, draw_photographs, gzip, label_file, write_mnist,
};
pub(crate) use lab::{
    Action, N_STEPS, Probe, SPEC_HASH, all_students, bits, plan, student, student_of,
    timeless_metrics, train, weight_bits, weights, whole, with_threads,
};
pub(crate) use networks::{N_CLASSES, SHAPE, build, loss, networks};
#[cfg(feature = "mpi")]
pub(crate) use program::Ended;
pub(crate) use program::{
    Results, Running, end, files, finals, json, kd, kd_run, records, refused, settings_are_refused,
    succeed,
};
pub(crate) use suites::{CNNS, METHODS, MLPS, folder_of};
