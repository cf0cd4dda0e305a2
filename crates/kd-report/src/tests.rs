//! The report of a made-up run.
