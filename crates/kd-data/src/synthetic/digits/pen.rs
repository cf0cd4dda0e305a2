//! Draws one digit. Points lie in the unit box of a glyph, or in pixels from the image's center.

use kd_core::Stream;
use kd_core::rng::Rng;

use super::SIDE;
use super::glyphs::{DIGITS, Stroke};
use crate::synthetic::math::{
    Point, about, bell, between, distance_squared, ease, mix, triangle, turn,
};

const N_PIXELS: usize = SIDE * SIDE;

/// Pieces of straight line per span between two points of a stroke.
const PIECES: usize = 4;
/// Standard deviation of each point of a stroke, fraction of the box.
const JITTER: f32 = 0.03;
/// Greatest displacement of the lattice that bends the whole digit, pixels.
const BEND: f32 = 2.1;
/// Points per side of that lattice.
const LATTICE: usize = 4;
/// Height of a digit, pixels, and the most by which its width and height differ, fraction.
const HEIGHT: [f32; 2] = [17.0, 21.0];
const ASPECT: f32 = 0.2;
/// Greatest slant and greatest tangent of half the rotation.
const SLANT: f32 = 0.35;
const ROTATION: f32 = 0.12;
/// Greatest shift off the center, pixels.
const SHIFT: f32 = 1.5;
/// Half the width of the pen, pixels, and how much it changes along a stroke, fraction.
const RADIUS: [f32; 2] = [0.8, 1.7];
const PRESSURE: f32 = 0.3;
/// Width of the soft edge of a line, pixels.
const EDGE: [f32; 2] = [0.7, 1.6];
/// Brightness of the ink, and greatest brightness of specks beside the digit.
const INK: [f32; 2] = [0.65, 1.0];
const SPECK_INK: f32 = 0.6;
/// Chance of each of the specks.
const SPECKS: [f32; 3] = [0.4, 0.2, 0.1];
/// Greatest amplitude of pixel noise.
const NOISE: f32 = 0.12;

/// The label and the pixels of the image that `stream` describes.
pub(super) fn draw(stream: Stream) -> (u8, [u8; N_PIXELS]) {
    let mut rng = stream.rng();
    let label = rng.below(10) as u8;
    let variants = DIGITS[usize::from(label)];
    let glyph = variants[rng.below(variants.len() as u32) as usize];
    let mut canvas = [0.0; N_PIXELS];
    let (hand, pen) = (Hand::new(&mut rng), Pen::new(&mut rng));
    for stroke in glyph {
        pen.line(&hand.trace(stroke, &mut rng), &mut canvas, &mut rng);
    }
    add_specks(&mut canvas, &mut rng);
    (label, develop(&canvas, stream.at("noise"), rng.uniform_in(0.0, NOISE)))
}

/// How a writer places and bends a digit.
struct Hand {
    /// Rows of the matrix from the unit box to pixels.
    rows: [Point; 2],
    shift: Point,
    lattice: [Point; LATTICE * LATTICE],
}

impl Hand {
    fn new(rng: &mut Rng) -> Self {
        let [cos, sin] = turn(about(ROTATION, rng));
        let (height, slant) = (between(HEIGHT, rng), about(SLANT, rng));
        let width = height * (0.8 + about(ASPECT, rng));
        let rows = [
            [cos * width, height * (-cos * slant - sin)],
            [sin * width, height * (cos - sin * slant)],
        ];
        let shift = [about(SHIFT, rng), about(SHIFT, rng)];
        let lattice = std::array::from_fn(|_| [about(BEND, rng), about(BEND, rng)]);
        Self { rows, shift, lattice }
    }

    /// The stroke as this hand writes it, as a chain of points in pixels.
    fn trace(&self, stroke: Stroke, rng: &mut Rng) -> Vec<Point> {
        let points: Vec<Point> = stroke
            .iter()
            .map(|[x, y]| self.place([x + JITTER * bell(rng), y + JITTER * bell(rng)]))
            .collect();
        smooth(&points).into_iter().map(|point| self.bend(point)).collect()
    }

    /// From the unit box to pixels.
    fn place(&self, [x, y]: Point) -> Point {
        let (x, y) = (x - 0.5, y - 0.5);
        std::array::from_fn(|i| self.rows[i][0] * x + self.rows[i][1] * y + self.shift[i])
    }

    /// Adds the displacement of the lattice, interpolated smoothly.
    fn bend(&self, point: Point) -> Point {
        let cells = (LATTICE - 1) as f32;
        let [(left, right), (top, down)] = point.map(|v| {
            let place = ((v / SIDE as f32 + 0.5) * cells).clamp(0.0, cells - 0.001);
            (place as usize, ease(place - place.floor()))
        });
        let at = |row: usize, i: usize| {
            let from = row * LATTICE + left;
            mix(self.lattice[from][i], self.lattice[from + 1][i], right)
        };
        std::array::from_fn(|i| point[i] + mix(at(top, i), at(top + 1, i), down))
    }
}

/// A Catmull-Rom curve through the points, as a chain of straight pieces.
fn smooth(points: &[Point]) -> Vec<Point> {
    let last = points.len() - 1;
    let mut chain = Vec::with_capacity(last * PIECES + 1);
    for i in 0..last {
        let (a, b, c, d) =
            (points[i.saturating_sub(1)], points[i], points[i + 1], points[(i + 2).min(last)]);
        for piece in 0..PIECES {
            let t = piece as f32 / PIECES as f32;
            chain.push(std::array::from_fn(|k| {
                let (linear, cubic) = (c[k] - a[k], 3.0 * (b[k] - c[k]) + d[k] - a[k]);
                let square = 2.0 * a[k] - 5.0 * b[k] + 4.0 * c[k] - d[k];
                b[k] + 0.5 * t * (linear + t * (square + t * cubic))
            }));
        }
    }
    chain.push(points[last]);
    chain
}

/// What a writer writes with.
struct Pen {
    radius: f32,
    edge: f32,
    ink: f32,
}

impl Pen {
    fn new(rng: &mut Rng) -> Self {
        Self { radius: between(RADIUS, rng), edge: between(EDGE, rng), ink: between(INK, rng) }
    }

    /// Draws a chain of points, with a pressure that changes evenly along it.
    fn line(&self, chain: &[Point], canvas: &mut [f32; N_PIXELS], rng: &mut Rng) {
        let (first, last) = (1.0 + about(PRESSURE, rng), 1.0 + about(PRESSURE, rng));
        let n = chain.len() - 1;
        for i in 0..n {
            let radius = self.radius * mix(first, last, i as f32 / n as f32);
            self.piece([chain[i], chain[i + 1]], radius, canvas);
        }
    }

    /// Draws one straight piece: full ink within `radius`, falling smoothly over `edge`.
    fn piece(&self, ends: [Point; 2], radius: f32, canvas: &mut [f32; N_PIXELS]) {
        let reach = radius + 0.5 * self.edge;
        let [columns, rows] = std::array::from_fn(|k| pixels_near(ends[0][k], ends[1][k], reach));
        for y in rows {
            for x in columns.clone() {
                let distance = distance_squared(ends, [center(x), center(y)]);
                if distance < reach * reach {
                    let ink = self.ink * ease(((reach - distance.sqrt()) / self.edge).min(1.0));
                    let pixel = &mut canvas[y * SIDE + x];
                    *pixel = pixel.max(ink);
                }
            }
        }
    }
}

/// Short faint strokes anywhere, as dirt and neighboring digits leave them.
fn add_specks(canvas: &mut [f32; N_PIXELS], rng: &mut Rng) {
    for chance in SPECKS {
        if rng.uniform() < chance {
            let pen = Pen { ink: rng.uniform_in(0.2, SPECK_INK), ..Pen::new(rng) };
            let from = [about(13.0, rng), about(13.0, rng)];
            let to = [from[0] + about(6.0, rng), from[1] + about(6.0, rng)];
            pen.line(&[from, to], canvas, rng);
        }
    }
}

/// Adds noise and rounds to bytes.
fn develop(canvas: &[f32; N_PIXELS], noise: Stream, amplitude: f32) -> [u8; N_PIXELS] {
    let mut image = [0; N_PIXELS];
    for (i, (pixels, values)) in image.chunks_mut(4).zip(canvas.chunks(4)).enumerate() {
        for ((pixel, value), word) in pixels.iter_mut().zip(values).zip(noise.block(i as u64)) {
            *pixel = ((value + amplitude * triangle(word)) * 255.0 + 0.5).clamp(0.0, 255.0) as u8;
        }
    }
    image
}

/// The pixels along one axis that lie within `reach` of a piece from `a` to `b`.
fn pixels_near(a: f32, b: f32, reach: f32) -> std::ops::Range<usize> {
    let middle = 0.5 * SIDE as f32;
    let bound = |v: f32| (v + middle).clamp(0.0, SIDE as f32) as usize;
    bound(a.min(b) - reach)..(bound(a.max(b) + reach) + 1).min(SIDE)
}

/// Where the center of pixel `i` lies, from the center of the image.
fn center(i: usize) -> f32 {
    i as f32 + 0.5 - 0.5 * SIDE as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::math::tests::close;

    #[test]
    fn the_curve_passes_its_points() {
        let points = [[0.0, 0.0], [1.0, 2.0], [3.0, 1.0]];
        let chain = smooth(&points);
        assert_eq!(chain.len(), 2 * PIECES + 1);
        for (i, point) in points.iter().enumerate() {
            close(chain[i * PIECES][0], point[0]);
            close(chain[i * PIECES][1], point[1]);
        }
        // Halfway between the first two: (-a + 9b + 9c - d) / 16 with a = b.
        close(chain[PIECES / 2][0], (8.0 * 0.0 + 9.0 * 1.0 - 3.0) / 16.0);
    }

    #[test]
    fn a_line_is_inked_within_its_radius_only() {
        let mut canvas = [0.0; N_PIXELS];
        let pen = Pen { radius: 1.0, edge: 1.0, ink: 0.5 };
        pen.piece([[-5.0, 0.5], [5.0, 0.5]], 1.0, &mut canvas);
        close(canvas[14 * SIDE + 14], 0.5);
        close(canvas[15 * SIDE + 14], 0.25);
        close(canvas[16 * SIDE + 14], 0.0);
        pen.piece([[-100.0, 0.0], [-90.0, 200.0]], 1.0, &mut canvas);
    }

    #[test]
    fn every_digit_is_drawn_and_inside_the_image() {
        for i in 0..500 {
            let (label, image) = draw(Stream::new(7).number(i));
            assert!(label < 10);
            let bright = image.iter().filter(|&&pixel| pixel > 100).count();
            assert!(
                (10..400).contains(&bright),
                "image {i}, digit {label}: {bright} bright pixels"
            );
        }
    }
}
