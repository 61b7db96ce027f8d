//! Ready endpoints that one cluster exports of a service.

use std::net::IpAddr;
use std::sync::Arc;

/// Export of a service by one cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Export {
    /// Ready endpoints, sorted and without duplicates. For a Lighthouse ClusterSetIP export this is the service IP of
    /// the cluster.
    pub ready: Arc<[Endpoint]>,
}

impl Export {
    /// Returns the number of ready pods, as far as endpoints tell: a pod with addresses of both families is one. Behind a
    /// service IP there can be any number of pods, which only the exporting cluster knows.
    pub fn pods(&self) -> usize {
        let ipv4 = self.ready.iter().filter(|endpoint| endpoint.address.is_ipv4()).count();
        ipv4.max(self.ready.len() - ipv4)
    }
}

/// One address that serves requests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    pub address: IpAddr,
    /// First label of `<hostname>.<cluster>.<service>…`; several endpoints can share it. Always a lower-case DNS label:
    /// the hostname of the endpoint, or its address with dashes.
    pub hostname: Box<str>,
}

impl Endpoint {
    pub fn new(address: IpAddr, hostname: Option<&str>) -> Self {
        let hostname = hostname.map_or_else(|| dashed(address), str::to_ascii_lowercase);
        Self { address, hostname: hostname.into() }
    }
}

/// Returns the address as a DNS label: `10.0.0.1` → `10-0-0-1`. A label must not begin or end with a dash, so a 0 is
/// added there: `fd00::` → `fd00--0`.
fn dashed(address: IpAddr) -> String {
    let label = address.to_string().replace(['.', ':'], "-");
    let head = if label.starts_with('-') { "0" } else { "" };
    let tail = if label.ends_with('-') { "0" } else { "" };
    format!("{head}{label}{tail}")
}

/// Family of an IP address.
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
