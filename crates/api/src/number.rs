use std::fmt;

use serde::Deserializer;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A number in an object of another cluster, which may be newer or broken: it may be text, and what is no number at all is
/// NaN. So one bad number does not cost the object, and whoever accepts it can name the field.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    deserializer.deserialize_any(Anything)
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Option<f64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Some(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(number as f64))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(number as f64))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.trim().parse().unwrap_or(f64::NAN)))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Some(f64::NAN))
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Some(f64::NAN))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Some(f64::NAN))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Holder {
        #[serde(default, deserialize_with = "super::number")]
        value: Option<f64>,
    }

    fn read(json: &str) -> Option<f64> {
        serde_json::from_str::<Holder>(json).unwrap().value
    }

    #[test]
    fn a_number_may_be_whole_broken_or_text() {
        for (json, expected) in [("12", 12.0), ("-3", -3.0), ("0.5", 0.5), ("\" 1e3 \"", 1000.0)] {
            assert_eq!(read(&format!("{{\"value\": {json}}}")), Some(expected), "{json}");
        }
    }

    #[test]
    fn what_is_absent_is_absent_and_what_is_no_number_is_not_a_number() {
        assert_eq!(read("{}"), None);
        assert_eq!(read("{\"value\": null}"), None);
        for json in ["true", "\"many\"", "[1, 2]", "{\"a\": 1}"] {
            assert!(read(&format!("{{\"value\": {json}}}")).unwrap().is_nan(), "{json}");
        }
    }
}
