//! Reads a value from text in one of three forms, and names the field of an error.
//!
//! Each form reads each type directly, which is fast. What is rarely asked, the path of an error and the unknown fields,
//! comes from a second pass over the text with a type-erased deserializer: with a direct one, the compiler would build
//! the readers of all types once more for each form.

use erased_serde::Deserializer as ErasedDeserializer;
use serde::Deserializer;
use serde::de::DeserializeOwned;
use serde_ignored::Path;
use serde_json::Value;
use thiserror::Error;

#[derive(Debug, Clone, Copy)]
pub enum Text<'a> {
    Json(&'a str),
    /// An item of a list, already parsed.
    Value(&'a Value),
    Yaml(&'a str),
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what}")]
pub struct ReadError {
    /// Offset in lines from the start of the text; 0 if the form does not give it.
    pub line: usize,
    /// Field, and what is wrong with it.
    pub what: String,
}

impl Text<'_> {
    pub fn read<T: DeserializeOwned>(self) -> Result<T, ReadError> {
        let (line, what) = match self.deserialize() {
            Ok(value) => return Ok(value),
            Err(at) => at,
        };
        let path = self.walk(discard::<T>).path_of_error;
        Err(ReadError { line, what: path.map_or_else(|| what.clone(), |path| format!("{path}: {what}")) })
    }

    /// Returns the fields that `T` does not have, as `spec.weights[0].source`. An API server refuses or drops them. In a
    /// file they would be ignored silently, and a policy with a typing mistake would become a different policy.
    pub fn unknown_fields<T: DeserializeOwned>(self) -> Vec<String> {
        self.walk(discard::<T>).unknown_fields
    }

    /// Returns the value, or the line and text of the error.
    fn deserialize<T: DeserializeOwned>(self) -> Result<T, (usize, String)> {
        match self {
            Self::Json(text) => serde_json::from_str(text).map_err(|error| (0, error.to_string())),
            Self::Value(value) => T::deserialize(value).map_err(|error| (0, error.to_string())),
            Self::Yaml(text) => {
                serde_saphyr::from_str_with_options(text, yaml_options()).map_err(|error| yaml_error(&error))
            }
        }
    }

    fn walk(self, read: Discard) -> Walk {
        match self {
            Self::Json(text) => walk(read, &mut serde_json::Deserializer::from_str(text)),
            Self::Value(value) => walk(read, value),
            Self::Yaml(text) => {
                let mut found = Walk::default();
                // `walk` keeps what it finds, and `read` has already returned the error.
                let _ = serde_saphyr::with_deserializer_from_str_with_options(text, yaml_options(), |yaml| {
                    found = walk(read, yaml);
                    Ok(())
                });
                found
            }
        }
    }
}

/// Reads a value and drops it. Returns true if that failed.
type Discard = fn(&mut dyn ErasedDeserializer<'_>) -> bool;

fn discard<T: DeserializeOwned>(deserializer: &mut dyn ErasedDeserializer<'_>) -> bool {
    erased_serde::deserialize::<T>(deserializer).is_err()
}

/// What the second pass finds.
#[derive(Default)]
struct Walk {
    /// `None` if there was no error, or if it is not in a field.
    path_of_error: Option<String>,
    unknown_fields: Vec<String>,
}

fn walk<'de>(read: Discard, deserializer: impl Deserializer<'de>) -> Walk {
    let mut unknown_fields = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(deserializer, &mut track);
    let mut record = |path: Path<'_>| unknown_fields.push(name(&path));
    let recorded = serde_ignored::Deserializer::new(tracked, &mut record);
    let failed = read(&mut <dyn ErasedDeserializer<'_>>::erase(recorded));
    let path = failed.then(|| track.path()).filter(|path| path.iter().next().is_some());
    Walk { path_of_error: path.map(|path| path.to_string()), unknown_fields }
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

fn yaml_error(error: &serde_saphyr::Error) -> (usize, String) {
    let line = error.location().map_or(1, |location| location.line());
    let message = error.without_snippet().to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    (usize::try_from(line).unwrap_or(1).saturating_sub(1), message.to_owned())
}

/// Limits for a large fleet, not for hostile input, because the files belong to the user. A `kind: List` of 100,000
/// EndpointSlices has about 10 million nodes.
fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 200_000_000,
            max_nodes: 100_000_000,
            max_total_scalar_bytes: 4 << 30,
        },
        with_snippet: false,
        // `accept` refuses the number, and names the field.
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::PassThrough,
    }
}
