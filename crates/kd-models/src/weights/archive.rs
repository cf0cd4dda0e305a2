//! What a zip archive is that is no PyTorch checkpoint.

use super::zip::Archive;

/// Ends of the names of files that may hold weights.
const WEIGHTS: [&str; 10] =
    [".pth", ".pt", ".th", ".ckpt", ".bin", ".tar", ".safetensors", ".onnx", ".pkl", ".h5"];

/// Whether it is a network with its code: TorchScript, or `torch.package`.
pub(super) fn is_program(archive: &Archive) -> bool {
    has(archive, "constants.pkl") || has(archive, "extern_modules")
}

/// What it is, and what to do.
pub(super) fn what(archive: &Archive) -> String {
    if has(archive, "constants.pkl") {
        return "a TorchScript archive, which is a program; in Python, \
                torch.save(torch.jit.load(FILE).state_dict(), OUT)"
            .into();
    }
    if has(archive, "extern_modules") {
        return "a torch.package archive, which is a program; load it in Python, and save \
                model.state_dict()"
            .into();
    }
    if has(archive, "serialized_exported_program.json") || has(archive, "archive_format") {
        return "a program of torch.export; load it in Python, and save its state_dict".into();
    }
    if ends(archive, ".npy").is_some() {
        return "a NumPy archive (.npz); save tensors by safetensors or torch.save".into();
    }
    if let Some(name) = WEIGHTS.iter().find_map(|end| ends(archive, end)) {
        return format!("a zip archive that holds `{name}`; unpack it, and give what is in it");
    }
    let names: Vec<&str> = archive.entries().map(|(name, _)| name).take(3).collect();
    format!("a zip archive without one data.pkl: no PyTorch checkpoint; it holds {names:?}")
}

/// Whether there is a file of this name, in whatever folder.
fn has(archive: &Archive, file: &str) -> bool {
    archive.entries().any(|(name, _)| name.rsplit('/').next() == Some(file))
}

fn ends<'a>(archive: &'a Archive, end: &str) -> Option<&'a str> {
    archive.entries().map(|(name, _)| name).find(|name| name.ends_with(end))
}
