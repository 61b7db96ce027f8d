//! M/M/c: c servers, one queue, Poisson arrivals, exponential service times (A. K. Erlang, 1917).

use std::collections::BTreeMap;

/// The queue is bounded by time: a request waits no longer.
pub const MAX_WAIT_MS: f64 = 1000.0;

/// With more servers than this, waiting for one of them takes less than a hundredth of the service time at any utilization
/// of the table, and a table takes work in proportion to them.
const MAX_SERVERS: u32 = 20_000;

/// Less than a request in thirty years.
const MIN_LOAD_RPS: f64 = 1e-9;

/// How an exporter fares under a load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Queue {
    /// Load over capacity; infinite for a load without capacity.
    pub utilization: f64,
    /// Mean wait of all requests, those included that do not wait.
    pub wait_ms: f64,
    /// Probability that a request finds all servers busy, and waits.
    pub busy: f64,
    /// The part above the capacity.
    pub rejected: f64,
}

impl Queue {
    pub(super) const IDLE: Self = Self { utilization: 0.0, wait_ms: 0.0, busy: 0.0, rejected: 0.0 };
    pub(super) const NONE: Self = Self { utilization: f64::INFINITY, wait_ms: MAX_WAIT_MS, busy: 1.0, rejected: 1.0 };
}

/// The queue of c servers, tabulated over the utilization.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitTable {
    /// Probability of waiting.
    pub busy: Vec<f64>,
    /// Mean wait, in service times.
    pub wait: Vec<f64>,
}

/// WaitTables by number of servers, each computed once. There are at most as many as there are different capacities in a world.
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
    /// The utilizations at which the tables have a value: from 0 to 0.995, ten times as dense above 0.9.
    pub fn utilization(&self) -> &[f64] {
        &self.utilization
    }

    pub fn table(&mut self, servers: u32) -> &WaitTable {
        let grid = &self.utilization;
        self.by_servers.entry(servers).or_insert_with(|| WaitTable::new(grid, servers))
    }

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

    /// Mean wait in service times, and the probability of it.
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
    /// Erlang B by its recursion over the servers, which is stable; from it Erlang C and the mean wait.
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

/// As many as are busy at full load (Little), and at least one.
pub fn servers(capacity_rps: f64, service_ms: f64) -> u32 {
    let busy = (capacity_rps * service_ms / 1000.0).round_ties_even();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a small positive range")]
    let servers = busy.clamp(1.0, f64::from(MAX_SERVERS)) as u32;
    servers
}

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
    fn what_is_above_the_capacity_is_rejected() {
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
    fn the_wait_never_falls_with_the_load_and_ends_at_a_second() {
        let mut tables = WaitTables::default();
        for (capacity, service) in [(1.0, 20.0), (1000.0, 20.0), (5.0, 1e6), (1e9, 1e6), (100.0, 0.0)] {
            let waits: Vec<f64> =
                (0..=1100).map(|k| tables.queue(capacity * f64::from(k) / 1000.0, capacity, service).wait_ms).collect();
            assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{capacity} × {service}");
            assert!(waits.iter().all(|wait| (0.0..=MAX_WAIT_MS).contains(wait)));
        }
    }

    #[test]
    fn beyond_the_cap_servers_make_no_difference_worth_a_table() {
        assert_eq!(servers(1e9, 1e6), MAX_SERVERS);
        assert_eq!((servers(10.0, 0.0), servers(125.0, 20.0), servers(175.0, 20.0)), (1, 2, 4), "ties go to even");
        let mut tables = WaitTables::default();
        let table = tables.table(MAX_SERVERS);
        assert!(table.wait.iter().all(|wait| *wait < 0.01));
    }
}
