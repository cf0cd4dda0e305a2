use std::sync::Arc;

use candle_core::Device;
use kd_core::BatchSource;

use super::*;
use crate::decode::Rgb;
use crate::photos::resize::resize;
use crate::{Dataset, Images, Mixup, ResizedCrop, Split, SyntheticPhotos};

/// What a training shows of image `index` in epoch `epoch`, as bytes `[C, H, W]`.
fn shown(source: &Arc<dyn BatchSource>, epoch: u64, index: u32) -> Vec<u8> {
    let pixels = source.batch(epoch, &[index]).unwrap().images.flatten_all().unwrap();
    pixels.to_vec1::<f32>().unwrap().iter().map(|v| (v * 255.0).round() as u8).collect()
}

/// Rows of pixels as planes.
fn planes(pixels: &[u8], channels: usize) -> Vec<u8> {
    (0..channels).flat_map(|c| pixels.iter().skip(c).step_by(channels).copied()).collect()
}

/// Compares what is listed and written with what trainings of two seeds show.
fn check(part: &Part, augment: &Augment) {
    let views = Views::of(part.clone(), augment).unwrap();
    let [channels, ..] = part.shape();
    for seed in [1, 2] {
        let source = part.training(augment, Stream::new(seed), &Device::Cpu).unwrap();
        assert_eq!(source.n_views(), Some(views.header().n_views));
        for epoch in 0..5 {
            for index in [0, 3, part.len() as u32 - 1] {
                let want = shown(&source, epoch, index);
                let view = source.view(epoch, index);
                let pixels = views.pixels(view, index).unwrap().unwrap();
                assert_eq!(planes(&pixels, channels), want, "epoch {epoch}, image {index}");
                let png = views.png(view, index).unwrap().unwrap();
                let png = image::load_from_memory(&png).unwrap();
                let png = if channels == 1 {
                    png.into_luma8().into_raw()
                } else {
                    png.into_rgb8().into_raw()
                };
                assert_eq!(png, pixels);
                let one = views.listed(view).unwrap().swap_remove(index as usize);
                assert_eq!((one.view, one.index), (view, index));
                assert_eq!(by_hand(part, &one), want, "epoch {epoch}, image {index}");
            }
        }
    }
}

/// The pixels that a line tells of, by what it says alone.
fn by_hand(part: &Part, line: &ListedView) -> Vec<u8> {
    let [channels, height, width] = part.shape();
    let mut rgb = match part {
        Part::Photos(photos) => {
            assert_eq!(line.file, Some(photos.name(line.index as usize)));
            photos.decode(line.index as usize).unwrap().unwrap()
        }
        Part::Images(images) => {
            let image = images.image(line.index as usize);
            let pixel = |i: usize| (0..3).map(move |c| image[(c % channels) * height * width + i]);
            Rgb { size: [height, width], pixels: (0..height * width).flat_map(pixel).collect() }
        }
    };
    if channels == 1 {
        rgb = rgb.into_gray();
    }
    let [top, left, h, w] = line.cut;
    let at = |y: i64, x: i64| -> [u8; 3] {
        let [rows, columns] = rgb.size.map(|side| side as i64);
        let is_inside = (0..rows).contains(&y) && (0..columns).contains(&x);
        let i = (y * columns + x) as usize;
        if is_inside { [0, 1, 2].map(|c| rgb.pixels[3 * i + c]) } else { [0; 3] }
    };
    let cut = (top..top + h).flat_map(|y| (left..left + w).flat_map(move |x| [(y, x)]));
    let pixels = cut.flat_map(|(y, x)| at(y, x)).collect();
    let cut = Rgb { size: [h as usize, w as usize], pixels };
    let resized = match line.filter {
        "bilinear" => resize(&cut, line.window, line.size).unwrap(),
        _ => cut.pixels,
    };
    let mut rows: Vec<Vec<[u8; 3]>> =
        resized.as_chunks::<3>().0.chunks_exact(width).map(<[_]>::to_vec).collect();
    if line.flip {
        rows.iter_mut().for_each(|row| row.reverse());
    }
    let bytes: Vec<u8> = rows.concat().into_iter().flatten().collect();
    planes(&bytes, 3)[..channels * height * width].to_vec()
}

fn images(channels: usize) -> Part {
    let mut rng = Stream::new(9).rng();
    let pixels = (0..7 * channels * 30).map(|_| rng.below(256) as u8).collect();
    let labels = (0..7).map(|i| i % 3).collect();
    Images::new(pixels, labels, [channels, 5, 6], 3).unwrap().into()
}

#[test]
fn a_listed_window_of_an_image_in_memory_gives_the_pixels_that_a_training_shows() {
    for channels in [1, 3] {
        for (crop_padding, flip) in [(0, false), (2, false), (0, true), (1, true)] {
            check(&images(channels), &Augment { crop_padding, flip, ..Augment::default() });
        }
    }
}

#[test]
fn a_listed_crop_of_a_photograph_gives_the_pixels_that_a_training_shows() {
    let folder = tempfile::tempdir().unwrap();
    let photos = SyntheticPhotos { n_classes: 2, n_train: 6, n_test: 2, ..Default::default() };
    let part = photos.part(Some(folder.path()), Split::Train).unwrap();
    let crops = ResizedCrop { n_views: Some(4), ..ResizedCrop::default() };
    let gray = match &part {
        Part::Photos(photos) => Part::from(photos.clone().with_channels(1).unwrap()),
        Part::Images(_) => panic!("photographs in memory"),
    };
    for flip in [false, true] {
        check(&part, &Augment { flip, ..Augment::default() });
        let augment = Augment { resized_crop: Some(crops.clone()), flip, ..Augment::default() };
        check(&part, &augment);
        check(&gray, &augment);
    }
    let endless = Augment { resized_crop: Some(ResizedCrop::default()), ..Augment::default() };
    let error = Views::of(part, &endless).unwrap_err().to_string();
    assert!(error.contains("`--views N`"), "{error}");
}

#[test]
fn a_listed_mixture_is_that_of_the_two_listed_crops() {
    let folder = tempfile::tempdir().unwrap();
    let photos = SyntheticPhotos { n_classes: 2, n_train: 6, n_test: 2, ..Default::default() };
    let part = photos.part(Some(folder.path()), Split::Train).unwrap();
    let crops = ResizedCrop { n_views: Some(3), ..ResizedCrop::default() };
    let plain = Augment { resized_crop: Some(crops), flip: true, ..Augment::default() };
    let augment = Augment { mixup: Some(Mixup::default()), ..plain.clone() };
    let views = Views::of(part.clone(), &augment).unwrap();
    let source =
        |augment: &Augment, seed| part.training(augment, Stream::new(seed), &Device::Cpu).unwrap();
    let pixels = |source: &Arc<dyn BatchSource>, epoch, index: u32| -> Vec<f32> {
        let images = source.batch(epoch, &[index]).unwrap().images;
        images.flatten_all().unwrap().to_vec1().unwrap()
    };
    let (mixed, alone) = (source(&augment, 1), source(&plain, 2));
    assert!(mixed.mixes() && !alone.mixes() && mixed.n_views() == Some(3));
    let mut partners = Vec::new();
    for (epoch, view) in [(0, 0), (2, 2), (5, 2)] {
        for line in views.listed(view).unwrap() {
            let (partner, lambda) = (line.partner.unwrap(), line.lambda.unwrap());
            let [x, y] = [line.index, partner].map(|index| pixels(&alone, epoch, index));
            let want = x.iter().zip(&y).map(|(x, y)| lambda * x + (1.0 - lambda) * y);
            let want: Vec<u32> = want.map(f32::to_bits).collect();
            let got = pixels(&mixed, epoch, line.index);
            assert_eq!(got.into_iter().map(f32::to_bits).collect::<Vec<_>>(), want);
            partners.push(partner);
        }
    }
    assert_eq!(partners[6..12], partners[12..]);
    assert_ne!(partners[..6], partners[6..12]);
    let endless = Augment { mixup: Some(Mixup::default()), ..Augment::default() };
    assert_eq!(source(&endless, 1).n_views(), None);
    assert!(images(3).training(&endless, Stream::new(1), &Device::Cpu).is_err());
}

#[test]
fn lists_of_other_images_orders_and_versions_have_other_digests() {
    let (part, none) = (images(1), Augment::default());
    let digest = |part: &Part, augment: &Augment| list_digest(part, augment).unwrap();
    let first = digest(&part, &none);
    assert_eq!((digest(&images(1), &none), first.len()), (first.clone(), 64));
    let reversed = part.subset(6, Stream::new(1)).unwrap();
    let flipped = Augment { flip: true, ..Augment::default() };
    for other in [digest(&images(3), &none), digest(&reversed, &none), digest(&part, &flipped)] {
        assert_ne!(other, first);
    }
    let header = Views::of(part, &flipped).unwrap().header();
    assert_eq!((header.n_views, header.n_images, header.image_shape), (2, 7, [1, 5, 6]));
    assert_eq!((header.kd_views, header.classes), (1, vec!["0".into(), "1".into(), "2".into()]));
}
