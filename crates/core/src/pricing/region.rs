//! Continent of a region, by the naming scheme of its provider. The lists hold the exceptions first; a new region
//! usually follows the scheme.

use self::Continent::{Africa, Asia, Europe, NorthAmerica, Oceania, SouthAmerica};

/// Continent. The Middle East is in Asia, Mexico in North America.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Continent {
    Africa,
    Asia,
    Europe,
    NorthAmerica,
    Oceania,
    SouthAmerica,
}

impl Continent {
    pub const ALL: [Self; 6] =
        [Self::Africa, Self::Asia, Self::Europe, Self::NorthAmerica, Self::Oceania, Self::SouthAmerica];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Africa => "africa",
            Self::Asia => "asia",
            Self::Europe => "europe",
            Self::NorthAmerica => "north-america",
            Self::Oceania => "oceania",
            Self::SouthAmerica => "south-america",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|continent| continent.as_str().eq_ignore_ascii_case(text))
    }
}

/// Returns `None` if the names of the provider, or this region, are not known.
pub(super) fn continent(provider: &str, region: &str) -> Option<Continent> {
    match provider {
        "aws" => by_prefix(&AWS, region),
        "gcp" => by_prefix(&GCP, region),
        "azure" => by_prefix(&AZURE, region).or_else(|| by_suffix(&AZURE_DIRECTIONS, region)),
        "hetzner" => by_prefix(&HETZNER, region),
        "digitalocean" => by_prefix(&DIGITALOCEAN, region),
        "linode" => by_prefix(&LINODE, region),
        "ibm" => by_prefix(&IBM, region),
        "equinixmetal" => METROS.iter().find(|(metro, _)| *metro == region).map(|&(_, continent)| continent),
        _ => None,
    }
}

type Scheme<const N: usize> = [(&'static str, Continent); N];

fn by_prefix<const N: usize>(scheme: &Scheme<N>, region: &str) -> Option<Continent> {
    scheme.iter().find(|(prefix, _)| region.starts_with(prefix)).map(|&(_, continent)| continent)
}

/// Finds a region by its suffix, without a trailing number: `eastus2` ends like `eastus`.
fn by_suffix<const N: usize>(scheme: &Scheme<N>, region: &str) -> Option<Continent> {
    let name = region.trim_end_matches(|c: char| c.is_ascii_digit());
    scheme.iter().find(|(suffix, _)| name.ends_with(suffix)).map(|&(_, continent)| continent)
}

/// Prefixes of AWS. "Asia Pacific" contains Sydney, Melbourne and New Zealand too.
const AWS: Scheme<14> = [
    ("ap-southeast-2", Oceania),
    ("ap-southeast-4", Oceania),
    ("ap-southeast-6", Oceania),
    ("ap-", Asia),
    ("cn-", Asia),
    ("il-", Asia),
    ("me-", Asia),
    ("af-", Africa),
    ("eu-", Europe),
    ("eusc-", Europe),
    ("ca-", NorthAmerica),
    ("mx-", NorthAmerica),
    ("us-", NorthAmerica),
    ("sa-", SouthAmerica),
];

const GCP: Scheme<8> = [
    ("africa-", Africa),
    ("asia-", Asia),
    ("australia-", Oceania),
    ("europe-", Europe),
    ("me-", Asia),
    ("northamerica-", NorthAmerica),
    ("southamerica-", SouthAmerica),
    ("us-", NorthAmerica),
];

/// Prefixes of Azure: most names begin with the country.
const AZURE: Scheme<36> = [
    ("southafrica", Africa),
    ("china", Asia),
    ("indonesia", Asia),
    ("israel", Asia),
    ("japan", Asia),
    ("jioindia", Asia),
    ("korea", Asia),
    ("malaysia", Asia),
    ("qatar", Asia),
    ("saudiarabia", Asia),
    ("taiwan", Asia),
    ("uae", Asia),
    ("austria", Europe),
    ("belgium", Europe),
    ("denmark", Europe),
    ("finland", Europe),
    ("france", Europe),
    ("germany", Europe),
    ("greece", Europe),
    ("italy", Europe),
    ("norway", Europe),
    ("poland", Europe),
    ("portugal", Europe),
    ("spain", Europe),
    ("sweden", Europe),
    ("switzerland", Europe),
    ("uk", Europe),
    ("canada", NorthAmerica),
    ("mexico", NorthAmerica),
    ("usdod", NorthAmerica),
    ("usgov", NorthAmerica),
    ("ussec", NorthAmerica),
    ("australia", Oceania),
    ("newzealand", Oceania),
    ("brazil", SouthAmerica),
    ("chile", SouthAmerica),
];

/// Suffixes of Azure: older names begin with a direction.
const AZURE_DIRECTIONS: Scheme<4> = [("asia", Asia), ("india", Asia), ("europe", Europe), ("us", NorthAmerica)];

const HETZNER: Scheme<6> =
    [("ash", NorthAmerica), ("fsn", Europe), ("hel", Europe), ("hil", NorthAmerica), ("nbg", Europe), ("sin", Asia)];

const DIGITALOCEAN: Scheme<11> = [
    ("ams", Europe),
    ("atl", NorthAmerica),
    ("blr", Asia),
    ("fra", Europe),
    ("lon", Europe),
    ("nyc", NorthAmerica),
    ("ric", NorthAmerica),
    ("sfo", NorthAmerica),
    ("sgp", Asia),
    ("syd", Oceania),
    ("tor", NorthAmerica),
];

/// Prefixes of Linode: names begin with the country; of the older names, `ap-southeast` is Sydney.
const LINODE: Scheme<19> = [
    ("ap-southeast", Oceania),
    ("ap-", Asia),
    ("au-", Oceania),
    ("br-", SouthAmerica),
    ("ca-", NorthAmerica),
    ("de-", Europe),
    ("es-", Europe),
    ("eu-", Europe),
    ("fr-", Europe),
    ("gb-", Europe),
    ("id-", Asia),
    ("in-", Asia),
    ("it-", Europe),
    ("jp-", Asia),
    ("my-", Asia),
    ("nl-", Europe),
    ("se-", Europe),
    ("sg-", Asia),
    ("us-", NorthAmerica),
];

const IBM: Scheme<7> = [
    ("us-", NorthAmerica),
    ("ca-", NorthAmerica),
    ("br-", SouthAmerica),
    ("eu-", Europe),
    ("jp-", Asia),
    ("in-", Asia),
    ("au-", Oceania),
];

/// Metros of Equinix: two letters each, which are prefixes of many other names.
const METROS: Scheme<27> = [
    ("am", Europe),
    ("at", NorthAmerica),
    ("ch", NorthAmerica),
    ("da", NorthAmerica),
    ("dc", NorthAmerica),
    ("fr", Europe),
    ("he", Europe),
    ("hk", Asia),
    ("la", NorthAmerica),
    ("ld", Europe),
    ("md", Europe),
    ("me", Oceania),
    ("mi", NorthAmerica),
    ("mt", NorthAmerica),
    ("mx", NorthAmerica),
    ("ny", NorthAmerica),
    ("os", Asia),
    ("pa", Europe),
    ("se", NorthAmerica),
    ("sg", Asia),
    ("sk", Europe),
    ("sl", Asia),
    ("sp", SouthAmerica),
    ("sv", NorthAmerica),
    ("sy", Oceania),
    ("tr", NorthAmerica),
    ("ty", Asia),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_naming_scheme_and_its_exceptions_are_known() {
        let cases = [
            ("aws", NorthAmerica, &["us-east-1", "us-gov-west-1", "ca-west-1", "mx-central-1"][..]),
            ("aws", Europe, &["eu-west-1", "eusc-de-east-1"]),
            (
                "aws",
                Asia,
                &["ap-southeast-1", "ap-southeast-3", "ap-south-2", "me-south-1", "il-central-1", "cn-north-1"],
            ),
            ("aws", Oceania, &["ap-southeast-2", "ap-southeast-4", "ap-southeast-6"]),
            ("aws", SouthAmerica, &["sa-east-1"]),
            ("aws", Africa, &["af-south-1"]),
            ("gcp", NorthAmerica, &["us-central1", "northamerica-south1"]),
            ("gcp", Oceania, &["australia-southeast1"]),
            ("gcp", Asia, &["asia-southeast2", "me-west1"]),
            ("gcp", Africa, &["africa-south1"]),
            (
                "azure",
                NorthAmerica,
                &["eastus", "eastus2", "westus3", "southcentralus", "usgovvirginia", "mexicocentral"],
            ),
            ("azure", Europe, &["westeurope", "northeurope", "uksouth", "austriaeast", "germanywestcentral"]),
            ("azure", Asia, &["southeastasia", "centralindia", "jioindiawest", "uaenorth", "japaneast"]),
            ("azure", Oceania, &["australiaeast", "australiacentral2", "newzealandnorth"]),
            ("azure", SouthAmerica, &["brazilsouth", "chilecentral"]),
            ("azure", Africa, &["southafricanorth"]),
            ("hetzner", Europe, &["fsn1", "nbg1", "hel1"]),
            ("digitalocean", Oceania, &["syd1"]),
            ("linode", Oceania, &["ap-southeast", "au-mel"]),
            ("linode", Asia, &["ap-northeast", "sg-sin-2"]),
            ("ibm", Europe, &["eu-de", "eu-gb", "eu-es"]),
            ("ibm", NorthAmerica, &["us-south", "ca-tor"]),
            ("ibm", SouthAmerica, &["br-sao"]),
            ("ibm", Oceania, &["au-syd"]),
            ("equinixmetal", NorthAmerica, &["da", "sv", "ny"]),
            ("equinixmetal", Asia, &["sg", "ty"]),
        ];
        for (provider, expected, regions) in cases {
            for region in regions {
                assert_eq!(continent(provider, region), Some(expected), "{provider} {region}");
            }
        }
    }

    #[test]
    fn region_outside_of_every_scheme_has_no_continent() {
        for (provider, region) in [("aws", "mars-1"), ("azure", "nowhere"), ("azure", ""), ("openstack", "us-east-1")] {
            assert_eq!(continent(provider, region), None, "{provider} {region}");
        }
    }
}
