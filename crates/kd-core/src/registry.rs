//! One small macro behind every family of things that a suite file can name.

/// Turns a list of types into a tagged enum that serde reads from `{ kind = "name", ... }`.
///
/// Each type is its own configuration and implementation: plain serde data with `Default` (the
/// source's values) that implements the family's trait. The enum gets `NAMES`, `name()`,
/// `as_dyn()`, `as_dyn_mut()`, `From` each entry, and `all()`, the list that conformance tests walk, so that an
/// entry cannot skip them.
#[macro_export]
macro_rules! registry {
    ($(#[$doc:meta])* pub enum $family:ident: dyn $contract:path {
        $($name:literal => $variant:ident($type:ty)),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "kind")]
        pub enum $family {
            $(#[doc = concat!("`", $name, "`")] #[serde(rename = $name)] $variant($type)),+
        }

        impl $family {
            /// The names under which suite files and the program know the entries.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// Every entry with its default settings.
            pub fn all() -> Vec<Self> {
                vec![$(Self::$variant(<$type>::default())),+]
            }

            /// This entry's name.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name),+ }
            }

            /// This entry as its contract.
            pub fn as_dyn(&self) -> &dyn $contract {
                match self { $(Self::$variant(entry) => entry),+ }
            }

            /// The same, to be changed.
            pub fn as_dyn_mut(&mut self) -> &mut dyn $contract {
                match self { $(Self::$variant(entry) => entry),+ }
            }
        }

        $(impl From<$type> for $family {
            fn from(entry: $type) -> Self {
                Self::$variant(entry)
            }
        })+
    };
}
