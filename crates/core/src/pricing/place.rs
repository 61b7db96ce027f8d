//! Location of a cluster, read from its nodes or from a user.

use std::collections::BTreeMap;

use thiserror::Error;

use super::region::{Continent, continent};

/// Location in the names of the provider and its nodes, in lower case. `None` is an unknown value; in a price rule it
/// matches every value.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    pub provider: Option<Box<str>>,
    pub region: Option<Box<str>>,
    pub zone: Option<Box<str>>,
    pub continent: Option<Continent>,
}

impl Location {
    /// Returns the location with the continent that follows from provider and region.
    pub fn new(provider: Option<&str>, region: Option<&str>, zone: Option<&str>) -> Self {
        let known = |text: Option<&str>| {
            let text = text.map(str::trim).filter(|text| !text.is_empty())?;
            Some(text.to_ascii_lowercase().into_boxed_str())
        };
        let place = Self { provider: known(provider), region: known(region), zone: known(zone), continent: None };
        Self { continent: place.usual_continent(), ..place }
    }

    /// Reads a location from `spec.providerID` of a node and its labels `topology.kubernetes.io/region` and `…/zone`,
    /// empty if absent. A label takes precedence over the provider id.
    pub fn from_node(provider_id: &str, region: &str, zone: &str) -> Self {
        let (scheme, path) = provider_id.split_once("://").unwrap_or_default();
        let provider = provider(scheme);
        let from_id = ZoneInId::of(scheme, path);
        let region = Some(region).filter(|label| !label.is_empty()).or(from_id.region);
        let zone = Some(zone).filter(|label| !label.is_empty() && is_zone(provider, label)).or(from_id.zone);
        Self::new(Some(provider), region, zone)
    }

    /// Parses a location that a user set to override the nodes: `PROVIDER`, `PROVIDER/REGION` or
    /// `PROVIDER/REGION/ZONE`.
    pub fn parse_override(text: &str) -> Result<Self, InvalidLocation> {
        let parts: Vec<&str> = text.split('/').map(str::trim).collect();
        if let Some(part) = parts.iter().find(|part| !is_name(part)) {
            return Err(InvalidLocation::Name((*part).to_owned()));
        }
        let place = |name: &str, region, zone| Self::new(Some(provider(&name.to_ascii_lowercase())), region, zone);
        match *parts.as_slice() {
            [name] => Ok(place(name, None, None)),
            [name, region] => Ok(place(name, Some(region), None)),
            [name, region, zone] => Ok(place(name, Some(region), Some(zone))),
            _ => Err(InvalidLocation::Parts(parts.len())),
        }
    }

    /// Returns the location of most nodes of a cluster: provider and region, and the zone if all these nodes are in
    /// one. Of equally frequent regions the first in order counts.
    pub fn of_most_nodes<'a>(nodes: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let mut regions: BTreeMap<Self, (usize, ZonesSeen<'a>)> = BTreeMap::new();
        for node in nodes {
            let (count, zones) = regions.entry(Self { zone: None, ..node.clone() }).or_default();
            *count += 1;
            zones.see(node.zone.as_deref());
        }
        let most = regions.iter().map(|(_, (count, _))| *count).max()?;
        let (region, (_, zones)) = regions.into_iter().find(|(_, (count, _))| *count == most)?;
        Some(Self { zone: zones.only().map(Into::into), ..region })
    }

    /// Returns true if every value that is set here is the same in `place`.
    pub(super) fn covers(&self, place: &Self) -> bool {
        fn fits<T: PartialEq>(pattern: &Option<T>, value: &Option<T>) -> bool {
            pattern.is_none() || pattern == value
        }
        fits(&self.provider, &place.provider)
            && fits(&self.region, &place.region)
            && fits(&self.zone, &place.zone)
            && fits(&self.continent, &place.continent)
    }

    fn usual_continent(&self) -> Option<Continent> {
        continent(self.provider.as_deref()?, self.region.as_deref()?)
    }
}

/// Reason why a text is not a valid location.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidLocation {
    #[error(
        "{0:?} is no name of a provider, region or zone: 1 to 63 letters, digits, '-', '_' and '.'; write \
         PROVIDER/REGION/ZONE, such as aws/us-east-1/us-east-1a, or less of it"
    )]
    Name(String),
    #[error("{0} parts, and PROVIDER/REGION/ZONE are three")]
    Parts(usize),
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=63).contains(&text.len()) && text.bytes().all(allowed)
}

/// Returns the name of a provider in prices, from its name in provider ids or in the text of a user.
fn provider(scheme: &str) -> &str {
    match scheme {
        "gce" => "gcp",
        "hcloud" | "hrobot" => "hetzner",
        "ibmvpc" | "ibmpowervs" => "ibm",
        "packet" => "equinixmetal",
        scheme => scheme,
    }
}

/// Zones seen among the nodes of a region.
#[derive(Debug, Default)]
enum ZonesSeen<'a> {
    #[default]
    None,
    One(Option<&'a str>),
    Several,
}

impl<'a> ZonesSeen<'a> {
    fn see(&mut self, zone: Option<&'a str>) {
        *self = match *self {
            Self::None => Self::One(zone),
            Self::One(seen) if seen == zone => Self::One(zone),
            Self::One(_) | Self::Several => Self::Several,
        };
    }

    fn only(&self) -> Option<&'a str> {
        if let Self::One(zone) = self { *zone } else { None }
    }
}

/// Region and zone in the provider id of a node. Most ids contain only a number.
#[derive(Debug, Default, Clone, Copy)]
struct ZoneInId<'a> {
    region: Option<&'a str>,
    zone: Option<&'a str>,
}

impl<'a> ZoneInId<'a> {
    fn of(scheme: &str, path: &'a str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let of_zone =
            |zone: &'a str| Self { region: zone.rsplit_once('-').map(|(region, _)| region), zone: Some(zone) };
        match (scheme, parts.as_slice()) {
            // aws:///us-east-1a/i-0abc; for Fargate aws:///us-east-1a/0abc/fargate-ip-10-0-0-1
            ("aws", [zone, _, ..]) => Self { region: aws_region(zone), zone: Some(zone) },
            // gce://project/us-central1-a/name
            ("gce", [_, zone, _]) => of_zone(zone),
            // ibmvpc://cluster/eu-de-1/name; ids of other IBM machines have no zone
            ("ibmvpc", [_, zone, _]) => of_zone(zone),
            // ibmpowervs://osa/osa21/workspace/uuid
            ("ibmpowervs", [region, zone, _, _]) => Self { region: Some(region), zone: Some(zone) },
            // openstack://region/uuid; without a region openstack:///uuid
            ("openstack", [region, _]) => Self { region: Some(region), zone: None },
            _ => Self::default(),
        }
    }
}

/// Returns the region of a zone: `us-east-1` for `us-east-1a`, and for the local zone `us-east-1-bos-1a`.
fn aws_region(zone: &str) -> Option<&str> {
    let number = zone.find(|c: char| c.is_ascii_digit())?;
    let digits = zone[number..].find(|c: char| !c.is_ascii_digit()).unwrap_or(zone.len() - number);
    Some(&zone[..number + digits])
}

/// Returns true if a zone label names a zone. Azure labels nodes outside of its zones with the number of a fault
/// domain.
fn is_zone(provider: &str, label: &str) -> bool {
    provider != "azure" || !label.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(place: &Location) -> String {
        let known = |text: &Option<Box<str>>| text.as_deref().unwrap_or("-").to_owned();
        let continent = place.continent.map_or("-", Continent::as_str);
        format!("{} {} {} {continent}", known(&place.provider), known(&place.region), known(&place.zone))
    }

    #[test]
    fn location_is_read_from_the_provider_id_and_the_labels_of_a_node() {
        let cases = [
            ("aws:///us-east-1a/i-0abc", "", "", "aws us-east-1 us-east-1a north-america"),
            ("aws:///us-east-1-bos-1a/i-0abc", "", "", "aws us-east-1 us-east-1-bos-1a north-america"),
            ("aws:///eu-central-1b/i-0abc", "eu-central-1", "eu-central-1b", "aws eu-central-1 eu-central-1b europe"),
            ("aws:///i-0abc", "", "", "aws - - -"),
            ("aws:////i-0abc", "us-west-2", "us-west-2b", "aws us-west-2 us-west-2b north-america"),
            ("aws:///eu-west-1b/8e1d0b5f-4c2a/fargate-ip-10-0-0-1", "", "", "aws eu-west-1 eu-west-1b europe"),
            ("aws:///us-east-1-wl1-bos-wlz-1/i-0a", "", "", "aws us-east-1 us-east-1-wl1-bos-wlz-1 north-america"),
            ("eks-hybrid:///eu-west-1/cluster/mi-0abc", "", "", "eks-hybrid - - -"),
            ("gce://example.com:shop/asia-south1-c/n-1", "", "", "gcp asia-south1 asia-south1-c asia"),
            ("gce://my-project/us-central1-a/node-1", "", "", "gcp us-central1 us-central1-a north-america"),
            ("gce://p/europe-west1-b/n", "europe-west1", "europe-west1-b", "gcp europe-west1 europe-west1-b europe"),
            (
                "azure:///subscriptions/s/…/virtualMachines/0",
                "westeurope",
                "westeurope-1",
                "azure westeurope westeurope-1 europe",
            ),
            ("azure:///subscriptions/s/…/virtualMachines/0", "EastUS", "0", "azure eastus - north-america"),
            (
                "azure:///subscriptions/0c1d/resourceGroups/mc_rg/providers/Microsoft.Compute/virtualMachineScaleSets/\
                 aks-pool-1-vmss/virtualMachines/3",
                "",
                "",
                "azure - - -",
            ),
            ("openstack:///9f1c", "RegionOne", "nova", "openstack regionone nova -"),
            ("openstack://GRA11/9f1c", "", "", "openstack gra11 - -"),
            ("openstack:///9f1c", "", "", "openstack - - -"),
            ("equinixmetal://9f1c", "da", "da11", "equinixmetal da da11 north-america"),
            ("equinixmetal://9f1c", "xx", "", "equinixmetal xx - -"),
            ("packet://9f1c", "", "", "equinixmetal - - -"),
            ("ibm://account///cluster/worker", "eu-de", "eu-de-1", "ibm eu-de eu-de-1 europe"),
            ("ibm://account///cluster/worker", "", "", "ibm - - -"),
            ("ibmvpc://cluster/jp-tok-2/name", "", "", "ibm jp-tok jp-tok-2 asia"),
            ("ibmvpc://cluster/name", "", "", "ibm - - -"),
            ("ibmpowervs://osa/osa21/3229a-af54/809cd0f2", "", "", "ibm osa osa21 -"),
            ("hcloud://4711", "fsn1", "fsn1-dc14", "hetzner fsn1 fsn1-dc14 europe"),
            ("hcloud://4711", "", "", "hetzner - - -"),
            ("hrobot://321", "hel1", "hel1-dc2", "hetzner hel1 hel1-dc2 europe"),
            ("digitalocean://4711", "nyc3", "", "digitalocean nyc3 - north-america"),
            ("linode://4711", "us-east", "", "linode us-east - north-america"),
            ("k3s://node-1", "", "", "k3s - - -"),
            ("", "site-1", "row-2", "- site-1 row-2 -"),
            ("", "", "", "- - - -"),
            ("no id", "", "", "- - - -"),
        ];
        for (provider_id, region, zone, expected) in cases {
            assert_eq!(described(&Location::from_node(provider_id, region, zone)), expected, "{provider_id}");
        }
    }

    #[test]
    fn location_override_is_parsed() {
        for (text, expected) in [
            ("aws", "aws - - -"),
            ("AWS/eu-west-1", "aws eu-west-1 - europe"),
            ("gce/us-central1/us-central1-a", "gcp us-central1 us-central1-a north-america"),
            (" site / row-2 ", "site row-2 - -"),
        ] {
            assert_eq!(Location::parse_override(text).map(|place| described(&place)).as_deref(), Ok(expected));
        }
        let long = "x".repeat(64);
        for text in ["", "/", "aws/", "/eu-west-1", "aws//eu-west-1a", "aws/eu west", &long, "aws/eu-west-1/a?"] {
            assert!(matches!(Location::parse_override(text), Err(InvalidLocation::Name(_))), "{text}");
        }
        assert_eq!(Location::parse_override("a/b/c/d"), Err(InvalidLocation::Parts(4)));
    }

    #[test]
    fn cluster_is_where_most_of_its_nodes_are() {
        let most = |zones: &[&str]| {
            let nodes: Vec<Location> =
                zones.iter().map(|zone| Location::from_node(&format!("aws:///{zone}/i-0"), "", "")).collect();
            Location::of_most_nodes(nodes.iter()).map(|place| described(&place))
        };
        assert_eq!(most(&[]), None);
        assert_eq!(most(&["us-east-1a", "us-east-1a"]).unwrap(), "aws us-east-1 us-east-1a north-america");
        assert_eq!(most(&["us-east-1a", "us-east-1b", "us-east-1a"]).unwrap(), "aws us-east-1 - north-america");
        let spread = ["us-west-2a", "eu-west-1a", "eu-west-1a", "us-west-2b", "us-west-2a"];
        assert_eq!(most(&spread).unwrap(), "aws us-west-2 - north-america");
        assert_eq!(most(&["us-west-2a", "eu-west-1a"]).unwrap(), "aws eu-west-1 eu-west-1a europe", "in any order");
        assert_eq!(most(&["eu-west-1a", "us-west-2a"]).unwrap(), "aws eu-west-1 eu-west-1a europe");
    }

    #[test]
    fn pattern_covers_its_values_and_no_unknown_one() {
        let place = Location::new(Some("AWS"), Some("eu-west-1"), None);
        let europe = Location { continent: Some(Continent::Europe), ..Location::default() };
        assert!(Location::default().covers(&place) && Location::default().covers(&Location::default()));
        assert!(Location::new(Some("aws"), None, None).covers(&place) && europe.covers(&place));
        assert!(!Location::new(Some("aws"), None, Some("eu-west-1a")).covers(&place));
        assert!(!Location::new(Some("gcp"), None, None).covers(&place));
    }

    #[test]
    fn continents_are_read_as_they_are_written() {
        for continent in Continent::ALL {
            assert_eq!(Continent::parse(continent.as_str()), Some(continent));
        }
        assert_eq!(Continent::parse("North-America"), Some(Continent::NorthAmerica));
        assert_eq!(Continent::parse("atlantis"), None);
    }
}
