//! IDX, the file format of MNIST: a big-endian header, then unsigned bytes; raw or gzip.
//!
//! Key decision: strict. The header is read and bounded before anything of its size is
//! allocated, the content must have exactly the announced length, and every fault is named with
//! its byte. Whether a file is gzip is told by its first bytes, because browsers unpack `.gz`
//! files and keep the name.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use kd_core::record::DataFile;
use kd_core::{Error, Result, fsx};

use crate::Images;

/// The most that a decompressed file may have: four times the size of MNIST's largest.
pub const MAX_BYTES: u64 = 256 << 20;

/// The first three bytes: two zeros and the code of unsigned bytes. The number of dimensions
/// follows.
const MAGIC: [u8; 3] = [0, 0, 8];

/// The whole content of an IDX file, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idx {
    dims: Vec<usize>,
    bytes: Vec<u8>,
}

impl Idx {
    /// The file content for `data` of the shape `dims`, row-major.
    ///
    /// # Errors
    /// [`Error::Shape`] when `data` is not of this shape; [`Error::Config`] when it is empty or
    /// larger than [`MAX_BYTES`].
    pub fn new(dims: &[usize], data: &[u8]) -> Result<Self> {
        if dims.iter().try_fold(1, |n: usize, &d| n.checked_mul(d)) != Some(data.len()) {
            return Err(Error::shape("data", format!("{dims:?}"), &[data.len()]));
        }
        if data.is_empty() || data.len() as u64 > MAX_BYTES - 64 || dims.len() > 8 {
            return Err(Error::config("data", format!("{dims:?} is no size for an IDX file")));
        }
        let mut bytes = MAGIC.to_vec();
        bytes.push(dims.len() as u8);
        dims.iter().for_each(|&d| bytes.extend((d as u32).to_be_bytes()));
        bytes.extend_from_slice(data);
        Ok(Self { dims: dims.to_vec(), bytes })
    }

    /// Reads the file at `path`, which must have `n_dims` dimensions: 1 for labels, 3 for images.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`], or as [`Idx::decode`].
    pub fn read(path: &Path, n_dims: usize) -> Result<Self> {
        let file = fsx::open(path, "put the IDX file there")?;
        Self::decode(path, BufReader::with_capacity(1 << 16, file), n_dims)
    }

    /// Reads from `reader`; `path` is named in errors.
    ///
    /// # Errors
    /// [`Error::Parse`] for a wrong magic number, a size that is zero or beyond [`MAX_BYTES`],
    /// another length than announced, or damaged gzip data; [`Error::Io`].
    pub fn decode(path: &Path, mut reader: impl BufRead, n_dims: usize) -> Result<Self> {
        let first = reader.fill_buf().map_err(Error::io(path, "read"))?;
        if first.starts_with(&[0x1f, 0x8b]) {
            Content { path, reader: MultiGzDecoder::new(reader), bytes: Vec::new() }.parse(n_dims)
        } else {
            Content { path, reader, bytes: Vec::new() }.parse(n_dims)
        }
    }

    /// Writes the file, raw; whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        fsx::write_atomic(path, &self.bytes)
    }

    /// The dimensions; the first is the number of items.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The items, row-major.
    pub fn data(&self) -> &[u8] {
        &self.bytes[header_len(self.dims.len())..]
    }

    /// The file's content, header included.
    pub fn content(&self) -> &[u8] {
        &self.bytes
    }

    fn into_data(mut self) -> Vec<u8> {
        self.bytes.drain(..header_len(self.dims.len()));
        self.bytes.shrink_to_fit();
        self.bytes
    }

    pub(crate) fn file(&self, path: &Path) -> DataFile {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.strip_suffix(".gz").unwrap_or(&name).to_owned();
        DataFile { name, sha256: fsx::sha256(&self.bytes), n_items: self.dims[0] }
    }
}

/// Reads gray images of `size` = `[H, W]` and their labels.
///
/// # Errors
/// As [`Idx::read`] and [`join`].
pub fn read_pair(
    images: &Path,
    labels: &Path,
    size: [usize; 2],
    n_classes: usize,
) -> Result<Images> {
    let pair = ((images, Idx::read(images, 3)?), (labels, Idx::read(labels, 1)?));
    join(pair.0, pair.1, size, n_classes)
}

/// Puts gray images and their labels together; the paths are named in errors.
///
/// # Errors
/// [`Error::Parse`] when the images are not of `size` = `[H, W]`, the numbers of images and
/// labels differ, or a label is not below `n_classes`.
pub fn join(
    (images_path, images): (&Path, Idx),
    (labels_path, labels): (&Path, Idx),
    size: [usize; 2],
    n_classes: usize,
) -> Result<Images> {
    check_pair((images_path, &images), (labels_path, &labels), size)?;
    check_labels(labels_path, labels.data(), n_classes)?;
    let files = vec![images.file(images_path), labels.file(labels_path)];
    let labels = labels.data().iter().map(|&label| u32::from(label)).collect();
    let [height, width] = size;
    Ok(Images::new(images.into_data(), labels, [1, height, width], n_classes)?.with_files(files))
}

fn check_pair(
    (images_path, images): (&Path, &Idx),
    (labels_path, labels): (&Path, &Idx),
    size: [usize; 2],
) -> Result<()> {
    let ([n_images, got_size @ ..], [n_labels]) = (images.dims(), labels.dims()) else {
        return Err(Error::config("n_dims", "images have 3 dimensions and labels 1"));
    };
    if got_size != size {
        let reason = format!("its images are of size {got_size:?}, expected {size:?}");
        return Err(parse_error(images_path, 8, reason));
    }
    if n_images != n_labels {
        let images = images_path.display();
        let reason = format!("{n_labels} labels for the {n_images} images of {images}; {AGAIN}");
        return Err(parse_error(labels_path, 4, reason));
    }
    Ok(())
}

fn check_labels(path: &Path, labels: &[u8], n_classes: usize) -> Result<()> {
    let Some(i) = labels.iter().position(|&label| usize::from(label) >= n_classes) else {
        return Ok(());
    };
    let reason =
        format!("label {} of item {i} is not below the {n_classes} classes; {AGAIN}", labels[i]);
    Err(parse_error(path, (header_len(1) + i) as u64, reason))
}

const AGAIN: &str = "the file is damaged or another one: get it again";

/// A file while it is read.
struct Content<'p, R> {
    path: &'p Path,
    reader: R,
    bytes: Vec<u8>,
}

impl<R: Read> Content<'_, R> {
    fn parse(mut self, n_dims: usize) -> Result<Idx> {
        self.fill(header_len(n_dims))?;
        self.check_magic(n_dims)?;
        let dims: Vec<usize> = (0..n_dims).map(|i| self.word(4 + 4 * i) as usize).collect();
        let expected = self.announced_len(&dims)?;
        self.fill(expected)?;
        self.check_end(expected)?;
        Ok(Idx { dims, bytes: self.bytes })
    }

    /// Reads until there are `len` bytes.
    fn fill(&mut self, len: usize) -> Result<()> {
        self.read_up_to(len)?;
        if self.bytes.len() < len {
            let reason = format!("ends here, expected {len} bytes: cut off; get the file again");
            return Err(self.error(self.bytes.len(), reason));
        }
        Ok(())
    }

    /// Reads one byte too far, which also makes gzip verify its checksum.
    fn check_end(&mut self, len: usize) -> Result<()> {
        self.read_up_to(len + 1)?;
        if self.bytes.len() > len {
            let reason = format!("goes on after the {len} bytes that its header says; {AGAIN}");
            return Err(self.error(len, reason));
        }
        Ok(())
    }

    fn read_up_to(&mut self, len: usize) -> Result<()> {
        let n_missing = (len - self.bytes.len()) as u64;
        let read = self.reader.by_ref().take(n_missing).read_to_end(&mut self.bytes);
        read.map(drop).map_err(|source| match source.kind() {
            ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
                self.error(self.bytes.len(), format!("damaged gzip data ({source}); {AGAIN}"))
            }
            _ => Error::Io { path: self.path.into(), action: "read", source },
        })
    }

    fn check_magic(&self, n_dims: usize) -> Result<()> {
        let (got, expected) = (self.word(0), u32::from_be_bytes([0, 0, 8, n_dims as u8]));
        if got == expected {
            return Ok(());
        }
        let what = match got.to_be_bytes() {
            [0, 0, 8, 1] => "these are labels, not images",
            [0, 0, 8, 3] => "these are images, not labels",
            [1 | 3, 8, 0, 0] => "its byte order is swapped, IDX is big-endian",
            _ => "this is no such IDX file",
        };
        let reason = format!("magic number {got:#010x}, expected {expected:#010x}: {what}");
        Err(self.error(0, reason))
    }

    fn announced_len(&self, dims: &[usize]) -> Result<usize> {
        if let Some(i) = dims.iter().position(|&d| d == 0) {
            return Err(self.error(4 + 4 * i, format!("size 0 in {dims:?}; {AGAIN}")));
        }
        let header = header_len(dims.len()) as u64;
        let len = dims.iter().try_fold(1, |n: u64, &d| n.checked_mul(d as u64));
        match len.and_then(|n| n.checked_add(header)) {
            Some(len) if len <= MAX_BYTES => Ok(len as usize),
            _ => {
                let reason = format!("announces {dims:?} bytes, at most {MAX_BYTES} are read");
                Err(self.error(4, reason))
            }
        }
    }

    /// The big-endian number at `offset` in the header.
    fn word(&self, offset: usize) -> u32 {
        self.bytes[offset..offset + 4].iter().fold(0, |word, &b| word << 8 | u32::from(b))
    }

    fn error(&self, offset: usize, reason: String) -> Error {
        parse_error(self.path, offset as u64, reason)
    }
}

fn parse_error(path: &Path, offset: u64, reason: String) -> Error {
    Error::Parse { path: path.into(), offset, reason }
}

fn header_len(n_dims: usize) -> usize {
    4 + 4 * n_dims
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    fn decode(bytes: &[u8], n_dims: usize) -> Result<Idx> {
        Idx::decode(Path::new("file"), bytes, n_dims)
    }

    /// Offset and reason of the parse error that `result` must be.
    fn fault<T: std::fmt::Debug>(result: Result<T>) -> (u64, String) {
        match result {
            Err(Error::Parse { offset, reason, .. }) => (offset, reason),
            other => panic!("not a parse error: {other:?}"),
        }
    }

    fn images() -> Idx {
        Idx::new(&[2, 2, 3], &(0..12).collect::<Vec<u8>>()).unwrap()
    }

    fn labels(labels: &[u8]) -> Idx {
        Idx::new(&[labels.len()], labels).unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn join_them(images: Idx, labels: Idx) -> Result<Images> {
        join((Path::new("images"), images), (Path::new("labels.gz"), labels), [2, 3], 10)
    }

    #[test]
    fn the_layout_by_hand() {
        let header = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3];
        assert_eq!(images().content()[..16], header);
        assert_eq!(labels(&[7, 2]).content(), [0, 0, 8, 1, 0, 0, 0, 2, 7, 2]);
    }

    #[test]
    fn raw_and_gzip_round_trip_through_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images");
        images().write(&path).unwrap();
        assert_eq!(Idx::read(&path, 3).unwrap(), images());
        std::fs::write(&path, gzip(images().content())).unwrap();
        assert_eq!(Idx::read(&path, 3).unwrap(), images());
        assert!(matches!(Idx::read(&folder.path().join("no"), 3), Err(Error::Missing { .. })));
        assert!(matches!(Idx::read(folder.path(), 3), Err(Error::Parse { .. })));
    }

    #[test]
    fn every_cut_is_found_at_its_offset() {
        let idx = images();
        for cut in 0..idx.content().len() {
            let (offset, reason) = fault(decode(&idx.content()[..cut], 3));
            assert_eq!(offset, cut as u64, "{reason}");
        }
        let packed = gzip(idx.content());
        for cut in 2..packed.len() {
            fault(decode(&packed[..cut], 3));
        }
    }

    #[test]
    fn wrong_headers_are_named() {
        let (offset, reason) = fault(decode(images().content(), 1));
        assert!(offset == 0 && reason.contains("images, not labels"), "{reason}");
        let (_, reason) = fault(decode(labels(&[1; 20]).content(), 3));
        assert!(reason.contains("labels, not images"), "{reason}");
        let (_, reason) = fault(decode(&[3, 8, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0], 3));
        assert!(reason.contains("byte order"), "{reason}");
        let (_, reason) = fault(decode(b"<!DOCTYPE html><html></html>", 3));
        assert!(reason.contains("0x3c21444f"), "{reason}");
    }

    #[test]
    fn impossible_sizes_are_refused_before_anything_is_allocated() {
        let mut huge = vec![0, 0, 8, 3];
        huge.extend([0xff; 12]);
        let (offset, reason) = fault(decode(&huge, 3));
        assert!(offset == 4 && reason.contains("at most"), "{reason}");
        let (offset, _) = fault(decode(&[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1], 3));
        assert_eq!(offset, 8);
        assert!(Idx::new(&[2, 2], &[0; 5]).is_err() && Idx::new(&[0], &[]).is_err());
    }

    #[test]
    fn trailing_bytes_are_refused_raw_and_packed() {
        let longer = [images().content(), &[0]].concat();
        assert_eq!(fault(decode(&longer, 3)).0, 28);
        assert_eq!(fault(decode(&gzip(&longer), 3)).0, 28);
        let junk_after_gzip = [&gzip(images().content())[..], b"junk"].concat();
        assert_eq!(fault(decode(&junk_after_gzip, 3)).0, 28);
    }

    #[test]
    fn any_flipped_bit_in_the_gzip_body_is_found() {
        let packed = gzip(images().content());
        for bit in 10 * 8..packed.len() * 8 {
            let mut damaged = packed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let result = decode(&damaged, 3);
            assert!(result.is_err() || result.unwrap() == images(), "bit {bit}");
        }
    }

    #[test]
    fn a_gzip_bomb_is_cut_at_the_announced_size() {
        let bomb = gzip(&[labels(&[1; 100]).content(), &vec![0; 64 << 20]].concat());
        assert!(bomb.len() < 1 << 20);
        let mut content = Content {
            path: Path::new("bomb"),
            reader: MultiGzDecoder::new(&bomb[..]),
            bytes: Vec::new(),
        };
        content.fill(108).unwrap();
        assert_eq!(fault(content.check_end(108)).0, 108);
        assert!(content.bytes.capacity() < 4096, "{}", content.bytes.capacity());
    }

    #[test]
    fn pairs_are_checked() {
        let joined = join_them(images(), labels(&[7, 2])).unwrap();
        assert_eq!((joined.labels(), joined.shape()), (&[7, 2][..], [1, 2, 3]));
        assert_eq!(joined.files()[1].name, "labels");
        assert_eq!(joined.files()[0].sha256, fsx::sha256(images().content()));
        let (offset, reason) = fault(join_them(images(), labels(&[7, 2, 1])));
        assert!(offset == 4 && reason.contains("3 labels for the 2 images"), "{reason}");
        let (offset, reason) = fault(join_them(images(), labels(&[7, 10])));
        assert!(offset == 9 && reason.contains("label 10 of item 1"), "{reason}");
        let tall = Idx::new(&[2, 3, 2], &[0; 12]).unwrap();
        assert_eq!(fault(join_them(tall, labels(&[7, 2]))).0, 8);
        assert!(join_them(labels(&[1]), labels(&[1])).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn mutated_bytes_never_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<prop::sample::Index>(),
            packed in any::<bool>(),
        ) {
            let whole = if packed { gzip(images().content()) } else { images().content().to_vec() };
            let mut bytes = whole[..cut.index(whole.len()) + 1].to_vec();
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if let Ok(idx) = decode(&bytes, 3) {
                prop_assert_eq!(idx.dims().iter().product::<usize>(), idx.data().len());
            }
        }
    }
}
