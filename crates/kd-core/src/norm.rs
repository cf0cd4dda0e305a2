//! Distances between images and balls around them, in units of `[0, 1]` pixels.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::rng::Rng;

/// How far two images are apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// The largest change of a pixel.
    #[default]
    Linf,
    /// Euclidean.
    L2,
    /// The number of values that differ.
    L0,
}

impl fmt::Display for Norm {
    /// As in suite files.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linf => "linf",
            Self::L2 => "l2",
            Self::L0 => "l0",
        })
    }
}

impl Norm {
    /// The distance between two images, summed in f64.
    pub fn distance(self, a: &[f32], b: &[f32]) -> f64 {
        self.of(a.iter().zip(b).map(|(a, b)| f64::from(a - b)))
    }

    fn of(self, differences: impl Iterator<Item = f64>) -> f64 {
        match self {
            Self::Linf => differences.fold(0.0, |max, d| max.max(d.abs())),
            Self::L2 => differences.map(|d| d * d).sum::<f64>().sqrt(),
            Self::L0 => differences.filter(|d| *d != 0.0).count() as f64,
        }
    }

    /// The distance of `vector` from 0.
    pub fn length(self, vector: &[f32]) -> f64 {
        self.of(vector.iter().map(|v| f64::from(*v)))
    }

    /// Moves `image` to the nearest point of the ball of radius `eps` around `center`, then into
    /// the box `[0, 1]`. (For L2 the box comes last and moves each value toward the center's, so
    /// that the point stays in the ball.) L0 balls have no projection here: only the box is applied.
    pub fn project(self, image: &mut [f32], center: &[f32], eps: f32) {
        match self {
            Self::Linf => {
                for (x, c) in image.iter_mut().zip(center) {
                    *x = x.clamp((c - eps).max(0.0), (c + eps).min(1.0));
                }
            }
            Self::L2 => {
                let scale =
                    (f64::from(eps) / self.distance(image, center).max(1e-12)).min(1.0) as f32;
                for (x, c) in image.iter_mut().zip(center) {
                    *x = if scale < 1.0 { c + (*x - c) * scale } else { *x };
                    *x = x.clamp(0.0, 1.0);
                }
            }
            Self::L0 => image.iter_mut().for_each(|x| *x = x.clamp(0.0, 1.0)),
        }
    }

    /// Adds the step of length `size` along which a linear function of gradient `grad` grows most:
    /// `size * sign(g)`, with `sign(0) = 0`, or `size * g / |g|_2`, nothing when the gradient is 0.
    pub fn step(self, image: &mut [f32], grad: &[f32], size: f32) {
        let scale = match self {
            Self::Linf | Self::L0 => {
                let moved = image.iter_mut().zip(grad);
                return moved.for_each(|(x, g)| *x += size * sign(*g));
            }
            Self::L2 => self.length(grad),
        };
        if scale > 0.0 {
            let moved = image.iter_mut().zip(grad);
            moved.for_each(|(x, g)| *x += (f64::from(size) * f64::from(*g) / scale) as f32);
        }
    }

    /// A random point of the ball, within the box: uniform in the cube for L-infinity; for L2 a
    /// uniform direction and the radius `eps * u^(1/n)`, uniform in volume.
    pub fn random_start(self, center: &[f32], eps: f32, rng: &mut Rng) -> Vec<f32> {
        let mut image = center.to_vec();
        match self {
            Self::Linf => image.iter_mut().for_each(|x| *x += rng.uniform_in(-eps, eps)),
            Self::L2 => {
                let direction: Vec<f32> = center.iter().map(|_| rng.normal()).collect();
                let radius = eps * rng.uniform().powf(1.0 / center.len() as f32);
                self.step(&mut image, &direction, radius);
            }
            Self::L0 => {}
        }
        self.project(&mut image, center, eps);
        image
    }

    /// A random point at distance `eps`, moved into the box: uniform noise for L-infinity, a uniform
    /// direction for L2, each scaled to this length.
    pub fn random_on_sphere(self, center: &[f32], eps: f32, rng: &mut Rng) -> Vec<f32> {
        let draw =
            |_: &f32| if self == Self::L2 { rng.normal() } else { rng.uniform_in(-1.0, 1.0) };
        let noise: Vec<f32> = center.iter().map(draw).collect();
        let scale = (f64::from(eps) / self.length(&noise).max(1e-12)) as f32;
        let mut image: Vec<f32> = center.iter().zip(&noise).map(|(c, t)| c + scale * t).collect();
        self.project(&mut image, center, eps);
        image
    }
}

/// -1, 0 or 1; 0 for 0 and NaN (`f32::signum` gives 1 for +0).
fn sign(x: f32) -> f32 {
    f32::from(i8::from(x > 0.0) - i8::from(x < 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;

    const CENTER: [f32; 3] = [0.5, 0.0, 1.0];

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|v| v.to_bits()).collect()
    }

    #[test]
    fn distances_by_hand() {
        let (a, b) = ([0.0, 0.0, 1.0], [0.3, 0.4, 1.0]);
        assert!((Norm::Linf.distance(&a, &b) - 0.4).abs() < 1e-7);
        assert!((Norm::L2.distance(&a, &b) - 0.5).abs() < 1e-7);
        assert_eq!(Norm::L0.distance(&a, &b) as u32, 2);
    }

    #[test]
    fn steps_by_hand() {
        let mut image = CENTER;
        Norm::Linf.step(&mut image, &[3.0, -1e-30, 0.0], 0.1);
        assert_eq!(bits(&image), bits(&[0.6, -0.1, 1.0]));
        let mut image = CENTER;
        Norm::L2.step(&mut image, &[3.0, -4.0, 0.0], 0.5);
        assert_eq!(bits(&image), bits(&[0.8, -0.4, 1.0]));
        let mut image = CENTER;
        Norm::L2.step(&mut image, &[0.0; 3], 0.5);
        assert_eq!(bits(&image), bits(&CENTER));
        let signs = [sign(f32::NAN), sign(-0.0), sign(-2.0)];
        assert_eq!(bits(&signs), bits(&[0.0, 0.0, -1.0]));
    }

    #[test]
    fn projection_by_hand() {
        let mut image = [0.9, -0.5, 0.8];
        Norm::Linf.project(&mut image, &CENTER, 0.25);
        assert_eq!(bits(&image), bits(&[0.75, 0.0, 0.8]));
        let mut image = [0.8, 0.4, 1.0];
        Norm::L2.project(&mut image, &CENTER, 0.25);
        assert!((image[0] - 0.65).abs() < 1e-6 && (image[1] - 0.2).abs() < 1e-6, "{image:?}");
    }

    #[test]
    fn random_points_on_the_sphere_are_at_its_distance() {
        let center = [0.5; 20];
        for norm in [Norm::Linf, Norm::L2] {
            let point = norm.random_on_sphere(&center, 0.1, &mut Stream::new(2).rng());
            assert!((norm.distance(&point, &center) - 0.1).abs() < 1e-6, "{norm:?}");
        }
    }

    #[test]
    fn random_starts_fill_the_ball_and_stay_in_it() {
        let center = [0.5; 20];
        for norm in [Norm::Linf, Norm::L2] {
            let mut largest = 0.0_f64;
            for i in 0..500 {
                let mut rng = Stream::new(1).number(i).rng();
                let start = norm.random_start(&center, 0.1, &mut rng);
                largest = largest.max(norm.distance(&start, &center));
            }
            assert!(largest <= 0.1 + 1e-6 && largest > 0.09, "{norm:?}: {largest}");
        }
    }
}
