//! What is being asked for: from the name in a query to a [`Question`] about one of our zones.

use crate::zone::Zone;

/// No name is longer.
pub const NAME_MAX: usize = 255;

/// A name in a zone Z, in lower case and with dots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question<'n> {
    /// Z itself.
    Apex,
    /// `svc.Z`, under which all services are.
    Services,
    /// `shop.svc.Z`, by `shop`.
    Namespace(&'n str),
    /// `web.shop.svc.Z`, by `web.shop`.
    Service(&'n str),
    /// `web-0.east.web.shop.svc.Z`, by `web.shop`, and `web-0.east` below it.
    Below { service: &'n str, prefix: &'n str },
    /// `dns.Z`, which exists because the next one does.
    Dns,
    /// `ns.dns.Z`, this server.
    NameServer,
    /// `dns-version.Z`, the version of the specification that we follow.
    Version,
    /// No other name exists.
    Other,
}

/// The zone that `name` is in, if it is one of `zones`, and what it stands for there. `name` is an uncompressed name as
/// it is in a message, at most [`NAME_MAX`] octets with its final 0. The question is written into `buffer`: nothing is
/// allocated.
pub(crate) fn question<'n, 'z>(
    name: &[u8],
    zones: &'z [Zone],
    buffer: &'n mut [u8; NAME_MAX],
) -> Option<(&'z Zone, Question<'n>)> {
    let buffer = &mut buffer[..name.len()];
    buffer.copy_from_slice(name);
    // The lengths of labels are below the letters, so they stay what they are.
    buffer.make_ascii_lowercase();

    let mut at = 0;
    let mut above = Above::default();
    let zone = loop {
        let rest = &mut buffer[at..];
        // From the left, so that of two zones, one in the other, the longer one is found.
        if let Some(zone) = zones.iter().find(|zone| zone.wire() == rest) {
            break zone;
        }
        let (length, rest) = rest.split_first_mut()?;
        let label = rest.get(..usize::from(*length)).filter(|label| !label.is_empty())?;
        above.plain &= label.iter().all(|&octet| is_plain(octet));
        above.starts = [above.starts[1], above.starts[2], at + 1];
        above.labels += 1;
        at += 1 + label.len();
        *length = b'.';
    };
    let text = std::str::from_utf8(&buffer[..at]).unwrap_or("");
    Some((zone, if above.plain { above.question(text) } else { Question::Other }))
}

/// What no name of ours has: a dot within a label would look like two labels from here on.
fn is_plain(octet: u8) -> bool {
    octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-' || octet == b'_'
}

/// What was found left of the zone.
struct Above {
    labels: usize,
    /// Where the last three of them begin.
    starts: [usize; 3],
    plain: bool,
}

impl Default for Above {
    fn default() -> Self {
        Self { labels: 0, starts: [0; 3], plain: true }
    }
}

impl Above {
    /// `text` is the labels, with a dot before each.
    fn question<'n>(&self, text: &'n str) -> Question<'n> {
        let [third, second, first] = self.starts;
        let last = &text[first..];
        match (self.labels, last) {
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
        let mut buffer = [0; NAME_MAX];
        let found = question(&wire(&labels), &zones, &mut buffer);
        assert_eq!(found.map(|(zone, question)| (zone.as_str(), question)), expected, "{name}");
    }

    #[test]
    fn every_kind_of_name_is_told_apart_in_any_case() {
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
    fn the_longest_zone_wins_and_a_name_in_none_is_nobodys() {
        check("web.shop.svc.eu.clusterset.local", Some(("eu.clusterset.local", Question::Service("web.shop"))));
        check("svc.example", Some(("example", Question::Services)));
        for name in ["", "local", "notclusterset.local", "cluster.local", "clusterset.local.com"] {
            check(name, None);
        }
    }

    #[test]
    fn a_dot_or_an_odd_octet_within_a_label_names_nothing() {
        let zones = zones();
        for odd in [&b"east.eu"[..], b"caf\xe9", b"a b", b"\x00"] {
            let mut buffer = [0; NAME_MAX];
            let name = wire(&[odd, b"web", b"shop", b"svc", b"clusterset", b"local"]);
            assert_eq!(question(&name, &zones, &mut buffer), Some((&zones[0], Question::Other)), "{odd:?}");
        }
        let mut buffer = [0; NAME_MAX];
        assert_eq!(question(&wire(&[b"svc", b"clusterset.local"]), &zones, &mut buffer), None);
    }

    #[test]
    fn the_longest_name_fits() {
        let zones = zones();
        let mut labels = vec![&b"x"[..]; 118];
        labels.extend([&b"clusterset"[..], b"local"]);
        let name = wire(&labels);
        assert_eq!(name.len(), 254);
        assert!(question(&name, &zones, &mut [0; NAME_MAX]).is_some());
    }
}
