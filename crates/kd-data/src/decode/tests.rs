use ::png::ColorType;
use kd_core::Stream;

use super::fixture::{GOLDEN, golden, picture, png, resized_header};
use super::*;

fn decode(bytes: &[u8]) -> Result<Rgb, Fault> {
    Picture::open(bytes)?.rgb()
}

#[test]
fn all_color_types_become_rgb() {
    let rgb = |color, pixels: &[u8]| decode(&png([1, 2], color, pixels)).unwrap().pixels;
    assert_eq!(rgb(ColorType::Grayscale, &[7, 9]), [7, 7, 7, 9, 9, 9]);
    assert_eq!(rgb(ColorType::GrayscaleAlpha, &[7, 0, 9, 255]), [7, 7, 7, 9, 9, 9]);
    assert_eq!(rgb(ColorType::Rgba, &[1, 2, 3, 0, 4, 5, 6, 255]), [1, 2, 3, 4, 5, 6]);
    let mut deep = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut deep, 1, 1);
    encoder.set_depth(::png::BitDepth::Sixteen);
    encoder.set_color(ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&[1, 255, 2, 0, 3, 128]).unwrap();
    assert_eq!(decode(&deep).unwrap().pixels, [1, 2, 3]);
}

#[test]
fn jpeg_files_decode_as_by_pillow() {
    for name in GOLDEN {
        let [jpeg, rgb] = golden(name);
        assert_eq!(decode(&jpeg).unwrap(), Rgb { size: [21, 37], pixels: rgb }, "{name}");
    }
}

#[test]
fn a_region_is_cut_out_of_the_whole() {
    let rgb = decode(&picture(0)).unwrap();
    let part = rgb.cut(Region { top: 1, left: 1, height: 1, width: 2 });
    assert_eq!(part, Rgb { size: [1, 2], pixels: (12..18).collect() });
}

#[test]
fn a_huge_image_is_refused_by_its_header() {
    let mut png = picture(0);
    png[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    let crc = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    for (bytes, size) in [
        (png, "65536x65536"),
        (resized_header("color420", [65_500, 65_500]), "65500x65500"),
        (resized_header("progressive", [65_535, 65_535]), "65535x65535"),
        (resized_header("color420", [1, 16_385]), "16385x1"),
        (resized_header("color420", [9460, 9460]), "9460x9460"),
    ] {
        let Err(reason) = Picture::open(&bytes) else { panic!("{size} was accepted") };
        assert!(reason.contains(size), "{reason}");
    }
    assert!(Picture::open(&resized_header("color420", [9459, 9459])).is_ok());
}

/// The checksum of a PNG chunk, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| {
        if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
    };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[test]
fn files_cut_off_anywhere_are_refused() {
    for whole in GOLDEN.map(|name| golden(name)[0].clone()).into_iter().chain([picture(0)]) {
        for cut in 0..whole.len() {
            assert!(decode(&whole[..cut]).is_err(), "cut at {cut} of {}", whole.len());
        }
    }
}

#[test]
fn a_preview_within_a_file_does_not_hide_that_it_is_cut_off() {
    let [jpeg, _] = golden("color420");
    let length = (jpeg.len() as u16 + 2).to_be_bytes();
    let preview = [&[0xff, 0xe1, length[0], length[1]], &jpeg[..]].concat();
    let whole = [&jpeg[..2], &preview[..], &jpeg[2..]].concat();
    assert_eq!(decode(&whole), decode(&jpeg));
    assert_eq!(decode(&whole[..whole.len() - 2]).unwrap_err(), "is cut off");
}

#[test]
fn changed_files_are_decoded_in_their_size_or_refused() {
    let mut rng = Stream::new(2).rng();
    for whole in GOLDEN.map(|name| golden(name)[0].clone()).into_iter().chain([picture(0)]) {
        for _ in 0..1000 {
            let mut bytes = whole.clone();
            bytes[rng.below(whole.len() as u32) as usize] ^= 1 << rng.below(8);
            check_any(&bytes);
        }
    }
}

/// Nothing else than an image or a reason comes of any bytes.
fn check_any(bytes: &[u8]) {
    let Ok(picture) = Picture::open(bytes) else {
        return;
    };
    let [height, width] = picture.size();
    // Changed headers ask for images so large that a thousand of them take too long.
    if height * width > 1 << 16 {
        return;
    }
    for result in [lenient(bytes), picture.rgb()] {
        match result {
            Ok(rgb) => assert_eq!(rgb.pixels.len(), 3 * rgb.size[0] * rgb.size[1]),
            Err(reason) => assert!(!reason.is_empty()),
        }
    }
}

#[test]
fn of_a_damaged_file_what_is_whole_is_used() {
    for (name, tolerance) in GOLDEN.map(|name| (name, 40)).into_iter().chain([("png", 0)]) {
        let [mut file, rgb] = golden(if name == "png" { "color444" } else { name });
        if name == "png" {
            file = png([21, 37], ColorType::Rgb, &rgb);
        }
        let cut = &file[..file.len() * 9 / 10];
        assert!(decode(cut).is_err());
        let lenient = lenient(cut).unwrap();
        assert_eq!(lenient.size, [21, 37]);
        let top = 3 * 37 * 7;
        let worst = lenient.pixels[..top].iter().zip(&rgb).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(tolerance), "{name}: {worst:?}");
    }
    let [jpeg, _] = golden("color420");
    assert!(lenient(&jpeg[..100]).is_err(), "of a header alone nothing is decoded");
}

#[test]
fn what_is_no_image_is_refused() {
    for bytes in
        [&b""[..], b"GIF89a", b"\xff\xd8", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", &[0; 100]]
    {
        assert!(Picture::open(bytes).is_err());
    }
}
