//! Finds unknown fields. An API server refuses or drops them. In a file they would be ignored silently, and a policy
//! with a typing mistake would become a different policy.

use std::cell::RefCell;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_ignored::Path;

use crate::object::{Kind, Object, Read};

/// Reads an object. Also returns the unknown fields of its spec, for kinds that are
/// [written for Landfall](Kind::is_written_for_us) only: Landfall does not read most fields of the other kinds.
pub fn read_strictly<E>(kind: Kind, text: impl Read<E>) -> (Result<Object, E>, Vec<String>) {
    if !kind.is_written_for_us() {
        return (Object::read(kind, text), Vec::new());
    }
    let unknown = RefCell::default();
    let read = Object::read(kind, Recording { text, unknown: &unknown });
    (read, unknown.into_inner())
}

/// Text that records the unknown fields of what is read from it.
struct Recording<'a, R> {
    text: R,
    unknown: &'a RefCell<Vec<String>>,
}

impl<E, R: Read<E>> Read<E> for Recording<'_, R> {
    fn read<T: DeserializeOwned>(&self) -> Result<T, E> {
        let WithUnknown { value, unknown } = self.text.read()?;
        self.unknown.borrow_mut().extend(unknown);
        Ok(value)
    }
}

struct WithUnknown<T> {
    value: T,
    unknown: Vec<String>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for WithUnknown<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut unknown = Vec::new();
        let value = serde_ignored::deserialize(deserializer, |path| {
            let field = name(&path);
            if field.starts_with("spec.") {
                unknown.push(field);
            }
        })?;
        Ok(Self { value, unknown })
    }
}

/// Formats a path as `spec.weights[0].source`.
fn name(path: &Path<'_>) -> String {
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", name(parent)),
        Path::Map { parent, key } => match name(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => name(parent),
    }
}
