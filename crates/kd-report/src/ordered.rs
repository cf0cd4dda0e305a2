//! A map that remembers the order of appearance.

use std::collections::BTreeMap;

/// Values in order of appearance, each key once.
pub(crate) struct Ordered<K, V> {
    values: Vec<V>,
    places: BTreeMap<K, usize>,
}

impl<K, V> Default for Ordered<K, V> {
    fn default() -> Self {
        Self { values: Vec::new(), places: BTreeMap::new() }
    }
}

impl<K: Ord, V: Default> Ordered<K, V> {
    /// The value of `key`, which is a new one, and the last, where there is none yet.
    pub(crate) fn entry(&mut self, key: K) -> &mut V {
        let place = *self.places.entry(key).or_insert(self.values.len());
        if place == self.values.len() {
            self.values.push(V::default());
        }
        &mut self.values[place]
    }

    /// In order of appearance.
    pub(crate) fn values(&self) -> &[V] {
        &self.values
    }

    /// In order of appearance.
    pub(crate) fn into_values(self) -> Vec<V> {
        self.values
    }
}

/// `items` in groups of equal keys.
pub(crate) fn grouped<K: Ord, T>(
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> Vec<Vec<T>> {
    let mut groups: Ordered<K, Vec<T>> = Ordered::default();
    items.into_iter().for_each(|item| groups.entry(key(&item)).push(item));
    groups.into_values()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_appearance_gives_the_place() {
        let groups = grouped([("z", 1), ("a", 2), ("z", 3)], |(key, _)| *key);
        assert_eq!(groups, [vec![("z", 1), ("z", 3)], vec![("a", 2)]]);
    }
}
