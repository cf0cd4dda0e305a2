//! Images that several networks look at.

use std::sync::{Arc, Weak};

use candle_core::{Tensor, TensorId};
use parking_lot::Mutex;

use super::images;
use crate::Result;
use crate::act::Made;
use crate::ops::Normalize;

/// Images that several networks look at, while this lives.
#[derive(Debug)]
pub struct Shared {
    images: TensorId,
    /// What networks have made of them, by their normalization.
    made: Mutex<Vec<(Option<Normalize>, Arc<Made>)>>,
}

static ALL: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// As long as what this returns lives, `images` are normalized, and brought into the order in which networks read them,
/// once for all networks that do it alike; and what is not zero in them is listed once for all layers that leave out
/// zeros. No bit of any result depends on it. Meanwhile the values of `images` must not change.
#[must_use]
pub fn share(images: &Tensor) -> Arc<Shared> {
    let shared = Arc::new(Shared { images: images.id(), made: Mutex::default() });
    let mut all = ALL.lock();
    all.retain(|other| other.strong_count() > 0);
    all.push(Arc::downgrade(&shared));
    shared
}

/// What a network makes of `pixels` before its first step ([`images::values`]).
pub(super) fn images(pixels: &Tensor, normalize: Option<&Normalize>) -> Result<Arc<Made>> {
    let of_pixels = |shared: Arc<Shared>| (shared.images == pixels.id()).then_some(shared);
    let shared = ALL.lock().iter().filter_map(Weak::upgrade).find_map(of_pixels);
    let make = || images::values(pixels, normalize);
    match shared {
        Some(shared) => shared.or_make(normalize, || Ok(Made::shared(make()?))),
        None => Ok(Arc::new(make()?.into())),
    }
}

impl Shared {
    fn or_make(
        &self,
        normalize: Option<&Normalize>,
        make: impl FnOnce() -> Result<Made>,
    ) -> Result<Arc<Made>> {
        let find = |all: &[(Option<Normalize>, Arc<Made>)]| {
            let (_, made) = all.iter().find(|(other, _)| other.as_ref() == normalize)?;
            Some(made.clone())
        };
        if let Some(made) = find(&self.made.lock()) {
            return Ok(made);
        }
        // Not while the list is locked: a thread that waits for a part of this work may begin with another network.
        let made = Arc::new(make()?);
        let mut all = self.made.lock();
        Ok(find(&all).unwrap_or_else(|| {
            all.push((normalize.cloned(), made.clone()));
            made
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;
    use crate::testing::random;

    #[test]
    fn shared_images_are_made_once_for_each_normalization_and_only_meanwhile() {
        let pixels = random(Stream::new(1), &[2, 1, 3, 3]);
        let half = Normalize { mean: vec![0.5], std: vec![0.5] };
        let made = |normalize| images(&pixels, normalize).unwrap();
        let before = made(None);
        let shared = share(&pixels);
        let (plain, halved) = (made(None), made(Some(&half)));
        assert!(Arc::ptr_eq(&plain, &made(None)) && !Arc::ptr_eq(&plain, &before));
        assert!(Arc::ptr_eq(&halved, &made(Some(&half))));
        assert_eq!(plain.get(), before.get());
        assert_ne!(plain.get(), halved.get());
        let other = images(&pixels.copy().unwrap(), None).unwrap();
        assert!(!Arc::ptr_eq(&plain, &other));
        drop(shared);
        assert!(!Arc::ptr_eq(&plain, &made(None)));
    }
}
