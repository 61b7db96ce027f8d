//! Reads manifest files, document by document: YAML or JSON, also with `kind: List`.

use serde::Deserialize;
use serde_json::Value;

use crate::object::{Kind, Object, ObjectRef, group_and_version};
use crate::text::{ReadError, Text};

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

    fn read(line: usize, kind: Kind, text: Text<'_>, malformed: impl FnOnce(ReadError) -> Malformed) -> Self {
        let read = match Object::read(kind, text) {
            Ok(read) => read,
            Err(error) => return Self::malformed(line, malformed(error)),
        };
        let object = read.reference();
        let unknown = unknown_fields(kind, text);
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
        let renamed = former_names(&read).map(|(former, name)| format!("{former} was renamed; use {name}"));
        let unknown = unknown.chain(renamed).map(|what| format!("{kind} {object}: {what}")).collect();
        Self { line, read: Ok(read), unknown }
    }
}

/// Returns the unknown fields of an object's spec, for kinds that are [written for Landfall](Kind::is_written_for_us)
/// only: Landfall does not read most fields of the other kinds.
fn unknown_fields(kind: Kind, text: Text<'_>) -> Vec<String> {
    if !kind.is_written_for_us() {
        return Vec::new();
    }
    let mut fields = Object::unknown_fields(kind, text);
    fields.retain(|field| field.starts_with("spec."));
    fields
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
        Some(Document::read(line, header.kind()?, Text::Value(&value), |error| malformed(&header, error)))
    };
    list.items.into_iter().filter_map(item).collect()
}

fn malformed(header: &Header, error: ReadError) -> Malformed {
    let name = ObjectRef::new(&header.metadata.namespace, &header.metadata.name);
    Malformed { object: header.object(), line: error.line, what: format!("{} {name}: {error}", header.kind) }
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
        return match Text::Json(text).read() {
            Ok(list) => items(list, line),
            Err(error) => vec![Document::malformed(line, malformed(&header, error))],
        };
    }
    let Some(kind) = header.kind() else { return header.unknown_version(line) };
    vec![Document::read(line, kind, Text::Json(text), |error| malformed(&header, error))]
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
        None => match Text::Yaml(text).read::<Header>() {
            Ok(header) => header,
            Err(error) => {
                let what = format!("invalid manifest: {error}");
                return vec![Document::malformed(line, Malformed { object: None, line: error.line, what })];
            }
        },
    };
    if header.is_missing() {
        return vec![nameless(line)];
    }
    let malformed = |error| {
        let named = Text::Yaml(text).read();
        malformed(&named.unwrap_or_else(|_| Header { metadata: HeaderMeta::default(), ..header.clone() }), error)
    };
    if header.is_list() {
        return match Text::Yaml(text).read() {
            Ok(list) => items(list, line),
            Err(error) => vec![Document::malformed(line, malformed(error))],
        };
    }
    let Some(kind) = header.kind() else { return header.unknown_version(line) };
    vec![Document::read(line, kind, Text::Yaml(text), malformed)]
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
