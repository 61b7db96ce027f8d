use std::fmt;

use serde::Deserializer;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Reads a number in an object of another cluster, which may run a newer or a broken version. Text is parsed; a value
/// of any other type becomes NaN. So a bad number does not make the whole object unreadable, and an error can name its
/// field.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    deserializer.deserialize_any(Anything)
}

/// Accepts a value of any type.
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
    fn a_number_may_be_an_integer_a_fraction_or_text() {
        for (json, expected) in [("12", 12.0), ("-3", -3.0), ("0.5", 0.5), ("\" 1e3 \"", 1000.0)] {
            assert_eq!(read(&format!("{{\"value\": {json}}}")), Some(expected), "{json}");
        }
    }

    #[test]
    fn an_absent_number_is_none_and_a_value_of_another_type_is_nan() {
        assert_eq!(read("{}"), None);
        assert_eq!(read("{\"value\": null}"), None);
        for json in ["true", "\"many\"", "[1, 2]", "{\"a\": 1}"] {
            assert!(read(&format!("{{\"value\": {json}}}")).unwrap().is_nan(), "{json}");
        }
    }
}
