use std::io::Write;

use flate2::{Compression, write::ZlibEncoder};
use proptest::prelude::*;

use super::super::tests::golden;
use super::*;

fn fault(bytes: &[u8]) -> Fault {
    variable(bytes, "x").unwrap_err()
}

/// A file of these elements, little-endian.
fn file(elements: &[Vec<u8>]) -> Vec<u8> {
    let mut file = vec![b' '; 116];
    file.extend([0; 8]);
    file.extend([0, 1, b'I', b'M']);
    file.extend(elements.concat());
    file
}

fn element(kind: u32, bytes: &[u8]) -> Vec<u8> {
    let mut element = [kind.to_le_bytes(), (bytes.len() as u32).to_le_bytes()].concat();
    element.extend(bytes);
    if kind != kind::COMPRESSED {
        element.resize(element.len().next_multiple_of(8), 0);
    }
    element
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// An array called `x`.
fn matrix(flags: u32, dims: &[u32], values: &[Vec<u8>]) -> Vec<u8> {
    let head = [
        element(kind::UINT32, &words(&[flags, 0])),
        element(kind::INT32, &words(dims)),
        element(kind::INT8, b"x"),
    ];
    element(kind::MATRIX, &[head.concat(), values.concat()].concat())
}

fn compressed(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    element(kind::COMPRESSED, &encoder.finish().unwrap())
}

fn read(elements: &[Vec<u8>]) -> Checked<Array> {
    variable(&file(elements), "x")
}

fn reason(elements: &[Vec<u8>]) -> String {
    read(elements).unwrap_err().reason
}

/// The field of a struct of one element.
fn field<'a>(array: &'a Array, name: &str) -> &'a Array {
    let Data::Struct(table) = &array.data else { panic!("{array:?} is no struct") };
    &table.values[table.fields.iter().position(|field| field == name).unwrap()]
}

fn cells(array: &Array) -> &[Array] {
    let Data::Cells(cells) = &array.data else { panic!("{array:?} is no cell array") };
    cells
}

#[test]
fn every_kind_of_array_is_read_as_scipy_wrote_it() {
    let kinds = variable(&golden("kinds.mat"), "kinds").unwrap();
    let want: serde_json::Value = serde_json::from_slice(&golden("labels.json")).unwrap();
    for (kind, values) in want["numbers"].as_object().unwrap() {
        let values: Vec<f64> = serde_json::from_value(values.clone()).unwrap();
        assert_eq!(field(&kinds, kind).data, Data::Numbers(values), "{kind}");
        assert_eq!(field(&kinds, kind).dims, [1, 2]);
    }
    let texts: Vec<String> = serde_json::from_value(want["texts"].clone()).unwrap();
    let texts: Vec<_> = texts.into_iter().map(Data::Text).collect();
    let read: Vec<_> = cells(field(&kinds, "texts")).iter().map(|cell| cell.data.clone()).collect();
    assert_eq!(read, texts);
    let nested = cells(field(field(field(&kinds, "nested"), "a"), "b"));
    assert_eq!(
        (&nested[0].data, &nested[1].data),
        (&Data::Numbers(vec![1.0]), &Data::Text("x".into()))
    );
}

#[test]
fn the_named_variable_is_found_among_others() {
    for name in ["row-plain.mat", "row-big-endian.mat"] {
        let before = variable(&golden(name), "before").unwrap();
        let want =
            Array { dims: vec![2, 3], data: Data::Numbers(vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0]) };
        assert_eq!(before, want, "{name}");
        let reason = variable(&golden(name), "after").unwrap_err().reason;
        assert_eq!(reason, "has no variable after");
    }
    let synsets = |name| variable(&golden(name), "synsets").unwrap();
    assert_eq!(synsets("row-plain.mat"), synsets("row-big-endian.mat"));
}

#[test]
fn elements_by_hand() {
    let one = matrix(6, &[1, 1], &[words(&[kind::UINT8 | 1 << 16, 7])]);
    let want = Array { dims: vec![1, 1], data: Data::Numbers(vec![7.0]) };
    assert_eq!(read(std::slice::from_ref(&one)).unwrap(), want);
    assert_eq!(read(&[compressed(&one)]).unwrap(), want);
    let utf16 = element(kind::UINT16, &[0x3d, 0xd8, 0, 0xde]);
    let face = Data::Text("\u{1f600}".into());
    assert_eq!(read(&[matrix(4, &[1, 2], &[utf16])]).unwrap().data, face);
    assert_eq!(
        read(&[matrix(4, &[1, 1], &[element(kind::UINT8, &[0xe9])])]).unwrap().data,
        Data::Text("é".into())
    );
    let empty = element(kind::MATRIX, &[]);
    let want = Data::Cells(vec![Array { dims: vec![0, 0], data: Data::Numbers(vec![]) }]);
    assert_eq!(read(&[matrix(1, &[1, 1], &[empty])]).unwrap().data, want);
}

#[test]
fn other_files_are_named() {
    assert!(fault(b"n01440764\n").reason.contains("ends in the header"));
    assert!(fault(&[b'x'; 200]).reason.contains("no MAT-file of version 5"));
    let mut bytes = file(&[]);
    assert_eq!(fault(&bytes).reason, "has no variable x");
    bytes[125] = 2;
    assert!(fault(&bytes).reason.contains("version 7.3"));
    bytes[125] = 3;
    assert!(fault(&bytes).reason.contains("version 0x0300"));
}

#[test]
fn what_is_announced_must_be_there_exactly() {
    let double = |n: usize| element(kind::DOUBLE, &vec![0; 8 * n]);
    for (reason, elements) in [
        ("x twice", vec![matrix(6, &[1, 1], &[double(1)]), matrix(6, &[1, 1], &[double(1)])]),
        ("16 bytes for 1 numbers", vec![matrix(6, &[1, 1], &[double(2)])]),
        ("8 bytes for 2147483647 numbers", vec![matrix(6, &[1, i32::MAX as u32], &[double(1)])]),
        ("16 bytes more than belong to it", vec![matrix(6, &[1, 1], &[double(1), double(1)])]),
        ("dimensions that no array has", vec![matrix(6, &[1, u32::MAX], &[double(1)])]),
        ("dimensions that no array has", vec![matrix(6, &[1 << 30; 3], &[double(1)])]),
        ("dimensions that no array has", vec![matrix(6, &[1], &[double(1)])]),
        ("dimensions that no array has", vec![matrix(6, &[1; 33], &[double(1)])]),
        ("complex numbers", vec![matrix(6 | 1 << 11, &[1, 1], &[double(1), double(1)])]),
        ("class 5, which is not read", vec![matrix(5, &[1, 1], &[double(1)])]),
        ("class 17, which is not read", vec![matrix(17, &[1, 1], &[double(1)])]),
        ("numbers of element type 16", vec![matrix(6, &[1, 1], &[element(kind::UTF8, b"x")])]),
        ("no text of element type 9", vec![matrix(4, &[1, 1], &[double(1)])]),
        ("no text of element type 16", vec![matrix(4, &[1, 1], &[element(kind::UTF8, &[0xff])])]),
        (
            "no text of element type 4",
            vec![matrix(4, &[1, 1], &[element(kind::UINT16, &[0, 0xd8])])],
        ),
        ("another length than the 2", vec![matrix(4, &[1, 2], &[element(kind::UTF8, b"x")])]),
        (
            "cut off: 4 bytes are announced, 0 are left",
            vec![matrix(1, &[1, 2], &[element(kind::MATRIX, &[])])],
        ),
        ("cut off: 4294967295 bytes", vec![words(&[kind::MATRIX, u32::MAX])]),
        ("a small element of 5 bytes", vec![words(&[kind::MATRIX | 5 << 16, 0, 0])]),
        ("an element of type 9, not a variable", vec![double(1)]),
    ] {
        let got = super::tests::reason(&elements);
        assert!(got.contains(reason), "{reason}: {got}");
    }
}

#[test]
fn names_of_fields_are_checked() {
    let table = |width: u32, names: &[u8]| {
        let parts = [element(kind::INT32, &words(&[width])), element(kind::INT8, names)];
        read(&[matrix(2, &[0, 0], &parts)])
    };
    let Data::Struct(read) = table(4, b"a\0\0\0bcd\0").unwrap().data else { panic!("no struct") };
    assert_eq!((read.fields, read.values.len()), (vec!["a".into(), "bcd".into()], 0));
    for (width, names) in
        [(0, &b""[..]), (3, b"a\0\0b"), (4, b"abcd"), (4, b"\0\0\0\0"), (4, b"\xff\0\0\0")]
    {
        assert!(table(width, names).unwrap_err().reason.contains("field names"));
    }
}

#[test]
fn depth_is_bounded() {
    let nest = |n: usize| {
        let one = matrix(6, &[1, 1], &[element(kind::DOUBLE, &[0; 8])]);
        (1..n).fold(one, |inner, _| matrix(1, &[1, 1], &[inner]))
    };
    read(&[nest(8)]).unwrap();
    assert!(reason(&[nest(9)]).contains("more than 8 arrays in one another"));
    assert!(reason(&[nest(100)]).contains("more than 8 arrays in one another"));
}

#[test]
fn compressed_variables_are_bounded_and_checked() {
    let bomb = compressed(&vec![0; 4 << 20]);
    assert!(bomb.len() < 1 << 14);
    assert!(reason(&[bomb]).contains("bytes that it may"));
    // Each within its ratio, all together above the budget.
    let noise: Vec<u8> =
        (0..3_u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let large = compressed(&matrix(9, &[1, 3 << 20], &[element(kind::UINT8, &noise)]));
    let two = file(&[large.clone(), large.clone()]);
    assert_eq!(variable(&two, "y").unwrap_err().reason, "has no variable y");
    let three = variable(&[two, large].concat(), "y").unwrap_err();
    assert!(three.reason.contains("bytes that it may"), "{three:?}");
    let one = matrix(6, &[1, 1], &[element(kind::DOUBLE, &[0; 8])]);
    assert!(reason(&[compressed(&[&one[..], &[0; 8]].concat())]).contains("8 bytes more"));
    assert!(reason(&[compressed(&compressed(&one))]).contains("a variable of element type 15"));
    let mut padded = compressed(&one);
    padded.extend([0; 3]);
    padded[4] += 3;
    assert!(reason(&[padded]).contains("followed by other bytes"));
    let mut wrong_sum = compressed(&one);
    *wrong_sum.last_mut().unwrap() ^= 1;
    assert!(reason(&[wrong_sum]).contains("is damaged"));
}

#[test]
fn every_cut_of_a_file_is_found() {
    for name in ["column.mat", "columns.mat", "row-plain.mat", "row-big-endian.mat"] {
        let whole = golden(name);
        for cut in 0..whole.len() {
            assert!(variable(&whole[..cut], "synsets").is_err(), "{name} cut at {cut}");
        }
    }
}

#[test]
fn every_flipped_bit_gives_an_array_or_a_fault() {
    for name in ["column.mat", "columns.mat", "row-plain.mat", "row-big-endian.mat", "kinds.mat"] {
        let mut bytes = golden(name);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = variable(&bytes, "synsets");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_give_an_array_or_a_fault(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = variable(&bytes, "x");
        let packed = compressed(&bytes);
        let bytes = [bytes];
        let cells = matrix(1, &[1, 2], &bytes);
        let structs = matrix(2, &[1, 1], &bytes);
        for elements in [bytes, [packed], [cells], [structs]] {
            let _ = read(&elements);
        }
    }
}
