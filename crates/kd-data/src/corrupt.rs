//! Photographs made worse, to see what a network stands.
//!
//! What it deliberately does not do: ImageNet-C has fifteen kinds in five severities, and is a set of
//! files; these are three of the kinds, made of any images.

use std::fmt;

use image::{ImageBuffer, Rgb};
use kd_core::{Error, Result, Stream};
use libjpeg_turbo_rs::{Encoder, PixelFormat, Subsampling};

use crate::decode::Picture;

/// A kind of damage, as in ImageNet-C (Hendrycks and Dietterich 2019, arXiv:1903.12261).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Corruption {
    /// Gaussian blur; ImageNet-C has sigma 1, 2, 3, 4, 6 pixels.
    Blur {
        /// Pixels.
        sigma: f32,
    },
    /// Gaussian noise in every value; ImageNet-C has 0.08, 0.12, 0.18, 0.26, 0.38.
    Noise {
        /// Standard deviation, for pixels in `[0, 1]`.
        std: f32,
    },
    /// Compression with loss; ImageNet-C has quality 25, 18, 15, 10, 7.
    Jpeg {
        /// libjpeg's, from 1 to 100; color at half the resolution.
        quality: u8,
    },
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blur { sigma } => write!(f, "blur, sigma {sigma}"),
            Self::Noise { std } => write!(f, "noise, deviation {std}"),
            Self::Jpeg { quality } => write!(f, "JPEG, quality {quality}"),
        }
    }
}

impl Corruption {
    /// What becomes of `pixels`, planes in `[0, 1]` of an image of `[C, H, W]`, gray or RGB; noise is
    /// drawn from `stream`, and so the same for equal streams. Blur and compression are of bytes.
    ///
    /// # Errors
    /// [`Error::Shape`] for other images; [`Error::Config`] where the image cannot be encoded.
    pub fn apply(
        self,
        pixels: &[f32],
        shape @ [channels, height, width]: [usize; 3],
        stream: Stream,
    ) -> Result<Vec<f32>> {
        if !matches!(channels, 1 | 3) || pixels.len() != shape.iter().product::<usize>() {
            return Err(Error::shape("image", "gray or RGB planes", &shape));
        }
        if let Self::Noise { std } = self {
            let mut rng = stream.rng();
            return Ok(pixels.iter().map(|p| (p + std * rng.normal()).clamp(0.0, 1.0)).collect());
        }
        let n = height * width;
        // Gray as three equal channels.
        let plane = |channel: usize| channel.min(channels - 1) * n;
        let byte = |value: f32| (255.0 * value).round() as u8;
        let rgb: Vec<u8> =
            (0..n).flat_map(|i| [0, 1, 2].map(|c| byte(pixels[plane(c) + i]))).collect();
        let damaged = match self {
            Self::Jpeg { quality } => jpeg(&rgb, [height, width], quality)?,
            Self::Blur { sigma } => blur(rgb, [height, width], sigma),
            Self::Noise { .. } => rgb,
        };
        let value = |channel: usize, i: usize| f32::from(damaged[3 * i + channel]) / 255.0;
        Ok((0..channels)
            .flat_map(|c| (0..n).map(move |i| (c, i)))
            .map(|(c, i)| value(c, i))
            .collect())
    }
}

fn blur(rgb: Vec<u8>, [height, width]: [usize; 2], sigma: f32) -> Vec<u8> {
    let picture: Option<ImageBuffer<Rgb<u8>, _>> =
        ImageBuffer::from_raw(width as u32, height as u32, rgb);
    picture.map_or(Vec::new(), |picture| image::imageops::blur(&picture, sigma).into_raw())
}

fn jpeg(rgb: &[u8], [height, width]: [usize; 2], quality: u8) -> Result<Vec<u8>> {
    let refused = |reason: String| Error::config("jpeg", reason);
    let bytes = Encoder::new(rgb, width, height, PixelFormat::Rgb)
        .quality(quality)
        .subsampling(Subsampling::S420)
        .encode()
        .map_err(|error| refused(error.to_string()))?;
    Ok(Picture::open(&bytes).and_then(|picture| picture.rgb()).map_err(refused)?.pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Black on the left, white on the right.
    fn halves(shape: [usize; 3]) -> Vec<f32> {
        let n = shape.iter().product::<usize>();
        (0..n).map(|i| f32::from(u8::from(i % shape[2] >= shape[2] / 2))).collect()
    }

    fn damaged(kind: Corruption, shape: [usize; 3]) -> Vec<f32> {
        kind.apply(&halves(shape), shape, Stream::new(3)).unwrap()
    }

    #[test]
    fn a_blurred_edge_is_the_integral_of_the_bell_and_each_channel_is_alike() {
        for shape in [[3, 24, 24], [1, 24, 24]] {
            let image = damaged(Corruption::Blur { sigma: 2.0 }, shape);
            let row = |channel: usize| &image[channel * 576 + 12 * 24..][..24];
            // Half a pixel beyond the edge: Phi(0.25) = 0.5987; four pixels and a half: Phi(2.25).
            assert!((row(0)[12] - 0.5987).abs() < 0.02, "{:?}", row(0));
            assert!((row(0)[16] - 0.9878).abs() < 0.02, "{:?}", row(0));
            assert_eq!(row(0), row(shape[0] - 1));
        }
    }

    #[test]
    fn noise_has_its_deviation_where_nothing_is_clamped() {
        let (shape, kind) = ([1, 100, 100], Corruption::Noise { std: 0.1 });
        let noisy = kind.apply(&[0.5; 10_000], shape, Stream::new(3)).unwrap();
        let mean = noisy.iter().sum::<f32>() / 1e4;
        let variance = noisy.iter().map(|p| (p - mean).powi(2)).sum::<f32>() / 1e4;
        assert!((mean - 0.5).abs() < 0.004 && (variance.sqrt() - 0.1).abs() < 0.003);
        assert_eq!(noisy, kind.apply(&[0.5; 10_000], shape, Stream::new(3)).unwrap());
    }

    #[test]
    fn compression_loses_the_more_the_lower_its_quality() {
        let shape = [3, 32, 32];
        let mut rng = Stream::new(4).rng();
        let image: Vec<f32> =
            (0..3 * 1024).map(|_| (0.5 + 0.2 * rng.normal()).clamp(0.0, 1.0)).collect();
        let error = |quality| {
            let kind = Corruption::Jpeg { quality };
            let damaged = kind.apply(&image, shape, Stream::new(3)).unwrap();
            damaged.iter().zip(&image).map(|(a, b)| (a - b).powi(2)).sum::<f32>()
        };
        assert!(error(10) > error(50) && error(50) > error(95) && error(95) > 0.0);
        assert!(
            Corruption::Jpeg { quality: 50 }.apply(&image, [2, 32, 48], Stream::new(0)).is_err()
        );
    }
}
