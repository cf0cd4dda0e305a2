//! Maps of image coordinates: affine, elastic, and bilinear interpolation. Points are `[y, x]`.

use serde::{Deserialize, Serialize};

use kd_core::rng::Rng;
use kd_core::{Result, in_range};

/// Elastic distortion: a random field of displacements, each component uniform in `[-1, 1]`,
/// blurred by a Gaussian and multiplied by `alpha`.
///
/// Source: Simard, Steinkraus, Platt, *Best practices for convolutional neural networks applied
/// to visual document analysis*, ICDAR 2003, section 2; the defaults are theirs for MNIST.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Elastic {
    /// Strength, pixels, in `[0, 1000]`.
    pub alpha: f32,
    /// Standard deviation of the Gaussian, pixels, in `[0.1, 100]`.
    pub sigma: f32,
}

impl Default for Elastic {
    fn default() -> Self {
        Self { alpha: 34.0, sigma: 4.0 }
    }
}

impl Elastic {
    pub(crate) fn check(&self) -> Result<()> {
        in_range("augment.elastic.alpha", self.alpha, 0.0, 1000.0)?;
        in_range("augment.elastic.sigma", self.sigma, 0.1, 100.0)
    }

    /// A field for images of `size` = `[H, W]`.
    pub(crate) fn draw(&self, [height, width]: [usize; 2], rng: &mut Rng) -> Field {
        let kernel = gaussian(self.sigma, height.max(width));
        let mut component = || {
            let noise: Vec<f32> =
                (0..height * width).map(|_| self.alpha * rng.uniform_in(-1.0, 1.0)).collect();
            blur(&noise, width, &kernel)
        };
        Field { dy: component(), dx: component() }
    }
}

/// Where each pixel of the result comes from.
#[derive(Debug)]
pub(crate) struct Warp {
    pub(crate) linear: Linear,
    pub(crate) field: Option<Field>,
}

impl Warp {
    /// The place in the source of pixel `i` of the result, which lies at `place`.
    #[inline(always)]
    pub(crate) fn apply(&self, place: [f32; 2], center: [f32; 2], i: usize) -> [f32; 2] {
        let [y, x] = self.linear.apply(place, center);
        match &self.field {
            Some(field) => [y + field.dy[i], x + field.dx[i]],
            None => [y, x],
        }
    }
}

/// One displacement per pixel.
#[derive(Debug)]
pub(crate) struct Field {
    dy: Vec<f32>,
    dx: Vec<f32>,
}

/// Weights of a normalized Gaussian, cut at three standard deviations or `max_radius`.
fn gaussian(sigma: f32, max_radius: usize) -> Vec<f32> {
    let radius = ((3.0 * sigma).ceil() as usize).min(max_radius) as i32;
    let weight = |i: i32| (-0.5 * (i as f32 / sigma).powi(2)).exp();
    let sum: f32 = (-radius..=radius).map(weight).sum();
    (-radius..=radius).map(|i| weight(i) / sum).collect()
}

/// Convolves rows, then columns; zero outside.
fn blur(image: &[f32], width: usize, kernel: &[f32]) -> Vec<f32> {
    let mut rows = vec![0.0; image.len()];
    for (from, to) in image.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
        add_shifted(from, to, 1, kernel);
    }
    let mut out = vec![0.0; image.len()];
    add_shifted(&rows, &mut out, width, kernel);
    out
}

/// Adds `from`, shifted by whole steps and weighted by the kernel, to `to`.
fn add_shifted(from: &[f32], to: &mut [f32], step: usize, kernel: &[f32]) {
    let radius = kernel.len() / 2;
    for (k, weight) in kernel.iter().enumerate() {
        let shift = (k.abs_diff(radius) * step).min(from.len());
        let (kept, end) = (from.len() - shift, from.len());
        let (to, from) = if k < radius {
            (&mut to[shift..end], &from[..kept])
        } else {
            (&mut to[..kept], &from[shift..end])
        };
        to.iter_mut().zip(from).for_each(|(to, from)| *to += weight * from);
    }
}

/// A linear map of points around a center, with a shift.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linear {
    yy: f32,
    yx: f32,
    xy: f32,
    xx: f32,
    shift: [f32; 2],
}

impl Linear {
    pub(crate) const IDENTITY: Self = Self { yy: 1.0, yx: 0.0, xy: 0.0, xx: 1.0, shift: [0.0; 2] };

    /// The inverse of: shear along x, scale, rotate clockwise (angles in radians), then shift;
    /// it tells which place of the source a place of the result comes from.
    pub(crate) fn inverse_of(rotation: f32, scale: f32, shear: f32, shift: [f32; 2]) -> Self {
        let (sin, cos) = rotation.sin_cos();
        let tan = shear.tan();
        // Rotation back: y = cos y' - sin x', x = sin y' + cos x'; shear back: x -= tan y.
        let (yy, yx) = (cos / scale, -sin / scale);
        let (xy, xx) = (sin / scale - tan * yy, cos / scale - tan * yx);
        Self { yy, yx, xy, xx, shift }
    }

    #[inline(always)]
    pub(crate) fn apply(&self, [y, x]: [f32; 2], [center_y, center_x]: [f32; 2]) -> [f32; 2] {
        let (y, x) = (y - center_y - self.shift[0], x - center_x - self.shift[1]);
        [self.yy * y + self.yx * x + center_y, self.xy * y + self.xx * x + center_x]
    }
}

/// Pixels of one image, `[C, H, W]`, in a frame of zeros: places outside need no test.
#[derive(Debug)]
pub(crate) struct Framed {
    pixels: Vec<f32>,
    size: [usize; 2],
    width: usize,
    plane: usize,
}

/// Where to interpolate: the pixel above and left of a place, and how far the place is from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Corner {
    at: usize,
    down: f32,
    right: f32,
}

impl Framed {
    /// One zero above and left, two below and right, of each channel of `size` = `[H, W]`.
    pub(crate) fn new(image: &[u8], size: [usize; 2]) -> Self {
        let [height, width] = [size[0] + 3, size[1] + 3];
        let plane = height * width;
        let mut pixels = vec![0.0; image.len() / (size[0] * size[1]) * plane];
        for (from, to) in image.chunks_exact(size[0] * size[1]).zip(pixels.chunks_exact_mut(plane))
        {
            for (from, to) in from.chunks_exact(size[1]).zip(to[width..].chunks_exact_mut(width)) {
                to[1..].iter_mut().zip(from).for_each(|(to, &from)| *to = f32::from(from));
            }
        }
        Self { pixels, size, width, plane }
    }

    /// The corner of `[y, x]`.
    #[inline(always)]
    pub(crate) fn corner(&self, [y, x]: [f32; 2]) -> Corner {
        // All is zero from one pixel outside on; clamped, the coordinates stay in the frame.
        let y = y.clamp(-1.0, self.size[0] as f32);
        let x = x.clamp(-1.0, self.size[1] as f32);
        let (top, left) = (floor(y), floor(x));
        let at = (top + 1) as usize * self.width + (left + 1) as usize;
        Corner { at, down: y - top as f32, right: x - left as f32 }
    }

    /// The value of `channel` there, bilinear; in units of bytes.
    #[inline(always)]
    pub(crate) fn sample(&self, channel: usize, Corner { at, down, right }: Corner) -> f32 {
        let from = &self.pixels[channel * self.plane + at..][..self.width + 2];
        let upper = from[0] * (1.0 - right) + from[1] * right;
        let lower = from[self.width] * (1.0 - right) + from[self.width + 1] * right;
        upper * (1.0 - down) + lower * down
    }
}

/// `f32::floor` is a function call on processors that this program must also run on.
fn floor(v: f32) -> i32 {
    let toward_zero = v as i32;
    toward_zero - i32::from(toward_zero as f32 > v)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kd_core::Stream;

    fn close(got: f32, want: f32, tolerance: f32) {
        assert!((got - want).abs() <= tolerance, "got {got}, want {want}");
    }

    #[test]
    fn bilinear_values_by_hand() {
        let image = Framed::new(&[10, 20, 30, 40], [2, 2]);
        for (place, want) in [
            ([0.0, 0.0], 10.0),
            ([1.0, 1.0], 40.0),
            ([0.5, 0.5], 25.0),
            ([0.25, 0.0], 15.0),
            ([-0.5, 0.0], 5.0),
            ([1.5, 1.5], 10.0),
            ([-1.0, 0.0], 0.0),
            ([2.0, 2.0], 0.0),
            ([f32::MAX, 0.0], 0.0),
            ([0.0, f32::MIN], 0.0),
        ] {
            close(image.sample(0, image.corner(place)), want, 1e-5);
        }
    }

    #[test]
    fn the_inverse_undoes_shear_scale_rotation_and_shift() {
        let (rotation, scale, shear, shift) = (0.3_f32, 1.2, 0.2_f32, [1.0, -2.0]);
        let [y, x] = [3.0, 5.0_f32];
        let sheared = x + shear.tan() * y;
        let (sin, cos) = rotation.sin_cos();
        let moved = [
            scale * (cos * y + sin * sheared) + shift[0] + 9.0,
            scale * (cos * sheared - sin * y) + shift[1] + 9.0,
        ];
        let back = Linear::inverse_of(rotation, scale, shear, shift).apply(moved, [9.0, 9.0]);
        close(back[0], y + 9.0, 1e-5);
        close(back[1], x + 9.0, 1e-5);
    }

    #[test]
    fn blur_of_a_point_is_the_kernel_squared_and_of_a_plane_is_the_plane() {
        let kernel = gaussian(1.0, 28);
        assert_eq!(kernel.len(), 7);
        let mut point = vec![0.0; 9 * 9];
        point[4 * 9 + 4] = 1.0;
        let blurred = blur(&point, 9, &kernel);
        close(blurred[4 * 9 + 4], kernel[3] * kernel[3], 1e-7);
        close(blurred[2 * 9 + 5], kernel[1] * kernel[4], 1e-7);
        close(blurred.iter().sum(), 1.0, 1e-6);
        close(blur(&[1.0; 81], 9, &kernel)[4 * 9 + 4], 1.0, 1e-6);
        assert_eq!(blur(&[1.0; 4], 2, &gaussian(100.0, 2)).len(), 4);
    }

    #[test]
    fn the_elastic_field_has_the_predicted_size() {
        let mut rng = Stream::new(1).rng();
        let field = Elastic::default().draw([60, 60], &mut rng);
        let inner: Vec<f32> =
            (0..3600).filter(|i| (12..48).contains(&(i % 60))).map(|i| field.dy[i]).collect();
        let variance = inner.iter().map(|d| d * d).sum::<f32>() / inner.len() as f32;
        // Uniform noise of variance 1/3 through a Gaussian: alpha^2 / 3 / (4 pi sigma^2).
        close(variance.sqrt(), 34.0 / (3.0 * 4.0 * std::f32::consts::PI * 16.0).sqrt(), 0.4);
    }
}
