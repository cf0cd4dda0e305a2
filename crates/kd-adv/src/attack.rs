//! The contract of attacks.

use kd_core::{Error, Result, Stream, in_range};

use crate::{Examples, Norm, Victim};

/// A way to change images so that a network errs.
///
/// [`crate::AttackSpec`] has those that suite files name; any other type that implements this trait is run,
/// trained against and evaluated just as well.
pub trait Attack: Send + Sync {
    /// Refuses settings outside their domain.
    ///
    /// # Errors
    /// [`Error::Config`], naming the setting.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The distance that it bounds or makes small.
    fn norm(&self) -> Norm;

    /// The radius of the ball that it stays in; none for attacks that look for the nearest
    /// adversarial image.
    fn eps(&self) -> Option<f32> {
        None
    }

    /// Takes another radius; returns whether it has one.
    fn set_eps(&mut self, _eps: f32) -> bool {
        false
    }

    /// The length of its steps, where they all have the same.
    fn step_size(&self) -> Option<f32> {
        None
    }

    /// Whether it looks at gradients.
    fn uses_gradients(&self) -> bool {
        true
    }

    /// How often at most it needs the gradient of one image of `n_pixels` values, toward one class;
    /// logits alone are a third. From this follows how long it takes. One step, unless it says
    /// otherwise.
    fn n_passes(&self, _n_pixels: usize) -> usize {
        1
    }

    /// One image a row, each a function of the network, its own row and `stream` alone.
    ///
    /// Within the ball and the box `[0, 1]`. Where an attack that looks for the nearest adversarial
    /// image finds none, the row is the example's own image.
    ///
    /// # Errors
    /// [`Error::Config`] when it cannot work on such a network or without targets; whatever the
    /// network reports.
    fn run(&self, victim: &Victim<'_>, examples: &Examples, stream: Stream) -> Result<Vec<f32>>;
}

/// Within the implementation of [`Attack`]: the ball that the fields `norm` and `eps` say.
macro_rules! ball {
    () => {
        fn norm(&self) -> Norm {
            self.norm
        }

        fn eps(&self) -> Option<f32> {
            Some(self.eps)
        }

        fn set_eps(&mut self, eps: f32) -> bool {
            self.eps = eps;
            true
        }
    };
}
pub(crate) use ball;

/// [`Error::Config`] unless `norm` has balls with a projection and `eps` is a radius in it.
pub(crate) fn check_ball(norm: Norm, eps: f32) -> Result<()> {
    match norm {
        Norm::Linf => in_range("eps", eps, 0.0, 1.0),
        // The box has sides of 1: nothing in it is farther away than the root of its dimension.
        Norm::L2 => in_range("eps", eps, 0.0, 1e4),
        Norm::L0 => Err(Error::config("norm", "must be linf or l2")),
    }
}
