//! NetworkPricing: prices of traffic.

use landfall_api as api;
use landfall_core::pricing::{Continent, Location, PriceRule, Relation};

use super::number::Range;
use super::refused::Refused;

/// Price in USD per GB.
pub(super) const PRICE: Range = Range::new(0.0, 100.0);

/// Accepts all rules or none: without one of the rules, a later rule would apply to its traffic.
pub(super) fn accept_pricing(pricing: &api::NetworkPricing) -> Result<Vec<PriceRule>, Refused> {
    let rule = |(i, rule): (usize, &api::PricingRule)| {
        let field = |name: &str| format!("rules[{i}].{name}");
        Ok(PriceRule {
            from: place(&field("from"), rule.from.as_ref())?,
            to: place(&field("to"), rule.to.as_ref())?,
            relation: rule.relation.map(relation),
            usd_per_gb: PRICE.check(&format!("spec.{}", field("usdPerGb")), rule.usd_per_gb)?,
        })
    };
    pricing.spec.rules.iter().enumerate().map(rule).collect()
}

fn place(field: &str, place: Option<&api::PricedPlace>) -> Result<Location, Refused> {
    let Some(place) = place else { return Ok(Location::default()) };
    let check = |name: &str, value: &Option<String>| match value {
        Some(value) if value.trim().is_empty() => Err(Refused::Field {
            field: format!("{field}.{name}"),
            value: value.clone(),
            expected: "a name; leave the field out to match any name",
        }),
        _ => Ok(()),
    };
    check("provider", &place.provider)?;
    check("region", &place.region)?;
    check("zone", &place.zone)?;
    let names = Location::new(place.provider.as_deref(), place.region.as_deref(), place.zone.as_deref());
    Ok(Location { continent: place.continent.map(continent), ..names })
}

fn continent(continent: api::Continent) -> Continent {
    match continent {
        api::Continent::Africa => Continent::Africa,
        api::Continent::Asia => Continent::Asia,
        api::Continent::Europe => Continent::Europe,
        api::Continent::NorthAmerica => Continent::NorthAmerica,
        api::Continent::Oceania => Continent::Oceania,
        api::Continent::SouthAmerica => Continent::SouthAmerica,
    }
}

fn relation(relation: api::PricingRelation) -> Relation {
    match relation {
        api::PricingRelation::SameZone => Relation::SameZone,
        api::PricingRelation::SameRegion => Relation::SameRegion,
        api::PricingRelation::SameContinent => Relation::SameContinent,
        api::PricingRelation::InterContinent => Relation::InterContinent,
        api::PricingRelation::Internet => Relation::Internet,
    }
}
