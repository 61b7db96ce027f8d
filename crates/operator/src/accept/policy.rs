//! What a user asked for in a SelectionPolicy.

use std::collections::BTreeMap;

use landfall_api as api;
use landfall_core::name::ClusterId;
use landfall_core::policy::{InvalidPolicy, LocalPreference, MinShares, Mode, Policy, Row, Weight};

use super::{Accepted, Refused, SelectionPolicy, cluster, mode, service};

pub(super) fn accept_policy(object: api::SelectionPolicy) -> Result<Accepted, Refused> {
    let meta = object.metadata;
    let namespace = meta.namespace.unwrap_or_default();
    let name = meta.name.unwrap_or_default();
    let spec = object.spec;
    let target = |(i, target): (usize, &api::TargetRef)| {
        let field = |field: &str| format!("targetRefs[{i}].{field}");
        let expected =
            |field: String, value: &str, expected| Refused::Field { field, value: value.to_owned(), expected };
        if target.group != "multicluster.x-k8s.io" {
            return Err(expected(field("group"), &target.group, "multicluster.x-k8s.io"));
        }
        if target.kind != "ServiceImport" {
            return Err(expected(field("kind"), &target.kind, "ServiceImport"));
        }
        service(&format!("spec.{}", field("name")), &namespace, &target.name)
    };
    let targets = spec.target_refs.iter().enumerate().map(target).collect::<Result<_, _>>()?;
    if let Some(mode) = spec.load_balancing.map(mode).filter(|&mode| mode != Mode::WeightedRoundRobin)
        && !spec.weights.is_empty()
    {
        let expected = "weighted-round-robin, which weights need";
        return Err(Refused::Field { field: "loadBalancing".to_owned(), value: mode.to_string(), expected });
    }
    let policy = Policy {
        name: Some(format!("{namespace}/{name}").into()),
        mode: spec.load_balancing.map(mode).unwrap_or_default(),
        local_preference: spec.local_preference.map(|preference| match preference {
            api::LocalPreference::Prefer => LocalPreference::Prefer,
            api::LocalPreference::Balance => LocalPreference::Balance,
        }),
        ..Policy::default()
    };
    let min_shares = min_shares(&spec.min_shares)?;
    let rows = rows(&spec.weights)?;
    let with_rules = || -> Result<Policy, InvalidPolicy> {
        Ok(Policy { rows: rows?, min_shares: MinShares::new(min_shares)?, ..policy })
    };
    let (policy, invalid) = match with_rules() {
        Ok(policy) => (Some(policy), None),
        Err(invalid) => (None, Some(invalid)),
    };
    Ok(Accepted::Policy(SelectionPolicy {
        created: meta.creation_timestamp.map(|time| time.0.to_string()).unwrap_or_default().into(),
        generation: meta.generation.unwrap_or(0),
        targets,
        mode: spec.load_balancing.map(mode),
        policy,
        invalid,
        status: object.status.unwrap_or_default(),
    }))
}

/// The outer error: a name that is none. The inner one: a rule that contradicts itself.
fn rows(rows: &[api::WeightRow]) -> Result<Result<Vec<Row>, InvalidPolicy>, Refused> {
    let mut accepted = Ok(Vec::new());
    for (i, row) in rows.iter().enumerate() {
        let source = match row.source.as_str() {
            "*" => None,
            id => Some(cluster(&format!("spec.weights[{i}].source"), id)?),
        };
        let mut weights = BTreeMap::new();
        for (id, &weight) in &row.clusters {
            weights.insert(cluster(&format!("spec.weights[{i}].clusters"), id)?, Weight::from(weight));
        }
        accepted = accepted.and_then(|mut rows| {
            rows.push(Row::new(source, weights)?);
            Ok(rows)
        });
    }
    Ok(accepted)
}

/// `10%` or `12.5%` to parts of a thousand.
fn min_shares(shares: &BTreeMap<String, String>) -> Result<BTreeMap<ClusterId, u32>, Refused> {
    let permille = |share: &str| {
        let (whole, tenth) = share.strip_suffix('%').map(|number| number.split_once('.').unwrap_or((number, "0")))?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let valid = digits(whole) && whole.len() <= 3 && digits(tenth) && tenth.len() == 1;
        valid.then(|| Some(whole.parse::<u32>().ok()? * 10 + tenth.parse::<u32>().ok()?))?
    };
    let share = |(id, share): (&String, &String)| {
        let field = format!("minShares[{id}]");
        let expected = "a percentage with at most one decimal, such as 10% or 12.5%";
        let refused = || Refused::Field { field: field.clone(), value: share.clone(), expected };
        Ok((cluster(&format!("spec.{field}"), id)?, permille(share).ok_or_else(refused)?))
    };
    shares.iter().map(share).collect()
}
