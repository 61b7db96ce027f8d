//! What one cluster exports of a service.

use std::net::IpAddr;
use std::sync::Arc;

/// What one cluster offers of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Export {
    /// The ready ones alone, sorted and without repetition. For a Lighthouse ClusterSetIP export this is the cluster's
    /// service IP.
    pub ready: Arc<[Endpoint]>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    pub address: IpAddr,
    /// What `<hostname>.<cluster>.<service>…` names; several endpoints can share it. Always a lower-case DNS label: the
    /// one the endpoint has, or its address with dashes.
    pub hostname: Box<str>,
}

impl Endpoint {
    pub fn new(address: IpAddr, hostname: Option<&str>) -> Self {
        let hostname = hostname.map_or_else(|| dashed(address), str::to_ascii_lowercase);
        Self { address, hostname: hostname.into() }
    }
}

/// `10.0.0.1` → `10-0-0-1`. An IPv6 address that would end in a dash gets a 0, because a label must not end so:
/// `fd00::` → `fd00--0`; the same for one that would begin with a dash.
fn dashed(address: IpAddr) -> String {
    let label = address.to_string().replace(['.', ':'], "-");
    let head = if label.starts_with('-') { "0" } else { "" };
    let tail = if label.ends_with('-') { "0" } else { "" };
    format!("{head}{label}{tail}")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_without_a_hostname_is_named_by_its_address() {
        let name = |address: &str| Endpoint::new(address.parse().unwrap(), None).hostname.into_string();
        assert_eq!(name("10.0.0.1"), "10-0-0-1");
        assert_eq!(name("fd00::1"), "fd00--1");
        assert_eq!(name("fd00::"), "fd00--0");
        assert_eq!(name("::1"), "0--1");
        assert_eq!(&*Endpoint::new("10.0.0.1".parse().unwrap(), Some("Web-0")).hostname, "web-0");
    }
}
