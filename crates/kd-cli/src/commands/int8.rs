//! `kd export --int8`: a network in 8-bit integers, calibrated with images.

use kd_core::{Net, Result};
use kd_data::Split;
use kd_models::quantize::{Quantized, Range};
use kd_ship::calibrated;

use super::setting::DataDir;
use super::words::words;

/// How a network becomes one of 8-bit integers.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Int8Args {
    /// In ONNX, 8-bit integers, calibrated with training images of this data set, such as cifar10,
    /// folder:PATH or photos:PATH
    #[arg(long, value_name = "DATA")]
    int8: Option<String>,
    /// So many of them, evenly spaced
    #[arg(long, value_name = "N", default_value_t = 128)]
    calibration_images: usize,
    /// How far the 256 levels of an activation reach: over all values seen, as makes the squared error
    /// least, or without one in 10,000
    #[arg(long, default_value = "mse", value_parser = words(&Range::ALL))]
    calibration_range: Range,
    #[command(flatten)]
    data_dir: DataDir,
}

impl Int8Args {
    /// Whether that is asked for.
    pub(super) fn is_wanted(&self) -> bool {
        self.int8.is_some()
    }

    /// `network`, quantized, where that is asked for.
    pub(super) fn quantized(&self, network: &Net) -> Result<Option<Quantized>> {
        let Some(name) = &self.int8 else { return Ok(None) };
        let part =
            kd_suite::data(name)?.as_dyn().part(Some(&self.data_dir.path()), Split::Train)?;
        calibrated(network, &part, self.calibration_images, self.calibration_range).map(Some)
    }
}
