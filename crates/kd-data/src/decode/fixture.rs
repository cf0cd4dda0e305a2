//! Small image files for tests.

/// A PNG of `size` = `[H, W]` in this color type.
pub(crate) fn png(size: [u32; 2], color: ::png::ColorType, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut bytes, size[1], size[0]);
    encoder.set_color(color);
    encoder.write_header().unwrap().write_image_data(pixels).unwrap();
    bytes
}

/// A 2x3 RGB picture with pixels `first`, `first + 1`, ...
pub(crate) fn picture(first: u8) -> Vec<u8> {
    png([2, 3], ::png::ColorType::Rgb, &(first..first + 18).collect::<Vec<_>>())
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
    let byte = |hex: &[u8]| u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap();
    ["jpeg", "rgb"]
        .map(|key| golden[name][key].as_str().unwrap().as_bytes().chunks(2).map(byte).collect())
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
