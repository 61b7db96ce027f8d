//! The text of a manifest file, document by document: YAML or JSON, `kind: List` too.

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
    /// Where it begins, counted from 1; for an item of a list, where the list does.
    pub line: usize,
    pub read: Result<Object, Malformed>,
    /// What is in it and means nothing, one message per field. The rest of it counts; of prices nothing does.
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
                        "{field}: there is no such field; without it a rule would be for more traffic than was meant, so the \
                         object is left out: mend it, or remove the field"
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
    /// Which object it is, if that much could be read.
    pub object: Option<(Kind, ObjectRef)>,
    /// How many lines after the beginning of the document, if the format tells.
    pub line: usize,
    pub what: String,
}

/// The objects of a file. Documents of other kinds than ours are none of our business, and are not there.
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

/// What every object says of itself.
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

    /// Half a manifest, for example.
    fn is_missing(&self) -> bool {
        self.api_version.is_empty() || self.kind.is_empty()
    }

    /// What is of another kind is none of our business, but another version of one of ours was probably meant for us.
    fn unknown_version(&self, line: usize) -> Vec<Document> {
        let (group, _) = group_and_version(&self.api_version);
        let ours = Kind::ALL.into_iter().find(|kind| kind.name() == self.kind && kind.group() == group);
        let problem = ours.map(|kind| {
            let read: Vec<String> = kind.api_versions().collect();
            let what = format!("{kind}: apiVersion {} is not read, {} is", self.api_version, read.join(" or "));
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

/// One or several documents, one after the other.
fn json_documents(text: &str) -> Vec<Document> {
    let mut found = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<&serde_json::value::RawValue>();
    loop {
        let begins = text[stream.byte_offset()..].trim_start();
        let line = 1 + text[..text.len() - begins.len()].matches('\n').count();
        match stream.next() {
            None => return found,
            Some(Ok(raw)) => found.extend(json_document(line, raw.get())),
            Some(Err(error)) => {
                found.push(Document::nameless(line, format!("no valid JSON: {error}")));
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

/// The documents of a YAML stream and the lines at which they begin. A line that starts with `---` is always a border:
/// what belongs to a block scalar is indented.
fn yaml_documents(text: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    let (mut begin, mut begin_line, mut at) = (0, 1, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let border =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if border {
            documents.push((begin_line, &text[begin..at]));
            (begin, begin_line) = (at + 3, number + 1);
        }
        at += line.len();
    }
    documents.push((begin_line, &text[begin..]));
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
                let what = format!("no valid manifest: {what}");
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
    Document::nameless(line, "no valid manifest: it has no apiVersion and kind".to_owned())
}

/// Kind and version as `kubectl` prints them, without parsing the document: most of a large file is often of kinds that
/// do not concern us, and the rest should be parsed once.
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
    /// After the first line of the document.
    line: usize,
    /// Which field, and what is wrong with it.
    what: String,
}

fn yaml<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    serde_saphyr::from_str_with_options(text, yaml_options()).map_err(|error| {
        // The path costs time, so it is only looked for when there is something to say.
        let mut path = String::new();
        let again = serde_saphyr::with_deserializer_from_str_with_options(text, yaml_options(), |yaml| {
            serde_path_to_error::deserialize::<_, T>(yaml).map_err(|error| {
                path = error.path().to_string();
                error.into_inner()
            })
        });
        let error = again.err().unwrap_or(error);
        let line = error.location().map_or(1, |location| location.line());
        let field = if path.is_empty() || path == "." { String::new() } else { format!("{path}: ") };
        let message = error.without_snippet().to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        YamlError { line: usize::try_from(line).unwrap_or(1).saturating_sub(1), what: format!("{field}{message}") }
    })
}

/// The files are the user's own, so the limits are those of a large fleet and not those of hostile input: a `kind: List`
/// of 100,000 EndpointSlices has some 10 million nodes.
fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 200_000_000,
            max_nodes: 100_000_000,
            max_total_scalar_bytes: 4 << 30,
        },
        with_snippet: false,
        // Whoever accepts the number says so, and with which field.
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::PassThrough,
    }
}
