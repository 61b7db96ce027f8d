//! Reads manifest files, document by document: YAML or JSON, also with `kind: List`.

pub mod unknown_fields;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use crate::manifest::unknown_fields::read_strictly;
use crate::object::{Json, Kind, Object, ObjectRef, Read, group_and_version};

/// One document, or one item of a list.
#[derive(Debug)]
pub struct Document {
    /// First line, counted from 1. For an item of a list, the first line of the list.
    pub line: usize,
    pub read: Result<Object, Malformed>,
    /// Unknown and renamed fields, one message per field. The rest of the object is used. A NetworkPricing with an
    /// unknown field is malformed instead.
    pub unknown: Vec<String>,
}

impl Document {
    fn malformed(line: usize, malformed: Malformed) -> Self {
        Self { line, read: Err(malformed), unknown: Vec::new() }
    }

    fn nameless(line: usize, what: String) -> Self {
        Self::malformed(line, Malformed { object: None, line: 0, what })
    }

    fn read<E>(line: usize, kind: Kind, text: impl Read<E>, malformed: impl FnOnce(E) -> Malformed) -> Self {
        let (read, unknown) = read_strictly(kind, text);
        let unknown = match &read {
            Ok(read) => {
                let object = read.reference();
                if kind == Kind::NetworkPricing
                    && let Some(field) = unknown.first()
                {
                    let what = format!(
                        "{field}: there is no such field; without it, a rule would apply to more traffic than intended, so the \
                         object is left out; correct or remove the field"
                    );
                    return Self::malformed(line, Malformed { object: Some((kind, object)), line: 0, what });
                }
                let unknown = unknown.iter().map(|field| format!("{field}: there is no such field"));
                let renamed = former_names(read).map(|(former, name)| format!("{former} was renamed; use {name}"));
                unknown.chain(renamed).map(|what| format!("{kind} {object}: {what}")).collect()
            }
            Err(_) => Vec::new(),
        };
        Self { line, read: read.map_err(malformed), unknown }
    }
}

/// Returns the fields of an object that have a former name, each with the name to use.
fn former_names(object: &Object) -> impl Iterator<Item = (&'static str, &'static str)> {
    let settings = if let Object::SelectionPolicy(policy) = object { policy.spec.optimized.as_ref() } else { None };
    settings.into_iter().flat_map(|settings| settings.former_names())
}

#[derive(Debug)]
pub struct Malformed {
    /// The object, if its kind and name could be read.
    pub object: Option<(Kind, ObjectRef)>,
    /// Offset in lines from the start of the document; 0 if the format does not give it.
    pub line: usize,
    pub what: String,
}

/// Returns the objects of a file. Documents of other kinds are left out.
pub fn documents(text: &str) -> Vec<Document> {
    if text.trim_start().starts_with('{') {
        return json_documents(text);
    }
    let mut found = Vec::new();
    for (line, document) in yaml_documents(text) {
        found.extend(yaml_document(line, document));
    }
    found
}

/// The fields that every object has.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Header {
    api_version: String,
    kind: String,
    metadata: HeaderMeta,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct HeaderMeta {
    name: String,
    namespace: String,
}

impl Header {
    fn kind(&self) -> Option<Kind> {
        Kind::of(&self.api_version, &self.kind)
    }

    fn object(&self) -> Option<(Kind, ObjectRef)> {
        Some((self.kind()?, ObjectRef::new(&self.metadata.namespace, &self.metadata.name)))
    }

    /// Returns true if `apiVersion` or `kind` is missing, as in half a manifest.
    fn is_missing(&self) -> bool {
        self.api_version.is_empty() || self.kind.is_empty()
    }

    /// Returns an error if the document has one of our kinds in a version that Landfall does not read. Other kinds are
    /// left out silently.
    fn unknown_version(&self, line: usize) -> Vec<Document> {
        let (group, _) = group_and_version(&self.api_version);
        let ours = Kind::ALL.into_iter().find(|kind| kind.name() == self.kind && kind.group() == group);
        let problem = ours.map(|kind| {
            let read: Vec<String> = kind.api_versions().collect();
            let what = format!("{kind}: apiVersion {} is not supported; use {}", self.api_version, read.join(" or "));
            Document::nameless(line, what)
        });
        problem.into_iter().collect()
    }

    fn is_list(&self) -> bool {
        self.kind.ends_with("List")
    }
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Value>,
}

fn items(list: List, line: usize) -> Vec<Document> {
    let item = |value: Value| {
        let header = Header::deserialize(&value).unwrap_or_default();
        Some(Document::read(line, header.kind()?, JsonValue(&value), |error| malformed(&header, &error.to_string())))
    };
    list.items.into_iter().filter_map(item).collect()
}

fn malformed(header: &Header, error: &str) -> Malformed {
    let name = ObjectRef::new(&header.metadata.namespace, &header.metadata.name);
    Malformed { object: header.object(), line: 0, what: format!("{} {name}: {error}", header.kind) }
}

/// Reads one or several JSON documents, one after the other.
fn json_documents(text: &str) -> Vec<Document> {
    let mut found = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<&serde_json::value::RawValue>();
    loop {
        let rest = text[stream.byte_offset()..].trim_start();
        let line = 1 + text[..text.len() - rest.len()].matches('\n').count();
        match stream.next() {
            None => return found,
            Some(Ok(raw)) => found.extend(json_document(line, raw.get())),
            Some(Err(error)) => {
                found.push(Document::nameless(line, format!("invalid JSON: {error}")));
                return found;
            }
        }
    }
}

fn json_document(line: usize, text: &str) -> Vec<Document> {
    let header: Header = serde_json::from_str(text).unwrap_or_default();
    if header.is_missing() {
        return vec![nameless(line)];
    }
    if header.is_list() {
        return match serde_json::from_str(text) {
            Ok(list) => items(list, line),
            Err(error) => vec![Document::malformed(line, malformed(&header, &error.to_string()))],
        };
    }
    let Some(kind) = header.kind() else { return header.unknown_version(line) };
    vec![Document::read(line, kind, Json(text), |error| malformed(&header, &error.to_string()))]
}

/// Returns the documents of a YAML stream and their first lines. A line that starts with `---` always separates
/// documents, because block scalars are indented.
fn yaml_documents(text: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut start_line, mut at) = (0, 1, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let is_separator =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if is_separator {
            documents.push((start_line, &text[start..at]));
            (start, start_line) = (at + 3, number + 1);
        }
        at += line.len();
    }
    documents.push((start_line, &text[start..]));
    documents.retain(|(_, document)| {
        document
            .lines()
            .any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#') && line.trim() != "...")
    });
    documents
}

fn yaml_document(line: usize, text: &str) -> Vec<Document> {
    let header = match quick_header(text) {
        Some(header) => header,
        None => match yaml::<Header>(text) {
            Ok(header) => header,
            Err(error) => {
                let YamlError { line: offset, what } = error;
                let what = format!("invalid manifest: {what}");
                return vec![Document::malformed(line, Malformed { object: None, line: offset, what })];
            }
        },
    };
    if header.is_missing() {
        return vec![nameless(line)];
    }
    let malformed = |error: YamlError| {
        let named =
            yaml::<Header>(text).unwrap_or_else(|_| Header { metadata: HeaderMeta::default(), ..header.clone() });
        Malformed { line: error.line, ..malformed(&named, &error.what) }
    };
    if header.is_list() {
        return match yaml(text) {
            Ok(list) => items(list, line),
            Err(error) => vec![Document::malformed(line, malformed(error))],
        };
    }
    let Some(kind) = header.kind() else { return header.unknown_version(line) };
    vec![Document::read(line, kind, Yaml(text), malformed)]
}

fn nameless(line: usize) -> Document {
    Document::nameless(line, "invalid manifest: apiVersion or kind is missing".to_owned())
}

/// Reads kind and version in the form in which `kubectl` prints them, without parsing the document. Returns `None` if
/// they have another form. Most documents of a large file are often of other kinds, and the rest should be parsed only
/// once.
fn quick_header(text: &str) -> Option<Header> {
    let value = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        let value = line[key.len()..].trim();
        let plain = !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"./-".contains(&b));
        plain.then(|| value.to_owned())
    };
    Some(Header { api_version: value("apiVersion:")?, kind: value("kind:")?, metadata: HeaderMeta::default() })
}

struct JsonValue<'a>(&'a Value);

impl Read<serde_path_to_error::Error<serde_json::Error>> for JsonValue<'_> {
    fn read<T: DeserializeOwned>(&self) -> Result<T, serde_path_to_error::Error<serde_json::Error>> {
        serde_path_to_error::deserialize(self.0)
    }
}

struct Yaml<'a>(&'a str);

impl Read<YamlError> for Yaml<'_> {
    fn read<T: DeserializeOwned>(&self) -> Result<T, YamlError> {
        yaml(self.0)
    }
}

#[derive(Debug, Error)]
#[error("{what}")]
struct YamlError {
    /// Offset from the first line of the document.
    line: usize,
    /// Field, and what is wrong with it.
    what: String,
}

fn yaml<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    serde_saphyr::from_str_with_options(text, yaml_options()).map_err(|error| {
        // Tracking the path costs time, so the text is parsed again for it only after an error.
        let mut path = String::new();
        let second = serde_saphyr::with_deserializer_from_str_with_options(text, yaml_options(), |yaml| {
            serde_path_to_error::deserialize::<_, T>(yaml).map_err(|error| {
                path = error.path().to_string();
                error.into_inner()
            })
        });
        let error = second.err().unwrap_or(error);
        let line = error.location().map_or(1, |location| location.line());
        let field = if path.is_empty() || path == "." { String::new() } else { format!("{path}: ") };
        let message = error.without_snippet().to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        YamlError { line: usize::try_from(line).unwrap_or(1).saturating_sub(1), what: format!("{field}{message}") }
    })
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
