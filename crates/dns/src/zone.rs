//! The zones that are answered for.

use std::fmt;
use std::str::FromStr;

use landfall_core::name::is_label;
use thiserror::Error;

/// `hostmaster.<zone>` must not be longer than a name can be, 255 octets.
const WIRE_MAX: usize = 255 - "?hostmaster".len();

/// One or more DNS labels, `clusterset.local` unless somebody says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    text: Box<str>,
    wire: Box<[u8]>,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("zone {0:?} is not a domain name of labels (a-z, 0-9, '-', at most 63 characters each, 240 in all)")]
pub struct InvalidZone(String);

impl Zone {
    /// Lower case, without a dot at the end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As DNS writes it, in lower case: each label after its length, the root's 0 at the end.
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
        if wire.len() > WIRE_MAX {
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
    fn a_zone_is_one_or_more_labels() {
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
