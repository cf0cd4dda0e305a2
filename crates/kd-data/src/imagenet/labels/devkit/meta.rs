//! `meta.mat`: the synsets of ILSVRC2012, classes and their ancestors.
//!
//! A struct array `synsets` with the fields `ILSVRC2012_ID`, `WNID`, `words`, `gloss`,
//! `num_children`, `children`, `wordnet_height` and `num_train_images`. The classes are those
//! without children; by the kit's readme their ids are 1 to 1000, those of the ancestors larger.

use std::collections::{BTreeMap, BTreeSet};

use super::super::mat5::{self, Array, Data, Struct};
use super::{Checked, Fault, Wnid};

/// The class of each `ILSVRC2012_ID`.
///
/// # Errors
/// When the file is no such MAT-file, an id or WordNet id occurs twice, or the ids of the
/// synsets without children are not 1 to `n_classes`.
pub(super) fn classes(bytes: &[u8], n_classes: u32) -> Checked<BTreeMap<u32, Wnid>> {
    let synsets = mat5::variable(bytes, "synsets")?;
    classes_of(&synsets, n_classes).map_err(|reason| Fault::new(0, format!("synsets: {reason}")))
}

fn classes_of(synsets: &Array, n_classes: u32) -> Result<BTreeMap<u32, Wnid>, String> {
    let Data::Struct(synsets) = &synsets.data else { return Err("is no struct".into()) };
    let ids = column(synsets, "ILSVRC2012_ID", whole_numbers)?;
    let wnids = column(synsets, "WNID", texts)?;
    let n_children = column(synsets, "num_children", whole_numbers)?;
    if ids.len() != wnids.len() || ids.len() != n_children.len() {
        return Err("its fields have different lengths".into());
    }
    let (mut classes, mut seen_ids, mut seen) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    for ((&id, text), &n_children) in ids.iter().zip(&wnids).zip(&n_children) {
        let wnid = Wnid::parse(text).ok_or_else(|| format!("{text:?} is no WordNet id"))?;
        if !seen_ids.insert(id) || !seen.insert(wnid) {
            return Err(format!("{wnid} or its id {id} occurs twice"));
        }
        if n_children == 0 {
            classes.insert(id, wnid);
        }
    }
    let expected = 1..=n_classes;
    if classes.len() != n_classes as usize || !classes.keys().all(|id| expected.contains(id)) {
        let n = classes.len();
        return Err(format!("{n} classes, expected those of the ids 1 to {n_classes}"));
    }
    Ok(classes)
}

/// The values of a field, one of each synset: of an array of structs, or of one struct whose
/// fields are columns.
fn column<'a, T>(
    synsets: &'a Struct,
    field: &str,
    read: impl Fn(&'a Array) -> Option<Vec<T>>,
) -> Result<Vec<T>, String> {
    let n_fields = synsets.fields.len();
    let mut named = (0..n_fields).filter(|&i| synsets.fields[i] == field);
    let (Some(i), None) = (named.next(), named.next()) else {
        return Err(format!("has the field {field} not exactly once"));
    };
    let is_columns = synsets.values.len() == n_fields;
    let mut column = Vec::new();
    for (n, value) in synsets.values.iter().skip(i).step_by(n_fields).enumerate() {
        let values = read(value).filter(|values| is_columns || values.len() == 1);
        column.extend(values.ok_or_else(|| format!("{field} of synset {} is unusable", n + 1))?);
    }
    Ok(column)
}

/// Numbers that are whole and not negative.
fn whole_numbers(array: &Array) -> Option<Vec<u32>> {
    let Data::Numbers(numbers) = &array.data else { return None };
    let whole = |&number: &f64| {
        let rounded = number as u32;
        (number.to_bits() == f64::from(rounded).to_bits()).then_some(rounded)
    };
    numbers.iter().map(whole).collect()
}

/// One text, or a cell array of them.
fn texts(array: &Array) -> Option<Vec<&str>> {
    match &array.data {
        // Characters of several rows would be interleaved.
        Data::Text(text) if array.dims[0] == 1 && array.dims.len() == 2 => Some(vec![text]),
        Data::Cells(cells) => {
            let text = |cell| texts(cell).and_then(|texts| <[&str; 1]>::try_from(texts).ok());
            cells.iter().map(text).map(|text| text.map(|[text]| text)).collect()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(numbers: &[f64]) -> Array {
        Array { dims: vec![1, numbers.len()], data: Data::Numbers(numbers.to_vec()) }
    }

    fn text(text: &str) -> Array {
        Array { dims: vec![1, text.len()], data: Data::Text(text.into()) }
    }

    /// Structs of an id, a WordNet id and a number of children.
    fn synsets(rows: &[(f64, &str, f64)]) -> Array {
        let fields = ["ILSVRC2012_ID", "WNID", "num_children"].map(String::from).to_vec();
        let row = |&(id, wnid, n): &(f64, &str, f64)| [numbers(&[id]), text(wnid), numbers(&[n])];
        let values = rows.iter().flat_map(row).collect();
        Array { dims: vec![rows.len(), 1], data: Data::Struct(Struct { fields, values }) }
    }

    const GOOD: [(f64, &str, f64); 4] = [
        (1.0, "n00000009", 0.0),
        (2.0, "n00000003", 0.0),
        (3.0, "n00000001", 1.0),
        (4.0, "n00000002", 2.0),
    ];

    #[test]
    fn classes_are_the_synsets_without_children() {
        let wnid = |number| Wnid::new(number).unwrap();
        let want = BTreeMap::from([(1, wnid(9)), (2, wnid(3))]);
        assert_eq!(classes_of(&synsets(&GOOD), 2).unwrap(), want);
    }

    #[test]
    fn columns_of_one_struct_are_read_too() {
        let cells =
            |cells: Vec<Array>| Array { dims: vec![cells.len(), 1], data: Data::Cells(cells) };
        let fields = ["num_children", "WNID", "ILSVRC2012_ID"].map(String::from).to_vec();
        let wnids = ["n00000009", "n00000003", "n00000001"].map(text).to_vec();
        let mut values = vec![numbers(&[0.0, 0.0, 2.0]), cells(wnids), numbers(&[2.0, 1.0, 3.0])];
        let array = |values| Array {
            dims: vec![1, 1],
            data: Data::Struct(Struct { fields: fields.clone(), values }),
        };
        let got = classes_of(&array(values.clone()), 2).unwrap();
        assert_eq!(
            got.values().map(ToString::to_string).collect::<Vec<_>>(),
            ["n00000003", "n00000009"]
        );
        values[2] = numbers(&[2.0, 1.0]);
        assert!(classes_of(&array(values), 2).unwrap_err().contains("different lengths"));
    }

    #[test]
    fn anything_else_is_refused() {
        let with = |i: usize, row| {
            let mut rows = GOOD;
            rows[i] = row;
            classes_of(&synsets(&rows), 2).unwrap_err()
        };
        assert!(with(1, (1.0, "n00000003", 0.0)).contains("occurs twice"));
        assert!(with(1, (2.0, "n00000009", 0.0)).contains("occurs twice"));
        assert!(with(1, (2.0, "n0000003", 0.0)).contains("no WordNet id"));
        assert!(
            with(1, (5.0, "n00000003", 0.0))
                .contains("2 classes, expected those of the ids 1 to 2")
        );
        assert!(with(2, (3.0, "n00000001", 0.0)).contains("3 classes"));
        for bad in [1.5, -1.0, f64::NAN, f64::INFINITY, 4_294_967_296.0] {
            assert!(with(1, (bad, "n00000003", 0.0)).contains("ILSVRC2012_ID of synset 2"));
            assert!(with(3, (4.0, "n00000002", bad)).contains("num_children of synset 4"));
        }
        assert!(classes_of(&numbers(&[1.0]), 2).unwrap_err().contains("no struct"));
        let mut lacking = synsets(&GOOD);
        let Data::Struct(table) = &mut lacking.data else { unreachable!() };
        table.fields[1] = "num_children".into();
        assert!(classes_of(&lacking, 2).unwrap_err().contains("WNID not exactly once"));
    }
}
