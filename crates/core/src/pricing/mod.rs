//! Price of traffic between two locations: an ordered list of rules, and the location of a cluster.

mod region;

mod place;

pub use place::{InvalidLocation, Location};
pub use region::Continent;

/// Relation of two locations, as providers bill it: the nearest one that is known to apply. All but the last are within
/// one provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    SameZone,
    /// Another zone of the same region.
    SameRegion,
    /// Another region of the same continent.
    SameContinent,
    InterContinent,
    /// Two providers, whose networks meet on the internet.
    Internet,
}

impl Relation {
    /// Returns the relation of two locations.
    pub fn between(from: &Location, to: &Location) -> Self {
        let same_region = same(&from.region, &to.region);
        if !same(&from.provider, &to.provider) {
            Self::Internet
        } else if same_region && same(&from.zone, &to.zone) {
            Self::SameZone
        } else if same_region {
            Self::SameRegion
        } else if same(&from.continent, &to.continent) {
            Self::SameContinent
        } else {
            Self::InterContinent
        }
    }
}

/// Returns true if both values are known and equal.
fn same<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
    a.is_some() && a == b
}

/// Price of all traffic that the rule matches.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PriceRule {
    /// In both locations, `None` matches every value. A value that is unknown of a cluster matches `None` alone.
    pub from: Location,
    pub to: Location,
    pub relation: Option<Relation>,
    pub usd_per_gb: f64,
}

impl PriceRule {
    fn matches(&self, from: &Location, to: &Location) -> bool {
        self.from.covers(from)
            && self.to.covers(to)
            && self.relation.is_none_or(|relation| Relation::between(from, to) == relation)
    }
}

/// Price of a gigabyte, and the index of the rule that sets it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    pub usd_per_gb: f64,
    pub rule: usize,
}

/// Ordered list of price rules.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PriceTable {
    rules: Vec<PriceRule>,
}

impl PriceTable {
    /// Returns a table of rules, in the order in which they are matched.
    pub fn new(rules: Vec<PriceRule>) -> Self {
        Self { rules }
    }

    /// Returns the rules.
    pub fn rules(&self) -> &[PriceRule] {
        &self.rules
    }

    /// Returns the price by the first rule that matches, or `None` if no rule does. Callers do not ask for traffic
    /// within one cluster.
    pub fn usd_per_gb(&self, from: &Location, to: &Location) -> Option<Price> {
        let rule = self.rules.iter().position(|rule| rule.matches(from, to))?;
        Some(Price { usd_per_gb: self.rules[rule].usd_per_gb, rule })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(provider: &str, region: &str, zone: &str) -> Location {
        Location::new(Some(provider), Some(region), Some(zone))
    }

    fn aws(zone: &str) -> Location {
        place("aws", zone.trim_end_matches(['a', 'b', 'c']), zone)
    }

    #[test]
    fn relation_is_the_nearest_one_that_is_known_to_apply() {
        let cases = [
            (aws("us-east-1a"), aws("us-east-1a"), Relation::SameZone),
            (aws("us-east-1a"), aws("us-east-1b"), Relation::SameRegion),
            (aws("us-east-1a"), place("aws", "us-east-1", ""), Relation::SameRegion),
            (aws("us-east-1a"), aws("us-west-2a"), Relation::SameContinent),
            (aws("us-east-1a"), aws("eu-west-1a"), Relation::InterContinent),
            (place("aws", "us-east-1", ""), place("aws", "eu-west-1", ""), Relation::InterContinent),
            (aws("us-east-1a"), place("aws", "mars-1", ""), Relation::InterContinent),
            (place("aws", "", ""), place("aws", "", ""), Relation::InterContinent),
            (aws("us-east-1a"), place("gcp", "us-east1", ""), Relation::Internet),
            (aws("us-east-1a"), Location::default(), Relation::Internet),
            (Location::default(), Location::default(), Relation::Internet),
        ];
        for (from, to, expected) in cases {
            assert_eq!(Relation::between(&from, &to), expected, "{from:?} {to:?}");
            assert_eq!(Relation::between(&to, &from), expected, "{to:?} {from:?}");
        }
    }

    fn rule(from: Location, to: Location, relation: Option<Relation>, usd_per_gb: f64) -> PriceRule {
        PriceRule { from, to, relation, usd_per_gb }
    }

    fn table() -> PriceTable {
        let any = Location::default();
        PriceTable::new(vec![
            rule(place("aws", "us-east-1", ""), place("azure", "eastus", ""), None, 0.02),
            rule(place("aws", "", ""), any.clone(), Some(Relation::SameZone), 0.0),
            rule(place("aws", "", ""), any.clone(), Some(Relation::SameRegion), 0.01),
            rule(
                Location { continent: Some(Continent::Asia), ..place("aws", "", "") },
                place("aws", "", ""),
                None,
                0.09,
            ),
            rule(place("aws", "", ""), place("aws", "", ""), None, 0.03),
            rule(place("aws", "", ""), any, None, 0.09),
        ])
    }

    #[test]
    fn first_rule_that_matches_sets_the_price_and_is_named() {
        let cases = [
            (aws("us-east-1a"), place("azure", "eastus", ""), Some((0.02, 0))),
            (aws("us-east-1a"), aws("us-east-1a"), Some((0.0, 1))),
            (aws("us-east-1a"), aws("us-east-1c"), Some((0.01, 2))),
            (aws("ap-south-1a"), aws("us-east-1a"), Some((0.09, 3))),
            (aws("us-east-1a"), aws("ap-south-1a"), Some((0.03, 4))),
            (aws("us-east-1a"), place("gcp", "us-east1", ""), Some((0.09, 5))),
            (aws("us-east-1a"), Location::default(), Some((0.09, 5))),
            (place("azure", "eastus", ""), aws("us-east-1a"), None),
            (Location::default(), aws("us-east-1a"), None),
        ];
        for (from, to, expected) in cases {
            let price = table().usd_per_gb(&from, &to).map(|price| (price.usd_per_gb, price.rule));
            assert_eq!(price, expected, "{from:?} {to:?}");
        }
    }

    #[test]
    fn without_rules_no_price_is_known() {
        assert_eq!(PriceTable::default().usd_per_gb(&aws("us-east-1a"), &aws("us-west-2a")), None);
    }
}
