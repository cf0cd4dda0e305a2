//! Where to compute, and how exactly.

use std::path::Path;

use candle_core::{Device, DeviceLocation};

pub use crate::precision::Precision;
use crate::{Error, Result};

/// The device `name`: `cpu`, `cuda` or `cuda:N`; `auto` is the first GPU where the program can use
/// one and there is one, else the processor.
///
/// # Errors
/// [`Error::Config`] for another name, for a GPU where there is none or the program was built
/// without CUDA, and when the driver or a library refuses.
pub fn open(name: &str, precision: Precision) -> Result<Device> {
    let unknown =
        || Error::config("device", format!("`{name}` is none of auto, cpu, cuda, cuda:N"));
    match name {
        "cpu" => Ok(Device::Cpu),
        "auto" if !can_use_gpu() => Ok(Device::Cpu),
        "auto" | "cuda" => gpu(0, precision),
        _ => {
            let ordinal = name.strip_prefix("cuda:").ok_or_else(unknown)?;
            gpu(ordinal.parse().map_err(|_| unknown())?, precision)
        }
    }
}

/// Whether the program was built with CUDA and the machine has an NVIDIA driver. The CUDA libraries
/// are loaded when a GPU is opened, and end the program where they are missing: so this asks first.
pub fn can_use_gpu() -> bool {
    cfg!(feature = "cuda") && Path::new("/dev/nvidiactl").exists()
}

/// What a report calls `device`: `cpu`, or `cuda:0` with the GPU's name and [`Precision`].
///
/// # Errors
/// When the driver does not tell.
pub fn describe(device: &Device) -> Result<String> {
    match device.location() {
        DeviceLocation::Cpu => Ok("cpu".into()),
        #[cfg(feature = "cuda")]
        DeviceLocation::Cuda { gpu_id } => {
            Ok(format!("cuda:{gpu_id} ({})", crate::cuda::name(device)?))
        }
        other => Ok(format!("{other:?}")),
    }
}

#[cfg(feature = "cuda")]
fn gpu(ordinal: usize, precision: Precision) -> Result<Device> {
    if !can_use_gpu() {
        return Err(Error::config("device", "there is no NVIDIA driver (no /dev/nvidiactl)"));
    }
    crate::cuda::open(ordinal, precision)
        .map_err(|error| Error::config("device", format!("GPU {ordinal}: {error}")))
}

#[cfg(not(feature = "cuda"))]
fn gpu(_: usize, _: Precision) -> Result<Device> {
    let reason = "this program was built without CUDA; build it with xtask/cuda/cuda.sh";
    Err(Error::config("device", reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_always_there_and_other_names_are_refused() {
        assert!(open("cpu", Precision::F32).unwrap().is_cpu());
        for name in ["gpu", "cuda:", "cuda:x", "CPU", ""] {
            let error = open(name, Precision::F32).unwrap_err().to_string();
            assert!(error.contains("is none of auto, cpu, cuda, cuda:N"), "{error}");
        }
        if !can_use_gpu() {
            assert!(open("auto", Precision::F32).unwrap().is_cpu());
            assert!(matches!(open("cuda", Precision::F32), Err(Error::Config { .. })));
        }
    }
}
