//! What a file is that holds no weights, from its first bytes: downloads that went wrong, archives,
//! and other programs' formats.

use super::checked::Checked;

/// Bytes of a file that tell what it is.
pub(crate) const START: u64 = 1024;
/// Bytes of a tar archive's entry before its content.
const TAR: usize = 512;

/// Starts of files, what has them, and what to do.
const STARTS: [(&[u8], &str); 24] = [
    (b"<!doctype", "a web page, not the file itself; download it with the link that the page has"),
    (b"<html", "a web page, not the file itself; download it with the link that the page has"),
    (b"<?xml", "an XML document, as servers answer with; look into it, and download again"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; `git lfs pull` gets it"),
    (b"oid sha256", "a Git LFS pointer, not the file itself; `git lfs pull` gets it"),
    (b"\x1f\x8b", "a gzip file; unpack it by `gunzip`"),
    (b"bzh", "a bzip2 file; unpack it by `bunzip2`"),
    (b"\xfd7zxz\0", "an xz file; unpack it by `unxz`"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file; unpack it by `unzstd`"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it"),
    (b"rar!", "a RAR archive; unpack it"),
    (b"\x89hdf", "an HDF5 file, as Keras writes; export the network as ONNX"),
    (b"\x93numpy", "a NumPy array; save tensors by safetensors or torch.save"),
    (b"gguf", "a GGUF file of a language model, which is none of kd's networks"),
    (b"ggml", "a GGML file of a language model, which is none of kd's networks"),
    (b"lmgg", "a GGML file of a language model, which is none of kd's networks"),
    (b"%pdf", "a PDF document"),
    (b"\x89png", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"gif8", "a picture"),
    (b"matlab", "a MATLAB file; save tensors by safetensors or torch.save"),
    (b"\x7felf", "a program"),
    (b"import ", "a Python program; give the file of weights that it saves"),
    (b"#!", "a script"),
];

/// What a file is that starts with `start`, and what to do, where that is known and no weights.
pub(crate) fn what(start: &[u8]) -> Option<String> {
    if start.is_empty() {
        return Some("an empty file; copy or download it again".into());
    }
    if start.len() >= 16 && start.iter().all(|byte| *byte == 0) {
        return Some("nothing but zeros, as of a download that broke off; get it again".into());
    }
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let is = |(magic, _): &&(&[u8], &str)| starts_with(start, magic) || starts_with(text, magic);
    if let Some((_, what)) = STARTS.iter().find(is) {
        return Some((*what).into());
    }
    if start.get(4..8) == Some(b"TFL3") {
        return Some("a TensorFlow Lite file; export the network as ONNX".into());
    }
    if is_json(text) {
        return Some("a JSON document, not weights; it may name the file that has them".into());
    }
    tar_entry(start).ok().map(|name| match name.as_str() {
        "sys_info" | "pickle" | "storages" | "tensors" => {
            "a file of PyTorch before 0.1.10; load it there, and save it again".into()
        }
        _ => {
            format!("a tar file that holds `{name}`; unpack it by `tar xf`, and give what is in it")
        }
    })
}

/// Whether it starts with `magic`, of which letters may be large or small.
fn starts_with(start: &[u8], magic: &[u8]) -> bool {
    start.get(..magic.len()).is_some_and(|start| start.eq_ignore_ascii_case(magic))
}

/// A JSON object or list; a safetensors file has one too, but first its length.
fn is_json(text: &[u8]) -> bool {
    let mut rest = text.iter().filter(|byte| !byte.is_ascii_whitespace());
    match (rest.next(), rest.next()) {
        (Some(b'{'), Some(b'"' | b'}')) | (Some(b'['), Some(b'{' | b'[' | b'"' | b']')) => {
            text.iter().take(64).all(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace())
        }
        _ => false,
    }
}

/// The name of the first entry of a tar archive, whose header has a sum of its bytes.
fn tar_entry(start: &[u8]) -> Checked<String> {
    let header = start.get(..TAR).ok_or("too short")?;
    let recorded = std::str::from_utf8(&header[148..156]).map_err(|_| "no sum")?;
    let recorded = recorded.trim_matches(|c| c == ' ' || c == '\0');
    let recorded = u32::from_str_radix(recorded, 8).map_err(|_| "no sum")?;
    let blank = |(i, byte): (usize, &u8)| if (148..156).contains(&i) { b' ' } else { *byte };
    let sum: u32 = header.iter().enumerate().map(blank).map(u32::from).sum();
    let name = header[..100].split(|byte| *byte == 0).next().unwrap_or_default();
    match sum == recorded && !name.is_empty() {
        true => Ok(String::from_utf8_lossy(name).escape_debug().to_string()),
        false => Err("another sum".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tar header as Python's `tarfile` writes it.
    fn tar(name: &str) -> Vec<u8> {
        let mut header = vec![0; TAR];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    }

    #[test]
    fn files_are_told_by_their_first_bytes() {
        for (start, words) in [
            (&b""[..], "an empty file"),
            (&[0; 32], "nothing but zeros"),
            (b"\n\n<!DOCTYPE html>\n<html", "a web page"),
            (b"\xef\xbb\xbf<HTML>", "a web page"),
            (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
            (b"\x1f\x8b\x08\0", "gunzip"),
            (b"\x89HDF\r\n\x1a\n", "HDF5"),
            (b"{\"error\": \"no access\"}", "a JSON document"),
            (b"[\n {}]", "a JSON document"),
            (b"\x18\0\0\0TFL3", "TensorFlow Lite"),
            (&tar("model.pth"), "a tar file that holds `model.pth`"),
            (&tar("sys_info"), "a file of PyTorch before 0.1.10"),
        ] {
            let what = what(start).unwrap_or_default();
            assert!(what.contains(words), "{what:?} says nothing of {words}");
        }
        for start in [&b"\x80\x02}."[..], b"PK\x03\x04", b"\x02\0\0\0\0\0\0\0{}", b"{}\0\0", b"ok"]
        {
            assert_eq!(what(start), None, "{start:?}");
        }
    }
}
