//! Shapes of about radius 1, by their signed distance: negative inside.
//!
//! Each comes in many versions of proportion.

use kd_core::rng::Rng;

use crate::synthetic::math::{Point, about, between, distance_squared};

/// Number of shapes.
pub(in crate::synthetic) const N_SHAPES: u8 = 10;

/// What the shapes are called.
pub(in crate::synthetic) const NAMES: [&str; N_SHAPES as usize] =
    ["ball", "ring", "crescent", "box", "frame", "triangle", "star", "cross", "arrow", "hourglass"];

/// Greatest displacement of each corner.
const JITTER: f32 = 0.07;

/// One object's outline.
pub(super) enum Shape {
    /// The disk of radius 1.
    Ball,
    /// A band of this half width around the circle that leaves its outer edge at radius 1.
    Ring(f32),
    /// The disk of radius 1 without another: its center and radius.
    Crescent(Point, f32),
    /// Inside of the corners.
    Polygon(Vec<Point>),
    /// A band of this width inside of the corners.
    Frame(Vec<Point>, f32),
}

/// Directions to the corners of a regular pentagon.
const PENTAGON: [Point; 5] = [
    [0.0, -1.0],
    [0.951_056_5, -0.309_017],
    [0.587_785_3, 0.809_017],
    [-0.587_785_3, 0.809_017],
    [-0.951_056_5, -0.309_017],
];

impl Shape {
    /// A version of the shape numbered `shape`, the last for all numbers above.
    pub(super) fn new(shape: u8, rng: &mut Rng) -> Self {
        match shape {
            0 => Self::Ball,
            1 => Self::Ring(between([0.13, 0.27], rng)),
            2 => {
                let angle = about(0.2, rng);
                Self::Crescent([between([0.45, 0.65], rng), angle], between([0.72, 0.88], rng))
            }
            3 => Self::Polygon(jittered(rectangle(rng), rng)),
            4 => Self::Frame(jittered(rectangle(rng), rng), between([0.22, 0.38], rng)),
            5 => Self::Polygon(jittered(triangle(rng), rng)),
            6 => Self::Polygon(jittered(star(between([0.38, 0.52], rng)), rng)),
            7 => Self::Polygon(jittered(cross(between([0.22, 0.36], rng)), rng)),
            8 => Self::Polygon(jittered(arrow(rng), rng)),
            _ => Self::Polygon(jittered(hourglass(rng), rng)),
        }
    }

    /// The signed distance of `point` from the outline.
    pub(super) fn distance(&self, point: Point) -> f32 {
        match self {
            Self::Ball => length(point) - 1.0,
            Self::Ring(half) => (length(point) - (1.0 - half)).abs() - half,
            Self::Crescent(center, radius) => {
                let bite = length([point[0] - center[0], point[1] - center[1]]) - radius;
                (length(point) - 1.0).max(-bite)
            }
            Self::Polygon(corners) => polygon(corners, point),
            Self::Frame(corners, width) => {
                let distance = polygon(corners, point);
                distance.max(-distance - width)
            }
        }
    }
}

fn rectangle(rng: &mut Rng) -> Vec<Point> {
    let [x, y] = [between([0.62, 1.0], rng), between([0.62, 1.0], rng)];
    vec![[-x, -y], [x, -y], [x, y], [-x, y]]
}

fn triangle(rng: &mut Rng) -> Vec<Point> {
    vec![[about(0.5, rng), -1.0], [0.95, 0.75], [-0.95, 0.75]]
}

/// Five points; the corners between them lie at the radius `inner`.
fn star(inner: f32) -> Vec<Point> {
    let corner = |i: usize| {
        let [x, y] = PENTAGON[(i + 3) % 5];
        [PENTAGON[i], [-inner * x, -inner * y]]
    };
    (0..5).flat_map(corner).collect()
}

/// Four arms of this half width.
fn cross(half: f32) -> Vec<Point> {
    let quarter = [[-half, -half], [-half, -1.0], [half, -1.0]];
    let turned = |n: usize| quarter.map(|point| (0..n).fold(point, |[x, y]: Point, _| [-y, x]));
    (0..4).flat_map(turned).collect()
}

fn arrow(rng: &mut Rng) -> Vec<Point> {
    let (shaft, neck) = (between([0.15, 0.28], rng), about(0.2, rng));
    vec![
        [-shaft, 1.0],
        [-shaft, neck],
        [-0.8, neck],
        [0.0, -1.0],
        [0.8, neck],
        [shaft, neck],
        [shaft, 1.0],
    ]
}

fn hourglass(rng: &mut Rng) -> Vec<Point> {
    let (waist, x) = (between([0.08, 0.25], rng), between([0.65, 0.9], rng));
    vec![[-x, -0.95], [x, -0.95], [waist, 0.0], [x, 0.95], [-x, 0.95], [-waist, 0.0]]
}

fn jittered(corners: Vec<Point>, rng: &mut Rng) -> Vec<Point> {
    corners.into_iter().map(|[x, y]| [x + about(JITTER, rng), y + about(JITTER, rng)]).collect()
}

fn length([x, y]: Point) -> f32 {
    (x * x + y * y).sqrt()
}

/// Distance from the nearest side; inside when a ray from the point crosses sides an odd number
/// of times.
fn polygon(corners: &[Point], point: Point) -> f32 {
    let [x, y] = point;
    let (mut nearest, mut inside) = (f32::INFINITY, false);
    let mut from = corners[corners.len() - 1];
    for &to in corners {
        nearest = nearest.min(distance_squared([from, to], point));
        if (from[1] <= y) != (to[1] <= y) {
            let crossing = from[0] + (y - from[1]) / (to[1] - from[1]) * (to[0] - from[0]);
            inside ^= x < crossing;
        }
        from = to;
    }
    if inside { -nearest.sqrt() } else { nearest.sqrt() }
}

#[cfg(test)]
mod tests {
    use kd_core::Stream;

    use super::*;

    fn close(got: f32, want: f32) {
        assert!((got - want).abs() < 1e-5, "got {got}, want {want}");
    }

    #[test]
    fn distances_by_hand() {
        close(Shape::Ball.distance([3.0, 4.0]), 4.0);
        close(Shape::Ring(0.25).distance([0.0, 0.75]), -0.25);
        close(Shape::Ring(0.25).distance([0.0, 0.0]), 0.5);
        let crescent = Shape::Crescent([0.5, 0.0], 0.75);
        close(crescent.distance([-0.625, 0.0]), -0.375);
        close(crescent.distance([0.5, 0.0]), 0.75);
        let corners = vec![[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]];
        close(polygon(&corners, [0.0, 0.5]), -0.5);
        close(polygon(&corners, [4.0, 5.0]), 5.0);
        let frame = Shape::Frame(corners, 0.25);
        close(frame.distance([0.0, 0.0]), 0.75);
        close(frame.distance([0.0, 0.875]), -0.125);
        close(frame.distance([0.0, 1.5]), 0.5);
    }

    #[test]
    fn a_star_and_a_cross_have_their_symmetry() {
        let star = Shape::Polygon(star(0.4));
        assert!(star.distance([0.0, -0.9]) < 0.0 && star.distance([0.0, 0.9]) > 0.0);
        let cross = Shape::Polygon(cross(0.3));
        for point in [[0.9, 0.0], [0.0, 0.9], [-0.9, 0.0], [0.0, -0.9]] {
            close(cross.distance(point), -0.1);
        }
        assert!(cross.distance([0.6, 0.6]) > 0.0);
    }

    #[test]
    fn every_shape_covers_a_fair_part_of_its_circle() {
        for number in 0..N_SHAPES {
            for i in 0..50 {
                let mut rng = Stream::new(u64::from(number)).number(i).rng();
                let shape = Shape::new(number, &mut rng);
                let points = (0..400).map(|k| [(k % 20) as f32, (k / 20) as f32]);
                let covered = points
                    .map(|[x, y]| [x / 9.5 - 1.0, y / 9.5 - 1.0])
                    .filter(|point| shape.distance(*point) < 0.0)
                    .count();
                assert!((50..360).contains(&covered), "shape {number}: {covered} of 400");
            }
        }
    }
}
