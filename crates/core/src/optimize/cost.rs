//! Cost of a request on its path: milliseconds of latency, and money at an exchange rate.

/// Assumed round-trip time of a path that was never measured: pessimistic, and finite.
pub const UNKNOWN_RTT_MS: f64 = 100.0;

/// Cost of a lost packet: the retransmission timeout.
const RETRANSMISSION_MS: f64 = 200.0;

/// Cap on loss (equals 1.8 s). A dead path is handled by the reachability probe, not by its cost.
const MAX_LOSS: f64 = 0.9;

const BYTES_PER_GB: f64 = 1e9;
const MILLION: f64 = 1e6;

/// Cost of the path from a source to an exporter, in ms. The price is converted to time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct UnitCost {
    pub latency_ms: f64,
    pub price_ms: f64,
}

/// Network path from a source to an exporter, as measured by probes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Path {
    /// `None` counts as [`UNKNOWN_RTT_MS`].
    pub rtt_ms: Option<f64>,
    /// Jitter: p90 − p50 of the probes.
    pub jitter_ms: f64,
    /// Fraction of the packets that is lost, between 0 and 1.
    pub loss: f64,
    /// Round trips per request: 1 over an open connection; 2 or 3 if each request opens one (TCP, TLS).
    pub round_trips: f64,
}

impl Path {
    /// Returns a path without jitter and loss, with one round trip per request.
    pub fn over_open_connections(rtt_ms: Option<f64>) -> Self {
        Self { rtt_ms, jitter_ms: 0.0, loss: 0.0, round_trips: 1.0 }
    }

    /// Returns n·(RTT + jitter) + n·loss/(1−loss)·RTO.
    pub fn latency_ms(&self) -> f64 {
        let rtt = self.rtt_ms.filter(|rtt| rtt.is_finite() && *rtt >= 0.0).unwrap_or(UNKNOWN_RTT_MS);
        let loss = positive(self.loss).min(MAX_LOSS);
        self.round_trips.max(1.0) * (rtt + positive(self.jitter_ms) + loss / (1.0 - loss) * RETRANSMISSION_MS)
    }
}

/// Prices of traffic between a source and an exporter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tariff {
    /// Price of requests: from the source to the exporter.
    pub to_exporter_usd_per_gb: f64,
    /// Price of responses: from the exporter to the source. They are most of the bytes, and the cloud of the exporter
    /// bills them.
    pub to_source_usd_per_gb: f64,
}

/// Average sizes of requests and responses, in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bytes {
    pub per_request: f64,
    pub per_response: f64,
}

impl Default for Bytes {
    fn default() -> Self {
        Self { per_request: 1_000.0, per_response: 10_000.0 }
    }
}

impl Tariff {
    /// Returns the price of a million requests.
    pub fn usd_per_million(&self, bytes: Bytes) -> f64 {
        let requests = positive(self.to_exporter_usd_per_gb) * positive(bytes.per_request);
        let responses = positive(self.to_source_usd_per_gb) * positive(bytes.per_response);
        (requests + responses) * MILLION / BYTES_PER_GB
    }
}

/// Value of one millisecond of a million requests, in USD. Every compromise between latency and money is the best one
/// at some rate, so each criterion is a preset of the rate.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct ExchangeRate(f64);

impl ExchangeRate {
    pub const PERFORMANCE: Self = Self(10.0);
    /// About the price of the vCPU that waits: 0.04 USD/h are 0.011 USD per ms and million requests.
    pub const MIXED: Self = Self(0.01);
    pub const COST: Self = Self(0.0001);

    /// Returns `None` unless the rate is a positive, finite number.
    pub fn usd_per_ms_per_million(rate: f64) -> Option<Self> {
        (rate.is_finite() && rate > 0.0).then_some(Self(rate))
    }

    /// Returns the rate in USD per ms and million requests.
    pub fn usd(self) -> f64 {
        self.0
    }

    /// Converts ms to USD per million requests.
    pub fn exchanged(self, ms: f64) -> f64 {
        ms * self.0
    }

    /// Converts USD per million requests to ms.
    pub fn ms(self, usd_per_million: f64) -> f64 {
        usd_per_million / self.0
    }
}

/// Returns the cost of a path at a price and an exchange rate.
pub fn unit_cost(path: Path, usd_per_million: f64, rate: ExchangeRate) -> UnitCost {
    UnitCost { latency_ms: path.latency_ms(), price_ms: rate.ms(positive(usd_per_million)) }
}

/// Returns the value, or 0 if it is negative or NaN.
fn positive(value: f64) -> f64 {
    value.max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_percent_of_loss_costs_two_milliseconds() {
        let lossless = Path::over_open_connections(Some(50.0));
        let lossy = Path { loss: 0.01, ..lossless };
        assert!((lossy.latency_ms() - lossless.latency_ms() - 2.0202).abs() < 1e-4);
    }

    #[test]
    fn new_connection_per_request_pays_the_latency_more_than_once() {
        let path = Path { jitter_ms: 5.0, round_trips: 3.0, ..Path::over_open_connections(Some(50.0)) };
        assert!((path.latency_ms() - 165.0).abs() < 1e-12);
    }

    #[test]
    fn invalid_measurement_is_pessimistic_and_finite() {
        let nonsense = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0];
        for rtt_ms in nonsense.map(Some).into_iter().chain([None]) {
            assert!((Path::over_open_connections(rtt_ms).latency_ms() - UNKNOWN_RTT_MS).abs() < 1e-12);
        }
        let dead = Path { loss: 1.0, ..Path::over_open_connections(Some(0.0)) };
        assert!((dead.latency_ms() - 1800.0).abs() < 1e-9);
        assert!(nonsense.iter().all(|&rate| ExchangeRate::usd_per_ms_per_million(rate).is_none()));
        assert!(ExchangeRate::usd_per_ms_per_million(0.0).is_none());
    }

    #[test]
    fn responses_are_most_of_the_price() {
        let there = Tariff { to_exporter_usd_per_gb: 0.09, to_source_usd_per_gb: 0.0 };
        let back = Tariff { to_exporter_usd_per_gb: 0.0, to_source_usd_per_gb: 0.09 };
        let price = |tariff: Tariff| tariff.usd_per_million(Bytes::default());
        assert!((price(there) - 0.09).abs() < 1e-12 && (price(back) - 0.9).abs() < 1e-12);
        assert!(ExchangeRate::COST.ms(0.9) > ExchangeRate::MIXED.ms(0.9));
        assert!(ExchangeRate::MIXED.ms(0.9) > ExchangeRate::PERFORMANCE.ms(0.9));
    }
}
