//! What the tests of runs share.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use candle_core::Device;
use kd_core::record::Record;
use kd_core::{Single, record};
use serde_json::Value;

use crate::Setting;

/// A run into `out`, on the processor, that nothing stops.
pub(super) fn setting(out: &Path) -> Setting {
    let (stop, ranks) = (AtomicBool::new(false).into(), Arc::new(Single));
    Setting { data_dir: None, out: out.into(), restart: false, device: Device::Cpu, stop, ranks }
}

/// The records without what the clock says, and without what depends on interruptions.
pub(super) fn timeless(out: &Path) -> Vec<Value> {
    let records = record::read(&out.join("metrics.jsonl")).unwrap();
    let timeless = |record: &Record| {
        let mut value = serde_json::to_value(record).unwrap();
        let fields = value.as_object_mut().unwrap();
        let clocks =
            ["seconds", "wall_seconds", "images_per_second", "data_wait", "teacher_computed"];
        fields.retain(|key, _| !clocks.contains(&key.as_str()));
        value
    };
    records.iter().map(timeless).collect()
}
