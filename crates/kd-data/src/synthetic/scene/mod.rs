//! Draws scenes: an object before its background, with clutter, light and noise.
//!
//! Points are in units from the image's center; the longer side of an image is [`EXTENT`] units,
//! whatever its number of pixels, so that a scene looks alike at every resolution.

mod object;
mod shapes;
mod surface;

use kd_core::Stream;
use kd_core::rng::Rng;

pub(super) use self::object::Object;
pub(super) use self::shapes::{N_SHAPES, NAMES};
pub(super) use self::surface::Surface;
use super::math::{Point, about, between, distance_squared, ease, mix, triangle};

/// Length of an image's longer side, units.
const EXTENT: f32 = 32.0;
/// Width of the soft edge of what is drawn, units.
const EDGE: [f32; 2] = [0.8, 2.0];
/// The least that the object's color differs from the background's, summed over the channels.
const CONTRAST: f32 = 0.45;
/// Amplitude of the clouds of the background, of the texture of surfaces, and of pixel noise.
pub(super) const CLOUDS: f32 = 0.3;
pub(super) const TEXTURE: f32 = 0.35;
const NOISE: f32 = 0.1;
/// Chance of each of the bits of clutter behind the object, and before it.
pub(super) const BEHIND: [f32; 4] = [0.8, 0.6, 0.4, 0.2];
pub(super) const BEFORE: [f32; 2] = [0.5, 0.25];
/// Half the width of clutter, and its length, units.
const CLUTTER_HALF: [f32; 2] = [0.6, 2.2];
const CLUTTER_LENGTH: f32 = 9.0;

/// Red, green, blue in `[0, 1]`.
pub(super) type Color = [f32; 3];

/// An image that is being painted.
pub(super) struct Canvas {
    /// `[H, W]`.
    size: [usize; 2],
    /// Units per pixel.
    scale: f32,
    pixels: Vec<Color>,
}

impl Canvas {
    /// A black canvas of `[H, W]` pixels.
    pub(super) fn new(size: [usize; 2]) -> Self {
        let [height, width] = size;
        let scale = EXTENT / height.max(width) as f32;
        Self { size, scale, pixels: vec![[0.0; 3]; height * width] }
    }

    /// Mixes what `paint` gives for each point, a color and how much it covers, into the pixels.
    fn paint(&mut self, paint: impl Fn(Point) -> Option<(Color, f32)>) {
        let ([height, width], scale) = (self.size, self.scale);
        let center = [width, height].map(|side| 0.5 * side as f32);
        for (i, pixel) in self.pixels.iter_mut().enumerate() {
            let (x, y) = ((i % width) as f32 + 0.5, (i / width) as f32 + 0.5);
            if let Some((color, cover)) = paint([(x - center[0]) * scale, (y - center[1]) * scale])
            {
                *pixel = std::array::from_fn(|k| mix(pixel[k], color[k], cover));
            }
        }
    }

    /// Covers everything with `surface`.
    pub(super) fn fill(&mut self, surface: &Surface) {
        self.paint(|point| Some((surface.color(point), 1.0)));
    }

    /// Strokes and dots anywhere, as many as the chances decide.
    pub(super) fn add_clutter(&mut self, chances: &[f32], rng: &mut Rng) {
        for chance in chances {
            if rng.uniform() < *chance {
                let from = [about(0.5 * EXTENT, rng), about(0.5 * EXTENT, rng)];
                let to = from.map(|v| v + about(CLUTTER_LENGTH, rng));
                let (half, edge) = (between(CLUTTER_HALF, rng), between(EDGE, rng));
                let surface = Surface::new(random_color(rng), TEXTURE, rng);
                self.paint(|point| {
                    let cover = cover(distance_squared([from, to], point).sqrt() - half, edge);
                    (cover > 0.0).then(|| (surface.color(point), cover))
                });
            }
        }
    }

    /// Lights the scene, adds noise and rounds to bytes: all red ones, all green, all blue.
    pub(super) fn develop(&self, noise: Stream, rng: &mut Rng) -> Vec<u8> {
        let light = Light::new(rng);
        let amplitude = rng.uniform_in(0.0, NOISE);
        let mut words = noise.rng();
        let mut bytes = Vec::with_capacity(3 * self.pixels.len());
        for k in 0..3 {
            bytes.extend(self.pixels.iter().map(|color| {
                let lit = 0.5 + light.gain[k] * (color[k] - 0.5) + light.offset;
                let value = lit + amplitude * triangle(words.next_u32());
                (value * 255.0 + 0.5).clamp(0.0, 255.0) as u8
            }));
        }
        bytes
    }

    #[cfg(test)]
    fn pixels(&self) -> &[Color] {
        &self.pixels
    }
}

pub(super) fn random_color(rng: &mut Rng) -> Color {
    std::array::from_fn(|_| rng.uniform_in(0.05, 0.95))
}

/// A color out of `draw` that can be told from `other`, or nearly so.
pub(super) fn color_unlike(other: Color, draw: impl Fn(&mut Rng) -> Color, rng: &mut Rng) -> Color {
    let difference = |c: &Color| -> f32 { (0..3).map(|k| (c[k] - other[k]).abs()).sum() };
    let mut color = draw(rng);
    for _ in 0..8 {
        if difference(&color) >= CONTRAST {
            break;
        }
        color = draw(rng);
    }
    color
}

/// How much of a pixel is covered by what begins `distance` units from it, with a soft edge.
fn cover(distance: f32, edge: f32) -> f32 {
    ease((0.5 - distance / edge).clamp(0.0, 1.0))
}

/// How bright each channel is recorded.
struct Light {
    gain: Color,
    offset: f32,
}

impl Light {
    fn new(rng: &mut Rng) -> Self {
        let contrast = between([0.55, 1.15], rng);
        let gain = std::array::from_fn(|_| contrast * between([0.85, 1.15], rng));
        Self { gain, offset: about(0.15, rng) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_soft() {
        for (distance, want) in [(-1.0, 1.0_f32), (0.0, 0.5), (1.0, 0.0)] {
            assert!((cover(distance, 2.0) - want).abs() < 1e-6);
        }
    }

    #[test]
    fn the_longer_side_is_the_extent_and_the_center_the_origin() {
        let mut canvas = Canvas::new([2, 4]);
        canvas.paint(|[x, y]| Some(([x, y, 0.0], 1.0)));
        let want = [-12.0, -4.0, 4.0, 12.0].map(|x| [x, -4.0, 0.0]);
        assert_eq!(canvas.pixels()[..4], want);
        assert_eq!(canvas.pixels()[7..], [[12.0, 4.0, 0.0]]);
    }
}
