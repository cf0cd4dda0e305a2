//! Small image files for tests.

use std::fs;
use std::path::Path;

use image::ExtendedColorType;
use image::ImageEncoder;
use image::codecs::png::PngEncoder;

/// A PNG of `size` = `[H, W]` in this color type.
pub(crate) fn png(size: [u32; 2], color: ExtendedColorType, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes).write_image(pixels, size[1], size[0], color).unwrap();
    bytes
}

/// A 2x3 RGB picture with pixels `first`, `first + 1`, ...
pub(crate) fn picture(first: u8) -> Vec<u8> {
    png([2, 3], ExtendedColorType::Rgb8, &(first..first + 18).collect::<Vec<_>>())
}

/// Names of the golden JPEG files, which are 37 pixels wide and 21 high.
pub(crate) const GOLDEN: [&str; 8] = [
    "color420",
    "color422",
    "color444",
    "progressive",
    "gray",
    "progressive-gray",
    "cmyk",
    "restart",
];

/// A golden JPEG file and the RGB bytes that Pillow, with libjpeg-turbo, decodes it to.
pub(crate) fn golden(name: &str) -> [Vec<u8>; 2] {
    let text = include_str!("../../../../tests/golden/jpeg.json");
    let golden: serde_json::Value = serde_json::from_str(text).unwrap();
    ["jpeg", "rgb"].map(|key| unhex(golden[name][key].as_str().unwrap()))
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |hex: &[u8]| u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap();
    text.as_bytes().chunks(2).map(byte).collect()
}

/// A golden picture of another format.
pub(crate) struct Golden {
    pub(crate) name: String,
    pub(crate) file: Vec<u8>,
    /// What Pillow decodes it to.
    pub(crate) size: [usize; 2],
    pub(crate) rgb: Vec<u8>,
}

/// All golden pictures, by name.
pub(crate) fn golden_pictures() -> Vec<Golden> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let text = fs::read(folder.join("pictures.json")).unwrap();
    let all: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&text).unwrap();
    let pictures = all.into_iter().filter(|(name, _)| name != "header");
    let picture = |(name, golden): (String, serde_json::Value)| Golden {
        file: fs::read(folder.join("pictures").join(&name)).unwrap(),
        size: serde_json::from_value(golden["size"].clone()).unwrap(),
        rgb: unhex(golden["rgb"].as_str().unwrap()),
        name,
    };
    pictures.map(picture).collect()
}

/// A golden JPEG file whose header says `size` = `[H, W]`.
pub(crate) fn resized_header(name: &str, size: [u16; 2]) -> Vec<u8> {
    let [mut jpeg, _] = golden(name);
    let frame = jpeg
        .windows(2)
        .position(|marker| [[0xff, 0xc0], [0xff, 0xc2]].contains(&[marker[0], marker[1]]));
    let frame = frame.unwrap();
    jpeg[frame + 5..frame + 7].copy_from_slice(&size[0].to_be_bytes());
    jpeg[frame + 7..frame + 9].copy_from_slice(&size[1].to_be_bytes());
    jpeg
}
