//! Windows of images that lie on a GPU as bytes, as pixels in `[0, 1]`: a batch without a copy of
//! its pixels from CPU memory.
//!
//! On the CPU, kd-data cuts the same windows while it gathers the images; `byte / 255` is rounded
//! correctly on both, so both give the same bits.

#[cfg(feature = "cuda")]
mod cuda;

use candle_core::{DType, Tensor};

use crate::{Error, Result};

/// Where one image of a batch comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The image's place among all.
    pub index: u32,
    /// The row that comes first; rows outside of the image are zero pixels.
    pub top: i32,
    /// The column that comes first.
    pub left: i32,
    /// Whether left and right are then swapped.
    pub flip: bool,
}

/// The images that `windows` show, pixels in `[0, 1]`.
///
/// # Shapes
/// `pixels`: `(N, C, H, W)` u8, on a GPU; returns `(windows, C, H, W)` f32.
///
/// # Errors
/// [`Error::Shape`]; [`Error::Config`] for an index that is not below N, or in CPU memory.
pub fn crop(pixels: &Tensor, windows: &[Window]) -> Result<Tensor> {
    let (&[n, _, _, _], DType::U8) = (pixels.dims(), pixels.dtype()) else {
        return Err(Error::shape("pixels", "(N, C, H, W) of bytes", pixels.dims()));
    };
    if let Some(window) = windows.iter().find(|window| window.index as usize >= n) {
        let reason = format!("{} is not below the {n} images", window.index);
        return Err(Error::config("indices", reason));
    }
    #[cfg(feature = "cuda")]
    if pixels.device().is_cuda() {
        return cuda::crop(pixels, windows);
    }
    Err(Error::config("device", "images in CPU memory are cut by their loader"))
}
