//! Test images as attacks take them.

use kd_adv::{Examples, Victim, correct_rows};
use kd_core::Result;
use kd_data::Images;

/// Images that are looked at together.
const CHUNK: usize = 500;

/// The first `n` images, or all when there are fewer.
pub(crate) fn first(images: &Images, n: usize) -> Examples {
    range(images, 0, n.min(images.len()))
}

/// The first `n` images that the network classifies correctly, or all of them when there are fewer.
///
/// # Errors
/// Whatever the network reports.
pub(crate) fn first_correct(victim: &Victim<'_>, images: &Images, n: usize) -> Result<Examples> {
    let mut found = Examples::default();
    for start in (0..images.len()).step_by(CHUNK) {
        let part = range(images, start, images.len().min(start + CHUNK));
        let mut rows = correct_rows(victim, &part)?;
        rows.truncate(n - found.len());
        let part = part.select(&rows);
        found.pixels.extend(part.pixels);
        found.labels.extend(part.labels);
        found.indices.extend(part.indices);
        if found.len() == n {
            break;
        }
    }
    Ok(found)
}

fn range(images: &Images, start: usize, end: usize) -> Examples {
    let rows = start..end;
    let pixels = rows.clone().flat_map(|i| images.image(i)).map(|&p| f32::from(p) / 255.0);
    Examples {
        pixels: pixels.collect(),
        labels: images.labels()[rows.clone()].to_vec(),
        indices: rows.map(|i| i as u32).collect(),
        targets: None,
    }
}
