use image::ExtendedColorType;
use kd_core::Stream;

use super::fixture::{GOLDEN, Golden, golden, golden_pictures, picture, png, resized_header};
use super::*;

fn decode(bytes: &[u8]) -> Result<Rgb, Fault> {
    Picture::open(bytes)?.rgb()
}

/// What Pillow reads and `image` does not.
const REFUSED: [&str; 2] = ["gray-alpha.tif", "palette.tif"];
/// Where `image` rounds otherwise, by one.
const NEAR: [&str; 4] = ["555.bmp", "565.bmp", "cmyk-black.tif", "jpeg.tif"];

#[test]
fn pictures_of_every_format_decode_as_by_pillow() {
    for Golden { name, file, size, rgb } in golden_pictures() {
        let name = name.as_str();
        if REFUSED.contains(&name) {
            let reason = decode(&file).unwrap_err();
            assert!(reason.starts_with("is not read, save it as PNG: "), "{name}: {reason}");
            continue;
        }
        let got = decode(&file).unwrap_or_else(|reason| panic!("{name}: {reason}"));
        assert_eq!(got.size, size, "{name}");
        let worst = got.pixels.iter().zip(&rgb).map(|(a, b)| a.abs_diff(*b)).max();
        assert_eq!(worst, Some(u8::from(NEAR.contains(&name))), "{name}");
    }
}

#[test]
fn a_cut_picture_is_refused_or_whole() {
    for Golden { name, file, .. } in golden_pictures() {
        let whole = decode(&file);
        // Nothing tells that the last number of a text is not whole.
        let end = if name == "rgb-text.ppm" { file.len() - 4 } else { file.len() };
        for cut in 0..end {
            let part = decode(&file[..cut]);
            assert!(part.is_err() || part == whole, "{name}, cut at {cut} of {}", file.len());
        }
    }
}

#[test]
fn of_a_damaged_deep_picture_the_rows_before_the_fault_are_used() {
    let all = golden_pictures();
    for name in ["gray-16.png", "rgb-16.png"] {
        let Golden { file, rgb, size, .. } = all.iter().find(|golden| golden.name == name).unwrap();
        let got = lenient(&file[..file.len() * 3 / 4]).unwrap();
        assert_eq!((got.size, &got.pixels[..3 * 13]), (*size, &rgb[..3 * 13]), "{name}");
    }
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
        (b"P6 65536 65536 255 ".to_vec(), "65536x65536"),
        (b"P1 16385 1 ".to_vec(), "16385x1"),
        (with_bytes("palette.gif", 6, &[255; 4]), "65535x65535"),
        (with_bytes("rgb.bmp", 18, &[255, 255, 0, 0, 255, 255, 0, 0]), "65535x65535"),
        (with_bytes("lossless.webp", 21, &[0xfe, 0xbf, 0xff, 0x0f]), "16383x16383"),
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

#[test]
fn a_small_file_that_promises_much_is_refused_before_memory_is_taken() {
    let screen = [0, 0x40, 0, 0x15];
    let gif = with_bytes("palette.gif", 6, &screen);
    let jpeg = resized_header("color420", [5376, 16_384]);
    let webp = with_bytes("lossless.webp", 21, &[0xfe, 0x7f, 0x50, 0x05]);
    for (bytes, size) in [(gif, "16384x5376"), (jpeg, "16384x5376"), (webp, "16383x5442")] {
        for reason in [decode(&bytes).unwrap_err(), lenient(&bytes).unwrap_err()] {
            assert!(reason.starts_with("is cut off, or damaged: "), "{reason}");
            assert!(reason.contains(&format!("{size} in {} bytes", bytes.len())), "{reason}");
        }
    }
}

/// A golden picture with other bytes at `at`.
fn with_bytes(name: &str, at: usize, bytes: &[u8]) -> Vec<u8> {
    let golden = golden_pictures().into_iter().find(|golden| golden.name == name);
    let mut file = golden.unwrap().file;
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
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

#[test]
fn changed_pictures_of_every_format_are_decoded_in_their_size_or_refused() {
    let mut rng = Stream::new(3).rng();
    for whole in golden_pictures().into_iter().map(|golden| golden.file) {
        for i in 0..500 {
            let mut bytes = whole.clone();
            for _ in 0..1 + i % 3 {
                let at = rng.below(whole.len() as u32) as usize;
                bytes[at] = match rng.below(4) {
                    0 => rng.below(256) as u8,
                    1 => [0, 1, 127, 128, 255][rng.below(5) as usize],
                    _ => bytes[at] ^ 1 << rng.below(8),
                };
            }
            bytes.truncate(whole.len() - (i % 5 / 4) * rng.below(whole.len() as u32) as usize);
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
            file = png([21, 37], ExtendedColorType::Rgb8, &rgb);
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
    for bytes in [
        &b""[..],
        b"GIF89a",
        b"BM",
        b"P5 1",
        b"II*\0",
        b"RIFF\0\0\0\0WEBP",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        &[0; 100],
    ] {
        assert!(Picture::open(bytes).is_err());
    }
}

/// Black three times as fine as the other inks.
#[test]
fn inks_of_sizes_that_do_not_go_together_are_refused() {
    let mut bytes = golden("cmyk")[0].clone();
    let rgb = |bytes: &[u8]| Picture::open(bytes).and_then(|picture| picture.rgb());
    assert!(rgb(&bytes).is_ok());
    let at = bytes.windows(2).position(|pair| pair == [b'K', 0x11]).unwrap();
    bytes[at + 1] = 0x13;
    assert!(rgb(&bytes).unwrap_err().contains("inks"));
}
