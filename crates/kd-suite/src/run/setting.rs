//! Where a run reads and writes, and on what it computes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use candle_core::Device;
use kd_core::{Collective, Single};

/// Where a run reads and writes, and on what it computes.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Data folder.
    pub data_dir: Option<PathBuf>,
    /// Folder of the results.
    pub out: PathBuf,
    /// Whether what an earlier run left in the folder of the results is removed first.
    pub restart: bool,
    /// What it computes on.
    pub device: Device,
    /// Set by SIGINT and SIGTERM.
    pub stop: Arc<AtomicBool>,
    /// The processes that train together ([`crate::World`]).
    pub ranks: Arc<dyn Collective>,
}

impl Setting {
    /// Results in `out`, on this process's processor, which nothing stops; no data folder.
    pub fn new(out: impl Into<PathBuf>) -> Self {
        let (stop, ranks) = (Arc::default(), Arc::new(Single));
        Self { data_dir: None, out: out.into(), restart: false, device: Device::Cpu, stop, ranks }
    }
}

/// The device's own name.
pub(super) fn device_name(device: &Device) -> String {
    kd_core::device::describe(device).unwrap_or_else(|_| format!("{:?}", device.location()))
}
