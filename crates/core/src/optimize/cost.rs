//! What a request costs on its way: milliseconds of latency, and money at an exchange rate.

/// Round-trip time to a cluster that nobody has measured: pessimistic, and finite.
pub const UNKNOWN_RTT_MS: f64 = 100.0;

/// What a lost packet costs: the retransmission timeout.
const RETRANSMISSION_MS: f64 = 200.0;

/// Losses above this count as this much, 1.8 s: a path that loses everything is for the reachability probe to close.
const MOST_LOSS: f64 = 0.9;

const BYTES_PER_GB: f64 = 1e9;
const MILLION: f64 = 1e6;

/// What the way from a source to an exporter costs, in ms. The price has been exchanged for time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct UnitCost {
    pub latency_ms: f64,
    pub price_ms: f64,
}

/// The network from a source to an exporter, as probes see it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Path {
    /// `None`: [`UNKNOWN_RTT_MS`].
    pub rtt_ms: Option<f64>,
    /// p90 − p50 of the probes.
    pub jitter_ms: f64,
    /// The part of the packets that is lost, between 0 and 1.
    pub loss: f64,
    /// 1 over a connection that is there; 2 or 3 where each request opens one (TCP, TLS).
    pub round_trips: f64,
}

impl Path {
    pub fn over_open_connections(rtt_ms: Option<f64>) -> Self {
        Self { rtt_ms, jitter_ms: 0.0, loss: 0.0, round_trips: 1.0 }
    }

    /// n·(RTT + jitter) + n·loss/(1−loss)·RTO
    pub fn latency_ms(&self) -> f64 {
        let rtt = self.rtt_ms.filter(|rtt| rtt.is_finite() && *rtt >= 0.0).unwrap_or(UNKNOWN_RTT_MS);
        let loss = positive(self.loss).min(MOST_LOSS);
        self.round_trips.max(1.0) * (rtt + positive(self.jitter_ms) + loss / (1.0 - loss) * RETRANSMISSION_MS)
    }
}

/// What traffic between a source and an exporter is billed at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tariff {
    /// From the source to the exporter: requests.
    pub to_exporter_usd_per_gb: f64,
    /// From the exporter to the source: responses, which the exporter's cloud bills and which are most of the bytes.
    pub to_source_usd_per_gb: f64,
}

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
    pub fn usd_per_million(&self, bytes: Bytes) -> f64 {
        let requests = positive(self.to_exporter_usd_per_gb) * positive(bytes.per_request);
        let responses = positive(self.to_source_usd_per_gb) * positive(bytes.per_response);
        (requests + responses) * MILLION / BYTES_PER_GB
    }
}

/// What a millisecond of a million requests is worth, in USD. A criterion is a preset of it: every compromise between
/// latency and money is the best one at some rate, and at a rate one can say what was paid for what.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct ExchangeRate(f64);

impl ExchangeRate {
    pub const PERFORMANCE: Self = Self(10.0);
    /// About the price of the vCPU that waits: 0.04 USD/h are 0.011 USD per ms and million requests.
    pub const MIXED: Self = Self(0.01);
    pub const COST: Self = Self(0.0001);

    /// `None` unless it is a positive, finite number.
    pub fn usd_per_ms_per_million(rate: f64) -> Option<Self> {
        (rate.is_finite() && rate > 0.0).then_some(Self(rate))
    }

    /// Per ms and million requests.
    pub fn usd(self) -> f64 {
        self.0
    }

    /// USD per million requests that so many ms are worth.
    pub fn exchanged(self, ms: f64) -> f64 {
        ms * self.0
    }

    pub fn ms(self, usd_per_million: f64) -> f64 {
        usd_per_million / self.0
    }
}

pub fn unit_cost(path: Path, usd_per_million: f64, rate: ExchangeRate) -> UnitCost {
    UnitCost { latency_ms: path.latency_ms(), price_ms: rate.ms(positive(usd_per_million)) }
}

/// 0 for what is below it or no number.
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
    fn a_new_connection_per_request_pays_the_way_more_than_once() {
        let path = Path { jitter_ms: 5.0, round_trips: 3.0, ..Path::over_open_connections(Some(50.0)) };
        assert!((path.latency_ms() - 165.0).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_measured_is_pessimistic_and_finite() {
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
    fn the_response_is_most_of_the_bill() {
        let there = Tariff { to_exporter_usd_per_gb: 0.09, to_source_usd_per_gb: 0.0 };
        let back = Tariff { to_exporter_usd_per_gb: 0.0, to_source_usd_per_gb: 0.09 };
        let price = |tariff: Tariff| tariff.usd_per_million(Bytes::default());
        assert!((price(there) - 0.09).abs() < 1e-12 && (price(back) - 0.9).abs() < 1e-12);
        assert!(ExchangeRate::COST.ms(0.9) > ExchangeRate::MIXED.ms(0.9));
        assert!(ExchangeRate::MIXED.ms(0.9) > ExchangeRate::PERFORMANCE.ms(0.9));
    }
}
