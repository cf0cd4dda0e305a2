//! Data sets of the `candle-datasets` crate as ours (cargo feature `candle-datasets`).
//!
//! Key decision: pixels go back to the bytes that they were decoded from, so that everything
//! else works on them as on files read here. Beware: that crate's CIFAR loader for the hub
//! swaps the rows and columns of each image; its loader of the binary files does not.

use candle_core::{DType, Tensor};
use candle_datasets::vision::Dataset;
use kd_core::{Error, Result};

use crate::{Images, Splits};

/// Converts a data set whose images, f32 in `[0, 1]`, are of `shape` = `[C, H, W]`, also when
/// they are stored flat. Each pixel becomes the nearest byte. Never counts as official.
///
/// ```no_run
/// let fashion = candle_datasets::vision::fashion_mnist::load()?;
/// let splits = kd_data::from_candle(&fashion, [1, 28, 28])?;
/// assert_eq!(splits.train.shape(), [1, 28, 28]);
/// # Ok::<(), kd_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] when the images are not of this shape; [`Error::Config`] when a pixel is
/// outside `[0, 1]` or a label is not below the number of classes.
pub fn from_candle(dataset: &Dataset, shape: [usize; 3]) -> Result<Splits> {
    let part = |images: &Tensor, labels: &Tensor| {
        let labels = labels.flatten_all()?.to_dtype(DType::U32)?.to_vec1()?;
        Images::new(bytes(images)?, labels, shape, dataset.labels)
    };
    Ok(Splits {
        train: part(&dataset.train_images, &dataset.train_labels)?,
        test: part(&dataset.test_images, &dataset.test_labels)?,
        official: false,
    })
}

fn bytes(images: &Tensor) -> Result<Vec<u8>> {
    let pixels: Vec<f32> = images.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
    pixels.into_iter().enumerate().map(|(i, pixel)| byte(i, pixel)).collect()
}

fn byte(i: usize, pixel: f32) -> Result<u8> {
    if (0.0..=1.0).contains(&pixel) {
        return Ok((pixel * 255.0).round() as u8);
    }
    Err(Error::config("images", format!("pixel {i} is {pixel}, expected a value in [0, 1]")))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn dataset(pixel: f32) -> Dataset {
        let images = |n: usize| {
            let pixels = (0..n * 4).map(|i| i as f32 / 255.0).collect::<Vec<_>>();
            Tensor::from_vec(pixels, (n, 4), &Device::Cpu).unwrap()
        };
        let labels = |n: u8| Tensor::from_iter(0..n, &Device::Cpu).unwrap();
        Dataset {
            train_images: images(3),
            train_labels: labels(3),
            test_images: Tensor::full(pixel, (1, 4), &Device::Cpu).unwrap(),
            test_labels: labels(1),
            labels: 3,
        }
    }

    #[test]
    fn bytes_come_back_exactly() {
        let splits = from_candle(&dataset(1.0), [1, 2, 2]).unwrap();
        assert_eq!(splits.train.pixels(), (0..12).collect::<Vec<u8>>());
        assert_eq!(splits.train.labels(), [0, 1, 2]);
        assert_eq!(splits.test.pixels(), [255; 4]);
    }

    #[test]
    fn what_that_crate_reads_from_files_becomes_our_images() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, header: &[u32], content: &[u8]| {
            let header = header.iter().flat_map(|word| word.to_be_bytes());
            let bytes = header.chain(content.iter().copied()).collect::<Vec<_>>();
            std::fs::write(dir.path().join(name), bytes).unwrap();
        };
        let pixels: Vec<u8> = (0..=255).cycle().take(2 * 784).collect();
        for (part, first) in [("train", 3), ("t10k", 7)] {
            let images = format!("{part}-images-idx3-ubyte");
            write(&images, &[2051, 2, 28, 28], &pixels);
            write(&format!("{part}-labels-idx1-ubyte"), &[2049, 2], &[first, 9]);
        }
        let mnist = candle_datasets::vision::mnist::load_dir(dir.path()).unwrap();
        let splits = from_candle(&mnist, [1, 28, 28]).unwrap();
        assert_eq!((splits.train.shape(), splits.train.n_classes()), ([1, 28, 28], 10));
        assert_eq!(splits.train.pixels(), pixels);
        assert_eq!((splits.train.labels(), splits.test.labels()), (&[3, 9][..], &[7, 9][..]));
    }

    #[test]
    fn unsuitable_data_are_refused() {
        assert!(matches!(from_candle(&dataset(1.0), [1, 3, 2]), Err(Error::Shape { .. })));
        for pixel in [-0.01, 1.01, 255.0, f32::NAN] {
            let error = from_candle(&dataset(pixel), [1, 2, 2]).unwrap_err().to_string();
            assert!(error.contains("pixel 0"), "{error}");
        }
        let few = Dataset { labels: 2, ..dataset(1.0) };
        assert!(matches!(from_candle(&few, [1, 2, 2]), Err(Error::Config { .. })));
    }
}
