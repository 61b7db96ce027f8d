//! Fields that there are none of. An API server refuses or drops them; in a file they would be passed over in silence, and
//! a policy with a typing mistake would be another policy.

use std::cell::RefCell;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_ignored::Path;

use crate::object::{Kind, Object, Read};

/// The object, and which fields of its spec mean nothing. Only of what [is written for us](Kind::is_written_for_us): of
/// everything else most fields are none of our business.
pub fn read_strictly<E>(kind: Kind, text: impl Read<E>) -> (Result<Object, E>, Vec<String>) {
    if !kind.is_written_for_us() {
        return (Object::read(kind, text), Vec::new());
    }
    let unknown = RefCell::default();
    let read = Object::read(kind, Noting { text, unknown: &unknown });
    (read, unknown.into_inner())
}

struct Noting<'a, R> {
    text: R,
    unknown: &'a RefCell<Vec<String>>,
}

impl<E, R: Read<E>> Read<E> for Noting<'_, R> {
    fn read<T: DeserializeOwned>(&self) -> Result<T, E> {
        let Noted { value, unknown } = self.text.read()?;
        self.unknown.borrow_mut().extend(unknown);
        Ok(value)
    }
}

struct Noted<T> {
    value: T,
    unknown: Vec<String>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Noted<T> {
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

/// `spec.weights[0].source`, as everywhere else.
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
