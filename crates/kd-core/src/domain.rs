//! Settings within their domains.

use std::fmt::Display;

use crate::{Error, Result};

/// Refuses a setting that is not between two bounds, or NaN.
///
/// # Errors
/// [`Error::Config`] for `field` unless `low <= value <= high`.
pub fn in_range<T: PartialOrd + Display>(field: &str, value: T, low: T, high: T) -> Result<()> {
    let is_good = (&low..=&high).contains(&&value);
    check(field, is_good, || format!("{value} must be between {low} and {high}"))
}

/// Refuses a number of nothing.
///
/// # Errors
/// [`Error::Config`] for `field`.
pub fn at_least_one<T: Default + PartialEq>(field: &str, value: T) -> Result<()> {
    check(field, value != T::default(), || "must be at least 1".into())
}

/// Refuses a setting that is not in `[0, 1)`.
///
/// # Errors
/// [`Error::Config`] for `field`.
pub fn below_one(field: &str, value: f64) -> Result<()> {
    check(field, (0.0..1.0).contains(&value), || format!("{value} is not in [0, 1)"))
}

/// Refuses a setting that is not above 0, or no number.
///
/// # Errors
/// [`Error::Config`] for `field`.
pub fn positive<T: Copy + Display + Into<f64>>(field: &str, value: T) -> Result<()> {
    let is_good = value.into() > 0.0 && value.into().is_finite();
    check(field, is_good, || format!("{value} is not above 0"))
}

/// Refuses a setting that is below 0, or no number.
///
/// # Errors
/// [`Error::Config`] for `field`.
pub fn not_negative(field: &str, value: f64) -> Result<()> {
    let is_good = value >= 0.0 && value.is_finite();
    check(field, is_good, || format!("{value} is not a number from 0 on"))
}

fn check(field: &str, is_good: bool, reason: impl FnOnce() -> String) -> Result<()> {
    if is_good { Ok(()) } else { Err(Error::config(field, reason())) }
}
