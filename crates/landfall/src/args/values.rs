//! Parsers of argument values.

use std::net::SocketAddr;

use landfall_controller::whatif::Amount;
use landfall_core::name::{ClusterId, ServiceKey};

/// Limits of requests per second.
const RPS: (f64, f64) = (0.0, 1e7);
/// Limits of a factor.
const FACTOR: (f64, f64) = (0.0, 1e6);
/// Limits of a value between two clusters: milliseconds up to a minute, or USD.
const PAIR: (f64, f64) = (0.0, 60_000.0);
/// Limit of a duration: one day.
const MAX_SECONDS: u32 = 86_400;

/// Parses `namespace/service`.
pub fn service(text: &str) -> Result<ServiceKey, String> {
    let (namespace, name) = text.split_once('/').ok_or("expected NAMESPACE/SERVICE")?;
    ServiceKey::new(namespace, name).map_err(|error| error.to_string())
}

/// Parses a cluster id.
pub fn cluster_id(text: &str) -> Result<ClusterId, String> {
    ClusterId::new(text).map_err(|error| error.to_string())
}

/// Parses a cluster id of a flag that is given once per cluster.
pub fn one_cluster_id(text: &str) -> Result<ClusterId, String> {
    let several = |error| if text.contains(',') { format!("{error}; give the flag once per cluster") } else { error };
    cluster_id(text).map_err(several)
}

/// Parses an IP address and a port.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:5301".to_owned())
}

/// Parses a number of clusters.
pub fn clusters(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(clusters @ 1..=200) => Ok(clusters),
        Ok(_) | Err(_) => Err("expected a whole number from 1 to 200".to_owned()),
    }
}

/// Parses a number within limits, both included.
pub fn number(text: &str, (min, max): (f64, f64)) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        Ok(_) | Err(_) => Err(format!("expected a number from {min} to {max}")),
    }
}

/// Parses a duration of up to one day, such as `90s`, `10m` or `2h`, into seconds.
pub fn seconds(text: &str) -> Result<u32, String> {
    let wrong = || "expected a time up to 24h, such as 90s, 10m or 2h (0s: at once)".to_owned();
    let (number, scale) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        _ => return Err(wrong()),
    };
    let seconds = number.parse::<u32>().ok().and_then(|number| number.checked_mul(scale));
    seconds.filter(|seconds| *seconds <= MAX_SECONDS).ok_or_else(wrong)
}

/// Parses requests per second or a factor of a cluster: `east=500` or `east=x2`.
pub fn amount(text: &str) -> Result<(ClusterId, Amount), String> {
    let (cluster, amount) = text.split_once('=').ok_or("expected CLUSTER=NUMBER or CLUSTER=xFACTOR")?;
    let amount = match amount.strip_prefix(['x', '×']) {
        Some(factor) => Amount::Times(number(factor, FACTOR)?),
        None => {
            Amount::Rps(number(amount, RPS).map_err(|error| format!("{error}, or x2 for twice the present value"))?)
        }
    };
    Ok((cluster_id(cluster)?, amount))
}

/// Parses a value between two clusters: `east:west=0.09`.
pub fn pair(text: &str) -> Result<(ClusterId, ClusterId, f64), String> {
    let parts = text.split_once('=').and_then(|(pair, number)| Some((pair.split_once(':')?, number)));
    let ((a, b), value) = parts.ok_or("expected CLUSTER:CLUSTER=NUMBER")?;
    let (a, b) = (cluster_id(a)?, cluster_id(b)?);
    if a == b {
        return Err(format!("{a} is given twice; name two clusters"));
    }
    Ok((a, b, number(value, PAIR)?))
}
