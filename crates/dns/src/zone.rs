//! Zones this server is authoritative for.

use std::fmt;
use std::str::FromStr;

use landfall_core::name::is_label;
use thiserror::Error;

/// Maximum length of a zone on the wire, in octets. `hostmaster.<zone>` must be a name, so at most 255 octets.
const MAX_WIRE_LENGTH: usize = 255 - "?hostmaster".len();

/// A zone name of one or more DNS labels. Default: `clusterset.local`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    text: Box<str>,
    wire: Box<[u8]>,
}

/// Error for a text that is not a zone name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("zone {0:?} is not a domain name of labels (a-z, 0-9, '-', at most 63 characters each, 240 in all)")]
pub struct InvalidZone(String);

impl Zone {
    /// Returns the name in lower case, without a dot at the end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the name in wire format and lower case: each label after its length, and a 0 at the end.
    pub(crate) fn wire(&self) -> &[u8] {
        &self.wire
    }
}

impl Default for Zone {
    fn default() -> Self {
        "clusterset.local".parse().expect("the default zone is a domain name")
    }
}

impl FromStr for Zone {
    type Err = InvalidZone;

    fn from_str(zone: &str) -> Result<Self, InvalidZone> {
        let text = zone.strip_suffix('.').unwrap_or(zone).to_ascii_lowercase();
        let mut wire = Vec::with_capacity(text.len() + 2);
        for label in text.split('.') {
            let length = u8::try_from(label.len()).ok().filter(|_| is_label(label));
            wire.push(length.ok_or_else(|| InvalidZone(zone.to_owned()))?);
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        if wire.len() > MAX_WIRE_LENGTH {
            return Err(InvalidZone(zone.to_owned()));
        }
        Ok(Self { text: text.into(), wire: wire.into() })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zone_has_one_or_more_labels() {
        let zone: Zone = "ClusterSet.Local.".parse().unwrap();
        assert_eq!((zone.as_str(), zone.wire()), ("clusterset.local", &b"\x0aclusterset\x05local\x00"[..]));
        assert_eq!(zone, Zone::default());
        assert!("local".parse::<Zone>().is_ok());
        let label = "x".repeat(60);
        let long = format!("{label}.{label}.{label}.{}", "x".repeat(59));
        assert!(long.parse::<Zone>().is_ok(), "{}", long.len());
        for zone in ["", ".", "a..b", "-a.b", "a_b", "ä.local", &format!("{long}x"), &"x".repeat(64)] {
            assert!(zone.parse::<Zone>().is_err(), "{zone:?} was accepted");
        }
    }
}
