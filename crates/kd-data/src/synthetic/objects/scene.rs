//! Draws one object before its background. Points are in pixels from the image's center.

use kd_core::Stream;
use kd_core::rng::Rng;

use super::shapes::{N_CLASSES, Shape};
use crate::cifar10::records::N_PIXELS;
use crate::synthetic::math::{Point, about, between, distance_squared, ease, mix, triangle, turn};

/// Height and width of an image, pixels.
const SIDE: usize = 32;
const N: usize = SIDE * SIDE;

/// Radius of the object, pixels, and how far its center may lie off the image's.
const RADIUS: [f32; 2] = [5.5, 11.0];
const SHIFT: f32 = 6.0;
/// Its width and height, each times the radius.
const STRETCH: [f32; 2] = [0.8, 1.2];
/// Width of the soft edge of what is drawn, pixels.
const EDGE: [f32; 2] = [0.8, 2.0];
/// The least that the object's color differs from the background's, summed over the channels.
const CONTRAST: f32 = 0.45;
/// Amplitude of the clouds of the background, of the texture of surfaces, and of pixel noise.
const CLOUDS: f32 = 0.3;
const TEXTURE: f32 = 0.35;
const NOISE: f32 = 0.1;
/// Chance of each of the bits of clutter behind the object, and before it.
const BEHIND: [f32; 4] = [0.8, 0.6, 0.4, 0.2];
const BEFORE: [f32; 2] = [0.5, 0.25];
/// Half the width of clutter, and its length, pixels.
const CLUTTER_HALF: [f32; 2] = [0.6, 2.2];
const CLUTTER_LENGTH: f32 = 9.0;

/// Red, green, blue in `[0, 1]`.
type Color = [f32; 3];
type Canvas = [Color; N];

/// The label and the pixels, red, then green, then blue, of the image that `stream` describes.
pub(super) fn draw(stream: Stream) -> (u8, [u8; N_PIXELS]) {
    let mut rng = stream.rng();
    let label = rng.below(u32::from(N_CLASSES)) as u8;
    let ground = Surface::new(random_color(&mut rng), CLOUDS, &mut rng);
    let mut canvas: Canvas = std::array::from_fn(|i| ground.color(place(i)));
    add_clutter(&BEHIND, &mut canvas, &mut rng);
    let color = color_unlike(ground.colors[0], &mut rng);
    Object::new(label, color, &mut rng).paint(&mut canvas);
    add_clutter(&BEFORE, &mut canvas, &mut rng);
    let light = Light::new(&mut rng);
    (label, develop(&canvas, &light, stream.at("noise"), rng.uniform_in(0.0, NOISE)))
}

/// Where the center of pixel `i` lies.
fn place(i: usize) -> Point {
    [i % SIDE, i / SIDE].map(|k| k as f32 + 0.5 - 0.5 * SIDE as f32)
}

fn random_color(rng: &mut Rng) -> Color {
    std::array::from_fn(|_| rng.uniform_in(0.05, 0.95))
}

/// A color that can be told from `other`, or nearly so.
fn color_unlike(other: Color, rng: &mut Rng) -> Color {
    let difference = |c: &Color| -> f32 { (0..3).map(|k| (c[k] - other[k]).abs()).sum() };
    let mut color = random_color(rng);
    for _ in 0..8 {
        if difference(&color) >= CONTRAST {
            break;
        }
        color = random_color(rng);
    }
    color
}

/// What fills an area: two colors, mixed by a pattern.
struct Surface {
    colors: [Color; 2],
    pattern: Pattern,
}

enum Pattern {
    /// Along a direction, per pixel.
    Gradient(Point),
    /// Stripes along a direction, per pixel in units of the period.
    Stripes(Point),
    /// Squares with sides along and across a direction.
    Checks(Point),
    /// Smooth noise of two sizes.
    Clouds([Lattice; 2]),
}

impl Surface {
    /// The second color differs from `color` by `amplitude` at most in each channel.
    fn new(color: Color, amplitude: f32, rng: &mut Rng) -> Self {
        let other = color.map(|c| c + about(amplitude, rng));
        let direction = direction(rng);
        let scaled = |range, rng: &mut Rng| {
            let scale = 1.0 / between(range, rng);
            direction.map(|d| d * scale)
        };
        let pattern = match rng.below(5) {
            0 => Pattern::Gradient(scaled([20.0, 40.0], rng)),
            1 => Pattern::Stripes(scaled([3.0, 8.0], rng)),
            2 => Pattern::Checks(scaled([3.0, 8.0], rng)),
            _ => Pattern::Clouds([Lattice::new(5.0, rng), Lattice::new(11.0, rng)]),
        };
        Self { colors: [color, other], pattern }
    }

    fn color(&self, point: Point) -> Color {
        let t = self.pattern.value(point);
        std::array::from_fn(|k| mix(self.colors[0][k], self.colors[1][k], t))
    }
}

impl Pattern {
    fn value(&self, [x, y]: Point) -> f32 {
        match self {
            Self::Gradient([dx, dy]) => (x * dx + y * dy + 0.5).clamp(0.0, 1.0),
            Self::Stripes([dx, dy]) => wave(x * dx + y * dy),
            Self::Checks([dx, dy]) => {
                let (a, b) = (wave(x * dx + y * dy), wave(y * dx - x * dy));
                a + b - 2.0 * a * b
            }
            Self::Clouds([large, small]) => 1.4 * large.at([x, y]) + 0.6 * small.at([x, y]) - 0.5,
        }
    }
}

/// A smooth wave of period 1 between 0 and 1.
fn wave(t: f32) -> f32 {
    ease((2.0 * (t - t.floor()) - 1.0).abs())
}

/// A direction, of length 1.
fn direction(rng: &mut Rng) -> Point {
    let [cos, sin] = turn(about(1.0, rng));
    if rng.below(2) == 0 { [cos, sin] } else { [-cos, -sin] }
}

/// Random numbers in `[0, 1]` on a lattice over the image, interpolated smoothly.
struct Lattice {
    cells: f32,
    values: Vec<f32>,
}

impl Lattice {
    fn new(cells: f32, rng: &mut Rng) -> Self {
        let n = (cells as usize + 1) * (cells as usize + 1);
        Self { cells, values: (0..n).map(|_| rng.uniform()).collect() }
    }

    fn at(&self, point: Point) -> f32 {
        let [(left, right), (top, down)] = point.map(|v| {
            let place = ((v / SIDE as f32 + 0.5) * self.cells).clamp(0.0, self.cells - 0.001);
            (place as usize, ease(place - place.floor()))
        });
        let row = |row: usize| {
            let from = row * (self.cells as usize + 1) + left;
            mix(self.values[from], self.values[from + 1], right)
        };
        mix(row(top), row(top + 1), down)
    }
}

/// The object that the label names.
struct Object {
    shape: Shape,
    surface: Surface,
    /// Rows of the matrix from pixels to the unit of the shape.
    rows: [Point; 2],
    center: Point,
    /// Pixels per unit of the shape.
    radius: f32,
    edge: f32,
    /// How much brighter the object becomes, per pixel along each axis.
    shade: Point,
}

impl Object {
    fn new(label: u8, color: Color, rng: &mut Rng) -> Self {
        let shape = Shape::new(label, rng);
        let radius = between(RADIUS, rng);
        let [width, height] = [between(STRETCH, rng), between(STRETCH, rng)].map(|s| s * radius);
        let [cos, sin] = direction(rng);
        Self {
            shape,
            surface: Surface::new(color, TEXTURE, rng),
            rows: [[cos / width, sin / width], [-sin / height, cos / height]],
            center: [about(SHIFT, rng), about(SHIFT, rng)],
            radius,
            edge: between(EDGE, rng),
            shade: [about(0.03, rng), about(0.03, rng)],
        }
    }

    fn paint(&self, canvas: &mut Canvas) {
        for (i, pixel) in canvas.iter_mut().enumerate() {
            let point = place(i);
            let off = [point[0] - self.center[0], point[1] - self.center[1]];
            let unit = self.rows.map(|row| row[0] * off[0] + row[1] * off[1]);
            let cover = cover(self.shape.distance(unit) * self.radius, self.edge);
            if cover > 0.0 {
                let light = 1.0 + self.shade[0] * off[0] + self.shade[1] * off[1];
                blend(pixel, self.surface.color(point).map(|c| c * light), cover);
            }
        }
    }
}

/// How much of a pixel is covered by what begins `distance` pixels from it, with a soft edge.
fn cover(distance: f32, edge: f32) -> f32 {
    ease((0.5 - distance / edge).clamp(0.0, 1.0))
}

fn blend(pixel: &mut Color, color: Color, cover: f32) {
    *pixel = std::array::from_fn(|k| mix(pixel[k], color[k], cover));
}

/// Strokes and dots anywhere, as many as the chances decide.
fn add_clutter(chances: &[f32], canvas: &mut Canvas, rng: &mut Rng) {
    for chance in chances {
        if rng.uniform() < *chance {
            let from = [about(16.0, rng), about(16.0, rng)];
            let to = from.map(|v| v + about(CLUTTER_LENGTH, rng));
            let (half, edge) = (between(CLUTTER_HALF, rng), between(EDGE, rng));
            let surface = Surface::new(random_color(rng), TEXTURE, rng);
            for (i, pixel) in canvas.iter_mut().enumerate() {
                let point = place(i);
                let cover = cover(distance_squared([from, to], point).sqrt() - half, edge);
                if cover > 0.0 {
                    blend(pixel, surface.color(point), cover);
                }
            }
        }
    }
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

/// Lights the scene, adds noise and rounds to bytes.
fn develop(canvas: &Canvas, light: &Light, noise: Stream, amplitude: f32) -> [u8; N_PIXELS] {
    let mut image = [0; N_PIXELS];
    let mut words = noise.rng();
    for (k, plane) in image.chunks_exact_mut(N).enumerate() {
        for (byte, color) in plane.iter_mut().zip(canvas) {
            let lit = 0.5 + light.gain[k] * (color[k] - 0.5) + light.offset;
            let value = lit + amplitude * triangle(words.next_u32());
            *byte = (value * 255.0 + 0.5).clamp(0.0, 255.0) as u8;
        }
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f32, want: f32) {
        assert!((got - want).abs() < 1e-6, "got {got}, want {want}");
    }

    #[test]
    fn patterns_by_hand() {
        let values = [0.0, 0.25, 0.5, 0.75, 1.0, -1.5].map(wave);
        [1.0, 0.5, 0.0, 0.5, 1.0, 0.0].iter().zip(values).for_each(|(w, v)| close(v, *w));
        close(Pattern::Gradient([0.1, 0.0]).value([2.0, 9.0]), 0.7);
        let checks = Pattern::Checks([0.5, 0.0]);
        close(checks.value([0.0, 0.0]), 0.0);
        close(checks.value([1.0, 0.0]), 1.0);
        close(checks.value([1.0, 1.0]), 0.0);
        let lattice = Lattice { cells: 1.0, values: vec![0.0, 1.0, 1.0, 0.0] };
        close(lattice.at([0.0, 0.0]), 0.5);
        close(lattice.at([-16.0, -16.0]), 0.0);
    }

    #[test]
    fn edges_are_soft() {
        close(cover(-1.0, 2.0), 1.0);
        close(cover(0.0, 2.0), 0.5);
        close(cover(1.0, 2.0), 0.0);
    }

    #[test]
    fn an_object_is_painted_where_it_is() {
        let object = Object {
            shape: Shape::Ball,
            surface: Surface {
                colors: [[1.0, 0.5, 0.0]; 2],
                pattern: Pattern::Gradient([0.0, 0.0]),
            },
            rows: [[0.2, 0.0], [0.0, 0.2]],
            center: [4.0, 0.0],
            radius: 5.0,
            edge: 1.0,
            shade: [0.0, 0.0],
        };
        let mut canvas = [[0.25; 3]; N];
        object.paint(&mut canvas);
        let row = &canvas[16 * SIDE..17 * SIDE];
        assert_eq!((row[20], row[13], row[27]), ([1.0, 0.5, 0.0], [0.25; 3], [0.25; 3]));
    }

    #[test]
    fn every_image_has_contrast() {
        for i in 0..300 {
            let (label, image) = draw(Stream::new(3).number(i));
            assert!(label < N_CLASSES);
            let (low, high) = (image.iter().min().unwrap(), image.iter().max().unwrap());
            assert!(high - low > 50, "image {i}: {low} to {high}");
        }
    }
}
