//! A full disk, where a small one can be mounted: as root on Linux.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{MLPS, Results, end, files, folder_of, kd_run, refused, succeed};

/// A mounted file system in memory, taken away in the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, options: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays", self.0.display());
    }
}

#[test]
fn a_full_disk_is_named_and_the_run_goes_on_when_there_is_room() {
    let folder = folder_of(MLPS);
    let at = folder.path();
    let out = at.join("out");
    fs::create_dir(&out).unwrap();
    let Some(disk) = SmallDisk::mount(&out, "size=64k") else {
        println!("skipped: a small disk can be mounted by root on Linux only");
        return;
    };
    let full = end(&mut kd_run(at, "out"));
    refused(&full, 74, "No space left", "full disk");
    let left = files(&out);
    let half = |path: &PathBuf| path.to_string_lossy().contains(".saving-");
    assert!(!left.keys().any(half), "{:?}", left.keys());

    let remount = ["-o", "remount,size=16m"];
    assert!(Command::new("mount").args(remount).arg(&out).status().unwrap().success());
    succeed(&mut kd_run(at, "out"));
    succeed(&mut kd_run(at, "roomy"));
    Results::of(&out).assert_same(&Results::of(&at.join("roomy")));
    drop(disk);
}
