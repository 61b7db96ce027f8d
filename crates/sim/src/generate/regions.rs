//! Locations of clusters, distances, and prices of traffic between them.

/// Provider that bills outgoing traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    Aws,
    Gcp,
    Azure,
    /// An own data center with a line at a flat rate.
    Site,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Continent {
    NorthAmerica,
    Europe,
    Asia,
    SouthAmerica,
    Oceania,
    Africa,
}

/// A region of a provider.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Region {
    pub(super) provider: Provider,
    name: &'static str,
    latitude: f64,
    pub(super) longitude: f64,
    continent: Continent,
}

use Continent::{Africa, Asia, Europe, NorthAmerica, Oceania, SouthAmerica};
use Provider::{Aws, Azure, Gcp, Site};

const fn region(
    provider: Provider,
    name: &'static str,
    (latitude, longitude): (f64, f64),
    continent: Continent,
) -> Region {
    Region { provider, name, latitude, longitude, continent }
}

/// Regions with the position of the nearest metropolis, to a tenth of a degree.
pub(super) const REGIONS: [Region; 30] = [
    region(Aws, "us-east-1", (38.9, -77.4), NorthAmerica),
    region(Aws, "us-west-2", (45.8, -119.7), NorthAmerica),
    region(Aws, "ca-central-1", (45.5, -73.6), NorthAmerica),
    region(Aws, "eu-west-1", (53.3, -6.3), Europe),
    region(Aws, "eu-central-1", (50.1, 8.7), Europe),
    region(Aws, "ap-northeast-1", (35.7, 139.7), Asia),
    region(Aws, "ap-south-1", (19.1, 72.9), Asia),
    region(Aws, "sa-east-1", (-23.5, -46.6), SouthAmerica),
    region(Aws, "ap-southeast-2", (-33.9, 151.2), Oceania),
    region(Aws, "af-south-1", (-33.9, 18.4), Africa),
    region(Gcp, "us-central1", (41.3, -95.9), NorthAmerica),
    region(Gcp, "us-west1", (45.6, -121.2), NorthAmerica),
    region(Gcp, "europe-west1", (50.5, 3.8), Europe),
    region(Gcp, "europe-north1", (60.6, 27.2), Europe),
    region(Gcp, "asia-southeast1", (1.3, 103.8), Asia),
    region(Gcp, "asia-northeast1", (35.7, 139.7), Asia),
    region(Gcp, "southamerica-east1", (-23.5, -46.6), SouthAmerica),
    region(Gcp, "australia-southeast1", (-33.9, 151.2), Oceania),
    region(Azure, "eastus", (37.4, -79.8), NorthAmerica),
    region(Azure, "westus2", (47.2, -119.9), NorthAmerica),
    region(Azure, "westeurope", (52.4, 4.9), Europe),
    region(Azure, "northeurope", (53.3, -6.3), Europe),
    region(Azure, "japaneast", (35.7, 139.8), Asia),
    region(Azure, "southeastasia", (1.3, 103.8), Asia),
    region(Azure, "brazilsouth", (-23.5, -46.6), SouthAmerica),
    region(Azure, "southafricanorth", (-26.2, 28.0), Africa),
    region(Site, "frankfurt", (50.1, 8.7), Europe),
    region(Site, "newyork", (40.7, -74.0), NorthAmerica),
    region(Site, "singapore", (1.3, 103.8), Asia),
    region(Site, "london", (51.5, -0.1), Europe),
];

const EARTH_RADIUS_KM: f64 = 6371.0;

impl Provider {
    pub(super) fn label(self) -> &'static str {
        match self {
            Aws => "aws",
            Gcp => "gcp",
            Azure => "azure",
            Site => "site",
        }
    }
}

impl Region {
    pub(super) fn label(&self) -> String {
        format!("{}-{}", self.provider.label(), self.name)
    }
}

/// Returns the round-trip time of light in fiber along the great circle with detours: 1.3 ms per 100 km, plus 1.2 ms.
pub(super) fn rtt_ms(a: &Region, b: &Region) -> f64 {
    1.2 + 0.013 * distance_km(a, b)
}

/// Returns the distance by the haversine formula.
fn distance_km(a: &Region, b: &Region) -> f64 {
    let half_sine = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
    let along = a.latitude.to_radians().cos() * b.latitude.to_radians().cos();
    let part = half_sine(a.latitude, b.latitude) + along * half_sine(a.longitude, b.longitude);
    2.0 * EARTH_RADIUS_KM * part.clamp(0.0, 1.0).sqrt().asin()
}

/// Returns the price of traffic from `from` to `to`: roughly the list prices of 2025, first paid tier, without discounts
/// (aws.amazon.com/ec2/pricing/on-demand, cloud.google.com/vpc/network-pricing,
/// azure.microsoft.com/pricing/details/bandwidth). Traffic within a region and from an own data center is free.
pub(super) fn egress_usd_per_gb(from: &Region, to: &Region) -> f64 {
    let provider = from.provider;
    if provider != to.provider {
        return internet(provider, from.continent);
    }
    if from.name == to.name {
        return 0.0;
    }
    backbone(provider, from.continent).max(backbone(provider, to.continent))
}

/// Returns the price of traffic to another provider.
fn internet(provider: Provider, continent: Continent) -> f64 {
    match (provider, continent) {
        (Site, _) => 0.0,
        (Aws, NorthAmerica | Europe) => 0.09,
        (Aws, Asia | Oceania) => 0.114,
        (Aws, SouthAmerica | Africa) => 0.15,
        (Gcp, Oceania) => 0.19,
        (Gcp, NorthAmerica | Europe | Asia | SouthAmerica | Africa) => 0.12,
        (Azure, NorthAmerica | Europe) => 0.087,
        (Azure, Asia | Oceania) => 0.12,
        (Azure, SouthAmerica | Africa) => 0.181,
    }
}

/// Returns the price of traffic to another region of the same provider. The more expensive end counts.
fn backbone(provider: Provider, continent: Continent) -> f64 {
    match (provider, continent) {
        (Site, _) => 0.0,
        (Aws | Gcp | Azure, NorthAmerica | Europe) => 0.02,
        (Aws, Asia | Oceania) => 0.09,
        (Gcp | Azure, Asia | Oceania) => 0.08,
        (Aws | Gcp, SouthAmerica | Africa) => 0.14,
        (Azure, SouthAmerica | Africa) => 0.16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(label: &str) -> &'static Region {
        REGIONS.iter().find(|region| region.label() == label).unwrap()
    }

    #[test]
    fn regions_are_unique() {
        for (k, region) in REGIONS.iter().enumerate() {
            assert!(REGIONS[..k].iter().all(|earlier| earlier.label() != region.label()), "{}", region.label());
        }
    }

    #[test]
    fn round_trip_over_the_atlantic_takes_about_eighty_milliseconds() {
        let rtt = rtt_ms(find("aws-us-east-1"), find("aws-eu-central-1"));
        assert!((80.0..90.0).contains(&rtt), "{rtt}");
        let antipodes = REGIONS.iter().flat_map(|a| REGIONS.iter().map(|b| rtt_ms(a, b))).fold(0.0, f64::max);
        assert!(antipodes < 1.2 + 0.013 * 20_020.0, "no path is longer than half the equator: {antipodes}");
    }

    #[test]
    fn traffic_to_another_provider_costs_more() {
        let price = |from: &str, to: &str| egress_usd_per_gb(find(from), find(to));
        assert!(price("aws-us-east-1", "aws-us-west-2") < price("aws-us-east-1", "gcp-us-central1"));
        assert!(price("aws-us-east-1", "aws-sa-east-1") > price("aws-us-east-1", "aws-us-west-2"));
        assert!(price("site-london", "aws-us-east-1").abs() < 1e-12, "a line at a flat rate");
        assert!(price("aws-us-east-1", "site-london") > 0.0);
    }
}
