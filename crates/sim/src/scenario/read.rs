//! Reads a scenario from YAML, with errors that name field and line.

use super::check::Invalid;
use super::schema::Scenario;

impl Scenario {
    /// Reads YAML or JSON and [validates](Self::validate) it.
    pub fn read(text: &str) -> Result<Self, Invalid> {
        let scenario: Self =
            serde_saphyr::from_str_with_options(text, yaml_options()).map_err(|error| explain(text, &error))?;
        scenario.validate()?;
        Ok(scenario)
    }
}

/// Reads the text again to find the path of the field. This is slow, so it happens only after an error.
fn explain(text: &str, error: &serde_saphyr::Error) -> Invalid {
    let mut path = ".".to_owned();
    // The result is the error that is known already; only the path is new.
    let _ = serde_saphyr::with_deserializer_from_str_with_options(text, yaml_options(), |yaml| {
        serde_path_to_error::deserialize::<_, Scenario>(yaml).map_err(|error| {
            path = error.path().to_string();
            error.into_inner()
        })
    });
    let line = error.location().map_or(1, |location| location.line());
    let message = error.without_snippet().to_string();
    // Cuts off the place, which is added below, and a hint at an option of the parser.
    let ends = [" at line ", ", set DuplicateKeyPolicy"].iter().filter_map(|end| message.find(end)).min();
    let message = &message[..ends.unwrap_or(message.len())];
    let what = PLAIN.iter().find(|(theirs, _)| message.starts_with(theirs)).map_or(message, |(_, plain)| plain);
    match path.as_str() {
        "." | "?" => Invalid { path: format!("line {line}"), what: what.to_owned() },
        _ => Invalid { path, what: format!("{what} (line {line})") },
    }
}

/// Messages of the parser for programmers, and the same for the author of the file.
const PLAIN: [(&str, &str); 3] = [
    ("invalid u64", "expected a whole number, 0 or more"),
    ("invalid floating point", "expected a number"),
    ("multiple YAML documents", "expected one document"),
];

/// Limits of the parser. Two matrices of 200 clusters have 80,000 numbers; the limits are ten times as high.
fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 2_000_000,
            max_nodes: 1_000_000,
            max_total_scalar_bytes: 32 << 20,
        },
        with_snippet: false,
    }
}
