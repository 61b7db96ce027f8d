//! M/M/c: c servers, one queue, Poisson arrivals, exponential service times (A. K. Erlang, 1917).

use std::collections::BTreeMap;

/// Longest wait of a request.
pub const MAX_WAIT_MS: f64 = 1000.0;

/// Limit of servers in a table, because a table costs time in proportion to them. With more servers, the wait is below a
/// hundredth of the service time at any utilization of the table.
const MAX_SERVERS: u32 = 20_000;

/// Loads below this count as none. It is less than a request in thirty years.
const MIN_LOAD_RPS: f64 = 1e-9;

/// State of an exporter under a load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Queue {
    /// Load over capacity; infinite for a load without capacity.
    pub utilization: f64,
    /// Mean wait of all requests, including those that do not wait.
    pub wait_ms: f64,
    /// Probability that a request finds all servers busy, and waits.
    pub busy: f64,
    /// Fraction of the load above the capacity.
    pub rejected: f64,
}

impl Queue {
    /// An exporter without load.
    pub(super) const IDLE: Self = Self { utilization: 0.0, wait_ms: 0.0, busy: 0.0, rejected: 0.0 };
    /// An exporter without capacity, which rejects all.
    pub(super) const NONE: Self = Self { utilization: f64::INFINITY, wait_ms: MAX_WAIT_MS, busy: 1.0, rejected: 1.0 };
}

/// Waiting times of c servers by utilization.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitTable {
    /// Probability of waiting.
    pub busy: Vec<f64>,
    /// Mean wait, in service times.
    pub wait: Vec<f64>,
}

/// Tables by number of servers, each computed once. A world has at most one per distinct capacity.
#[derive(Debug, Clone)]
pub struct WaitTables {
    utilization: Vec<f64>,
    by_servers: BTreeMap<u32, WaitTable>,
}

impl Default for WaitTables {
    fn default() -> Self {
        Self { utilization: grid(), by_servers: BTreeMap::new() }
    }
}

impl WaitTables {
    /// Returns the utilizations of the tables: from 0 to 0.995, ten times as dense above 0.9.
    pub fn utilization(&self) -> &[f64] {
        &self.utilization
    }

    /// Returns the table for a number of servers.
    pub fn table(&mut self, servers: u32) -> &WaitTable {
        let grid = &self.utilization;
        self.by_servers.entry(servers).or_insert_with(|| WaitTable::new(grid, servers))
    }

    /// Returns the state of an exporter under a load.
    pub fn queue(&mut self, load_rps: f64, capacity_rps: f64, service_ms: f64) -> Queue {
        if load_rps <= MIN_LOAD_RPS {
            return Queue::IDLE;
        }
        if capacity_rps <= 0.0 {
            return Queue::NONE;
        }
        let utilization = load_rps / capacity_rps;
        if utilization >= 1.0 {
            return Queue { utilization, rejected: 1.0 - 1.0 / utilization, ..Queue::NONE };
        }
        let (wait, busy) = self.waiting(utilization, servers(capacity_rps, service_ms));
        Queue { utilization, wait_ms: (service_ms * wait).min(MAX_WAIT_MS), busy, rejected: 0.0 }
    }

    /// Returns the mean wait in service times, and the probability of waiting.
    fn waiting(&mut self, utilization: f64, servers: u32) -> (f64, f64) {
        let above = self.utilization.partition_point(|&point| point <= utilization);
        let (below, last) = (above - 1, self.utilization.len() - 1);
        let (low, end) = (self.utilization[below], self.utilization[last]);
        let high = self.utilization.get(above).copied();
        let table = self.table(servers);
        // Beyond the table the wait grows as it does near saturation: with 1/(1−ρ).
        let Some(high) = high else {
            return (table.wait[last] * (1.0 - end) / (1.0 - utilization).max(1e-6), 1.0);
        };
        let part = (utilization - low) / (high - low);
        let between = |values: &[f64]| values[below] + (values[above] - values[below]) * part;
        (between(&table.wait), between(&table.busy))
    }
}

impl WaitTable {
    /// Computes Erlang B by its recursion over the servers, which is stable, and from it Erlang C and the mean wait.
    fn new(grid: &[f64], servers: u32) -> Self {
        let c = f64::from(servers);
        let blocked = |&utilization: &f64| {
            let offered = utilization * c;
            let next = |blocked: f64, k: u32| offered * blocked / (f64::from(k) + offered * blocked);
            (1..=servers).fold(1.0, next)
        };
        let delayed = |utilization: &f64| {
            let blocked = blocked(utilization);
            blocked / (1.0 - utilization * (1.0 - blocked))
        };
        let busy: Vec<f64> = grid.iter().map(delayed).collect();
        let wait = busy.iter().zip(grid).map(|(busy, utilization)| busy / (c * (1.0 - utilization))).collect();
        Self { busy, wait }
    }
}

/// Returns the number of servers that are busy at full load (Little's law), at least one.
pub fn servers(capacity_rps: f64, service_ms: f64) -> u32 {
    let busy = (capacity_rps * service_ms / 1000.0).round_ties_even();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a small positive range")]
    let servers = busy.clamp(1.0, f64::from(MAX_SERVERS)) as u32;
    servers
}

/// Returns the utilizations of a table.
fn grid() -> Vec<f64> {
    let coarse = (0..=180).map(|k| 0.9 * f64::from(k) / 180.0);
    let fine = (1..=190).map(|k| 0.9 + 0.095 * f64::from(k) / 190.0);
    coarse.chain(fine).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Erlang C as textbooks have it, with factorials.
    fn erlang_c(servers: i32, utilization: f64) -> f64 {
        let offered = f64::from(servers) * utilization;
        let term = |k: i32| (1..=k).map(|i| offered / f64::from(i)).product::<f64>();
        let tail = term(servers) / (1.0 - utilization);
        tail / ((0..servers).map(term).sum::<f64>() + tail)
    }

    #[test]
    fn one_server_waits_as_the_closed_form_says() {
        let mut tables = WaitTables::default();
        for utilization in [0.1, 0.5, 0.9, 0.95, 0.99] {
            let queue = tables.queue(10.0 * utilization, 10.0, 100.0);
            let expected = 100.0 * utilization / (1.0 - utilization);
            assert!((queue.wait_ms / expected.min(1000.0) - 1.0).abs() < 2e-3, "{utilization}: {queue:?}");
            assert!((queue.busy - utilization).abs() < 1e-9);
        }
    }

    #[test]
    fn many_servers_wait_as_the_textbook_says() {
        let mut tables = WaitTables::default();
        // Four servers, three erlangs: 0.5094 (Gross et al., Fundamentals of Queueing Theory, by formula).
        assert!((tables.queue(150.0, 200.0, 20.0).busy - 0.509_433_962).abs() < 1e-8);
        for (servers, utilization) in [(2, 0.8), (4, 0.75), (10, 0.9), (24, 0.95), (50, 0.6)] {
            let capacity = f64::from(servers) * 50.0;
            let queue = tables.queue(capacity * utilization, capacity, 20.0);
            let busy = erlang_c(servers, utilization);
            let wait = 20.0 * busy / (f64::from(servers) * (1.0 - utilization));
            assert!((queue.busy - busy).abs() < 1e-6, "{servers}: {queue:?}, not {busy}");
            assert!((queue.wait_ms - wait).abs() < 1e-5, "{servers}: {queue:?}, not {wait}");
        }
    }

    #[test]
    fn load_above_the_capacity_is_rejected() {
        let mut tables = WaitTables::default();
        let full = tables.queue(100.0, 100.0, 20.0);
        assert!(full.rejected.abs() < 1e-12 && (full.wait_ms - 1000.0).abs() < 1e-9);
        let overloaded = tables.queue(125.0, 100.0, 20.0);
        assert!((overloaded.rejected - 0.2).abs() < 1e-12 && (overloaded.wait_ms - 1000.0).abs() < 1e-9);
        let gone = tables.queue(1.0, 0.0, 20.0);
        assert!((gone.rejected - 1.0).abs() < 1e-12 && gone.utilization.is_infinite());
        assert_eq!(tables.queue(0.0, 0.0, 20.0), Queue::IDLE);
    }

    #[test]
    fn wait_never_falls_with_the_load_and_is_at_most_a_second() {
        let mut tables = WaitTables::default();
        for (capacity, service) in [(1.0, 20.0), (1000.0, 20.0), (5.0, 1e6), (1e9, 1e6), (100.0, 0.0)] {
            let waits: Vec<f64> =
                (0..=1100).map(|k| tables.queue(capacity * f64::from(k) / 1000.0, capacity, service).wait_ms).collect();
            assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{capacity} × {service}");
            assert!(waits.iter().all(|wait| (0.0..=MAX_WAIT_MS).contains(wait)));
        }
    }

    #[test]
    fn servers_beyond_the_limit_make_no_difference() {
        assert_eq!(servers(1e9, 1e6), MAX_SERVERS);
        assert_eq!((servers(10.0, 0.0), servers(125.0, 20.0), servers(175.0, 20.0)), (1, 2, 4), "ties go to even");
        let mut tables = WaitTables::default();
        let table = tables.table(MAX_SERVERS);
        assert!(table.wait.iter().all(|wait| *wait < 0.01));
    }
}
