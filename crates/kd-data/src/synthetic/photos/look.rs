//! What the classes look like.
//!
//! Key decision: a class shows itself in four ways, none of which decides alone. The surroundings
//! and the color of the object only lean toward the class; its pattern is shared by every fourth
//! class, its shape by every tenth. A network that sees only colors gets some images right, one
//! that also sees texture more, and the shape needs the most.

use kd_core::Stream;
use kd_core::rng::Rng;

use crate::synthetic::math::{about, between, mix};
use crate::synthetic::scene::{
    BEFORE, BEHIND, CLOUDS, Canvas, Color, N_SHAPES, Object, Surface, color_unlike, random_color,
};

/// The most classes that differ in shape or pattern.
pub(super) const MAX_CLASSES: usize = N_PATTERNS * N_SHAPES as usize;

/// Kinds of pattern: gradient, stripes, checks, clouds.
const N_PATTERNS: usize = 4;
/// How often the pattern, the color of the object and that of its surroundings are the class's.
const OWN_PATTERN: f32 = 0.9;
const OWN_COLOR: f32 = 0.85;
const OWN_GROUND: f32 = 0.7;
/// How far the hue may lie off the class's, of the whole circle.
const HUE: f32 = 0.03;
/// How bright the pattern of the object is, of the brightness of its color.
const SHADE: [f32; 2] = [0.1, 0.5];
/// Length of the longer side, pixels.
const LONGER: [u32; 2] = [140, 200];

/// A photograph: all red bytes, all green, all blue, each of `[H, W]`.
pub(super) struct Picture {
    pub(super) size: [usize; 2],
    pub(super) planes: Vec<u8>,
}

impl Picture {
    /// The photograph of an object of `class` that `stream` describes.
    pub(super) fn draw(class: usize, stream: Stream) -> Self {
        let mut rng = stream.rng();
        let size = size(&mut rng);
        let mut canvas = Canvas::new(size);
        let ground = match rng.uniform() < OWN_GROUND {
            true => tinted(hue_of(class) + 0.5, &mut rng),
            false => random_color(&mut rng),
        };
        canvas.fill(&Surface::new(ground, CLOUDS, &mut rng));
        canvas.add_clutter(&BEHIND, &mut rng);
        Object::new(shape_of(class), |rng| surface(class, ground, rng), &mut rng)
            .paint(&mut canvas);
        canvas.add_clutter(&BEFORE, &mut rng);
        Self { size, planes: canvas.develop(stream.at("noise"), &mut rng) }
    }
}

/// `[H, W]`: mostly 4:3, like a camera's, sometimes upright, 3:2 or square.
fn size(rng: &mut Rng) -> [usize; 2] {
    let [shortest, longest] = LONGER;
    let longer = (shortest + rng.below(longest - shortest + 1)) as usize;
    match rng.below(8) {
        0 => [longer, longer],
        1 => [longer, 3 * longer / 4],
        2 => [longer, 2 * longer / 3],
        3 => [2 * longer / 3, longer],
        _ => [3 * longer / 4, longer],
    }
}

fn shape_of(class: usize) -> u8 {
    (class % usize::from(N_SHAPES)) as u8
}

/// Classes of the same shape have different patterns.
fn pattern_of(class: usize) -> u32 {
    ((class + class / usize::from(N_SHAPES)) % N_PATTERNS) as u32
}

/// Neighbors on the circle of hues are far apart in number.
fn hue_of(class: usize) -> f32 {
    class as f32 * 0.618_034
}

fn surface(class: usize, ground: Color, rng: &mut Rng) -> Surface {
    let own = rng.uniform() < OWN_COLOR;
    let color = |rng: &mut Rng| match own {
        true => tinted(hue_of(class), rng),
        false => random_color(rng),
    };
    let color = color_unlike(ground, color, rng);
    let pattern = match rng.uniform() < OWN_PATTERN {
        true => pattern_of(class),
        false => rng.below(N_PATTERNS as u32),
    };
    let shade = between(SHADE, rng);
    Surface::of_kind(pattern, [color, color.map(|c| shade * c)], rng)
}

/// A color of about this hue, 0 red, 1/3 green, 2/3 blue, 1 red again.
fn tinted(hue: f32, rng: &mut Rng) -> Color {
    let hue = 6.0 * (hue + about(HUE, rng));
    let (saturation, value) = (between([0.4, 0.9], rng), between([0.35, 0.95], rng));
    [0.0, 4.0, 2.0].map(|offset| {
        let turn = (hue + offset) / 6.0;
        let pure = ((6.0 * (turn - turn.floor()) - 3.0).abs() - 1.0).clamp(0.0, 1.0);
        value * mix(1.0, pure, saturation)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_classes_share_shape_and_pattern() {
        let looks: BTreeSet<_> = (0..MAX_CLASSES).map(|c| (shape_of(c), pattern_of(c))).collect();
        assert_eq!(looks.len(), MAX_CLASSES);
    }

    #[test]
    fn hues_are_those_of_the_color_wheel() {
        let mut rng = Stream::new(1).rng();
        for (hue, greatest, least) in [(0.0, 0, None), (1.0 / 3.0, 1, None), (0.5, 1, Some(0))] {
            for turns in [0.0, 1.0, 7.0] {
                let color = tinted(hue + turns, &mut rng);
                assert!(color.iter().all(|&c| (0.0..1.0).contains(&c)), "{color:?}");
                let other = least.unwrap_or((greatest + 1) % 3);
                assert!(color[greatest] > color[other], "{hue}: {color:?}");
            }
        }
    }

    #[test]
    fn sizes_vary() {
        let mut rng = Stream::new(2).rng();
        let sizes: BTreeSet<_> = (0..500).map(|_| size(&mut rng)).collect();
        assert!(sizes.len() > 100, "{}", sizes.len());
        assert!(sizes.iter().flatten().all(|side| (93..=200).contains(side)));
        assert!(sizes.iter().any(|[h, w]| h > w) && sizes.iter().any(|[h, w]| h < w));
    }
}
