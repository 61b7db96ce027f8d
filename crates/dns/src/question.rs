//! Classifies the name in a query: a [`Question`] about one of the zones of this server.

use crate::zone::Zone;

/// Maximum length of a name on the wire (RFC 1035, 3.1), in octets.
pub const MAX_NAME_LENGTH: usize = 255;

/// A name in a zone Z. The parts that it holds are in lower case, with dots between the labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question<'n> {
    /// Z itself.
    Apex,
    /// `svc.Z`, above all services.
    Services,
    /// A namespace: for `shop.svc.Z` this is `shop`.
    Namespace(&'n str),
    /// A service: for `web.shop.svc.Z` this is `web.shop`.
    Service(&'n str),
    /// A name below a service: for `web-0.east.web.shop.svc.Z` these are `web.shop` and `web-0.east`.
    Below { service: &'n str, prefix: &'n str },
    /// `dns.Z`, which exists because `ns.dns.Z` does.
    Dns,
    /// `ns.dns.Z`, the name of this server.
    NameServer,
    /// `dns-version.Z`, which has the version of the DNS specification that this server follows.
    Version,
    /// A name that never exists.
    Other,
}

/// Finds the zone of `name` and classifies the name in it. Returns `None` if the name is in none of `zones`.
///
/// `name` is an uncompressed name in wire format, at most [`MAX_NAME_LENGTH`] octets including the final 0. The
/// question borrows from `buffer`, so that nothing is allocated.
pub(crate) fn question<'n, 'z>(
    name: &[u8],
    zones: &'z [Zone],
    buffer: &'n mut [u8; MAX_NAME_LENGTH],
) -> Option<(&'z Zone, Question<'n>)> {
    let buffer = &mut buffer[..name.len()];
    buffer.copy_from_slice(name);
    // Lengths of labels are at most 63, below the code of any letter, so they do not change.
    buffer.make_ascii_lowercase();

    let mut at = 0;
    let mut labels = Labels::default();
    let zone = loop {
        let rest = &mut buffer[at..];
        // The search starts at the left, so that the longer one of two nested zones is found.
        if let Some(zone) = zones.iter().find(|zone| zone.wire() == rest) {
            break zone;
        }
        let (length, rest) = rest.split_first_mut()?;
        let label = rest.get(..usize::from(*length)).filter(|label| !label.is_empty())?;
        labels.plain &= label.iter().all(|&octet| is_plain(octet));
        labels.starts = [labels.starts[1], labels.starts[2], at + 1];
        labels.count += 1;
        at += 1 + label.len();
        *length = b'.';
    };
    let text = std::str::from_utf8(&buffer[..at]).unwrap_or("");
    Some((zone, if labels.plain { labels.question(text) } else { Question::Other }))
}

/// Returns true for the octets that existing names consist of. Others must be found here: a dot within a label would
/// look like two labels in the text.
fn is_plain(octet: u8) -> bool {
    octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-' || octet == b'_'
}

/// Labels left of the zone.
struct Labels {
    count: usize,
    /// Positions of the last three labels in the name, the rightmost label last.
    starts: [usize; 3],
    /// True if all octets are plain.
    plain: bool,
}

impl Default for Labels {
    fn default() -> Self {
        Self { count: 0, starts: [0; 3], plain: true }
    }
}

impl Labels {
    /// Classifies the name. `text` consists of the labels, each after a dot.
    fn question<'n>(&self, text: &'n str) -> Question<'n> {
        let [third, second, first] = self.starts;
        let last = &text[first..];
        match (self.count, last) {
            (0, _) => Question::Apex,
            (1, "svc") => Question::Services,
            (1, "dns") => Question::Dns,
            (1, "dns-version") => Question::Version,
            (2, "svc") => Question::Namespace(&text[second..first - 1]),
            (2, "dns") if &text[second..first - 1] == "ns" => Question::NameServer,
            (3, "svc") => Question::Service(&text[third..first - 1]),
            (4.., "svc") => Question::Below { service: &text[third..first - 1], prefix: &text[1..third - 1] },
            _ => Question::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones() -> Vec<Zone> {
        ["clusterset.local", "eu.clusterset.local", "example"].map(|zone| zone.parse().unwrap()).into()
    }

    fn wire(labels: &[&[u8]]) -> Vec<u8> {
        let labels = labels.iter().flat_map(|label| [&[u8::try_from(label.len()).unwrap()], *label].concat());
        labels.chain([0]).collect()
    }

    fn check(name: &str, expected: Option<(&str, Question<'_>)>) {
        let labels: Vec<&[u8]> = name.split('.').filter(|label| !label.is_empty()).map(str::as_bytes).collect();
        let zones = zones();
        let mut buffer = [0; MAX_NAME_LENGTH];
        let found = question(&wire(&labels), &zones, &mut buffer);
        assert_eq!(found.map(|(zone, question)| (zone.as_str(), question)), expected, "{name}");
    }

    #[test]
    fn each_kind_of_name_is_classified_in_any_case() {
        let cases = [
            ("clusterset.local", Question::Apex),
            ("svc.clusterset.local", Question::Services),
            ("shop.svc.clusterset.local", Question::Namespace("shop")),
            ("web.shop.svc.clusterset.local", Question::Service("web.shop")),
            ("WEB.Shop.sVc.cLuStErSeT.LOCAL", Question::Service("web.shop")),
            ("east.web.shop.svc.clusterset.local", Question::Below { service: "web.shop", prefix: "east" }),
            (
                "web-0.East.eu.web.shop.svc.clusterset.local",
                Question::Below { service: "web.shop", prefix: "web-0.east.eu" },
            ),
            ("_http._tcp.web.shop.svc.clusterset.local", Question::Below { service: "web.shop", prefix: "_http._tcp" }),
            ("dns.clusterset.local", Question::Dns),
            ("ns.dns.clusterset.local", Question::NameServer),
            ("dns-version.clusterset.local", Question::Version),
            ("x.dns.clusterset.local", Question::Other),
            ("a.ns.dns.clusterset.local", Question::Other),
            ("pod.clusterset.local", Question::Other),
            ("web.shop.pod.clusterset.local", Question::Other),
        ];
        for (name, expected) in cases {
            check(name, Some(("clusterset.local", expected)));
        }
    }

    #[test]
    fn name_belongs_to_the_longest_matching_zone_or_to_none() {
        check("web.shop.svc.eu.clusterset.local", Some(("eu.clusterset.local", Question::Service("web.shop"))));
        check("svc.example", Some(("example", Question::Services)));
        for name in ["", "local", "notclusterset.local", "cluster.local", "clusterset.local.com"] {
            check(name, None);
        }
    }

    #[test]
    fn label_with_a_dot_or_an_unusual_octet_names_nothing() {
        let zones = zones();
        for odd in [&b"east.eu"[..], b"caf\xe9", b"a b", b"\x00"] {
            let mut buffer = [0; MAX_NAME_LENGTH];
            let name = wire(&[odd, b"web", b"shop", b"svc", b"clusterset", b"local"]);
            assert_eq!(question(&name, &zones, &mut buffer), Some((&zones[0], Question::Other)), "{odd:?}");
        }
        let mut buffer = [0; MAX_NAME_LENGTH];
        assert_eq!(question(&wire(&[b"svc", b"clusterset.local"]), &zones, &mut buffer), None);
    }

    #[test]
    fn longest_name_fits_into_the_buffer() {
        let zones = zones();
        let mut labels = vec![&b"x"[..]; 118];
        labels.extend([&b"clusterset"[..], b"local"]);
        let name = wire(&labels);
        assert_eq!(name.len(), 254);
        assert!(question(&name, &zones, &mut [0; MAX_NAME_LENGTH]).is_some());
    }
}
