//! Reading a scenario from YAML, with errors that name field and line.

use super::check::Invalid;
use super::schema::Scenario;

impl Scenario {
    /// Reads YAML, of which JSON is a part, and [validates](Self::validate) it.
    pub fn read(text: &str) -> Result<Self, Invalid> {
        let scenario: Self =
            serde_saphyr::from_str_with_options(text, yaml_options()).map_err(|error| explain(text, &error))?;
        scenario.validate()?;
        Ok(scenario)
    }
}

/// The path to the field costs time, so it is only looked for when there is something to say.
fn explain(text: &str, error: &serde_saphyr::Error) -> Invalid {
    let mut path = ".".to_owned();
    // The outcome is the error that we have; only the path is new.
    let _ = serde_saphyr::with_deserializer_from_str_with_options(text, yaml_options(), |yaml| {
        serde_path_to_error::deserialize::<_, Scenario>(yaml).map_err(|error| {
            path = error.path().to_string();
            error.into_inner()
        })
    });
    let line = error.location().map_or(1, |location| location.line());
    let message = error.without_snippet().to_string();
    // What follows is where, which we say ourselves, and which option of the parser would let it pass.
    let ends = [" at line ", ", set DuplicateKeyPolicy"].iter().filter_map(|end| message.find(end)).min();
    let message = &message[..ends.unwrap_or(message.len())];
    let what = PLAIN.iter().find(|(theirs, _)| message.starts_with(theirs)).map_or(message, |(_, plain)| plain);
    match path.as_str() {
        "." | "?" => Invalid { path: format!("line {line}"), what: what.to_owned() },
        _ => Invalid { path, what: format!("{what} (line {line})") },
    }
}

/// What the parser says to who calls it, and what that means to who wrote the file.
const PLAIN: [(&str, &str); 3] = [
    ("invalid u64", "expected a whole number, 0 or more"),
    ("invalid floating point", "expected a number"),
    ("multiple YAML documents", "expected one document"),
];

/// Two matrices of 200 clusters are 80,000 numbers; ten times as much is still read in a blink.
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
