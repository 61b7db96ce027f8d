//! SelectionPolicies.

use std::collections::BTreeMap;

use landfall_api as api;
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::policy::{InvalidPolicy, LocalPreference, MinShares, Mode, Policy, Weight, WeightRow};

use super::accepted::{Accepted, SelectionPolicy};
use super::number::Range;
use super::refused::{Refused, cluster, service};
use super::settings::{Optimized, Preset, PrometheusQueries};
use super::submariner::mode;

pub(super) fn accept_policy(object: api::SelectionPolicy) -> Result<Accepted, Refused> {
    let meta = object.metadata;
    let namespace = meta.namespace.unwrap_or_default();
    let name = meta.name.unwrap_or_default();
    let spec = object.spec;
    let targets = targets(&namespace, &spec.target_refs)?;
    fits_mode(&spec)?;
    let optimized = optimized(&spec)?;
    let settings = spec.optimized.as_ref();
    let queries = PrometheusQueries {
        utilization: settings.and_then(|settings| {
            settings.utilization_query.clone().or_else(|| settings.former_utilization_query.clone())
        }),
        load: settings.and_then(|settings| settings.load_query.clone()),
    };
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
    Ok(Accepted::Policy(Box::new(SelectionPolicy {
        created: meta.creation_timestamp.map(|time| time.0.to_string()).unwrap_or_default().into(),
        generation: meta.generation.unwrap_or(0),
        targets,
        mode: spec.load_balancing.map(mode),
        policy,
        optimized,
        queries,
        shadow: spec.enforcement == Some(api::Enforcement::Shadow),
        invalid,
        status: object.status.unwrap_or_default(),
    })))
}

fn targets(namespace: &str, targets: &[api::TargetRef]) -> Result<Vec<ServiceKey>, Refused> {
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
        service(&format!("spec.{}", field("name")), namespace, &target.name)
    };
    targets.iter().enumerate().map(target).collect()
}

/// Refuses fields that belong to another mode than the one that is set. Without a mode they are accepted, because the
/// mode may come from the Submariner resource.
fn fits_mode(spec: &api::SelectionPolicySpec) -> Result<(), Refused> {
    let Some(set) = spec.load_balancing.map(mode) else { return Ok(()) };
    let needs = [
        (!spec.weights.is_empty(), Mode::WeightedRoundRobin, "weighted-round-robin, which spec.weights needs"),
        (
            spec.optimized_load_balancing_params.is_some(),
            Mode::Optimized,
            "optimized, which spec.optimizedLoadBalancingParams needs",
        ),
        (spec.optimized.is_some(), Mode::Optimized, "optimized, which spec.optimized needs"),
    ];
    match needs.into_iter().find(|&(given, needed, _)| given && needed != set) {
        None => Ok(()),
        Some((_, _, expected)) => {
            Err(Refused::Field { field: "loadBalancing".to_owned(), value: set.to_string(), expected })
        }
    }
}

/// Accepts the settings of the optimizer. The limits are those of the schema.
fn optimized(spec: &api::SelectionPolicySpec) -> Result<Option<Optimized>, Refused> {
    let params = spec.optimized_load_balancing_params.map(Preset::from);
    let Some(set) = &spec.optimized else {
        return Ok(params.map(|params| Optimized { params: Some(params), ..Optimized::default() }));
    };
    if params.is_some() && set.usd_per_ms_per_million_requests.is_some() {
        let (first, second) = ("optimizedLoadBalancingParams", "optimized.usdPerMsPerMillionRequests");
        return Err(Refused::Both { first, second });
    }
    let number = |name: &str, number: Option<f64>, range: Range| {
        number.map(|number| range.check(&format!("spec.optimized.{name}"), number)).transpose()
    };
    let bytes = Range::new(0.0, 1e12);
    Ok(Some(Optimized {
        rate: number("usdPerMsPerMillionRequests", set.usd_per_ms_per_million_requests, Range::above(0.0, 1000.0))?,
        params,
        target_utilization: number(
            "targetUtilization",
            set.target_utilization.or(set.former_target_utilization),
            Range::new(0.1, 0.99),
        )?,
        request_bytes: number("requestBytes", set.request_bytes, bytes)?,
        response_bytes: number("responseBytes", set.response_bytes, bytes)?,
        capacity_rps_per_pod: number("capacityRpsPerPod", set.capacity_rps_per_pod, Range::above(0.0, 1e6))?,
        round_trips: number("roundTripsPerRequest", set.round_trips_per_request, Range::new(1.0, 3.0))?,
        epsilon_ms: number("epsilonMs", set.epsilon_ms, Range::new(0.01, 1000.0))?,
        round_seconds: number("roundSeconds", set.round_seconds, Range::new(30.0, 1200.0))?,
        burstiness: number("burstiness", set.burstiness, Range::new(0.01, 100.0))?,
        requests_per_answer: number("requestsPerAnswer", set.requests_per_answer, Range::above(0.0, 1e6))?,
    }))
}

/// Accepts the weights. The outer error is an invalid name; the inner error is a contradiction between weights.
fn rows(rows: &[api::WeightRow]) -> Result<Result<Vec<WeightRow>, InvalidPolicy>, Refused> {
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
            rows.push(WeightRow::new(source, weights)?);
            Ok(rows)
        });
    }
    Ok(accepted)
}

/// Converts minimum shares such as `10%` or `12.5%` to thousandths.
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
