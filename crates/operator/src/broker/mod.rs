//! Exchanges facts between clusters: ClusterFacts on the broker, a Kubernetes API server that all clusters reach.
//!
//! ```text
//! own facts ── objects ──▶ writer ──▶ broker ── watch ──▶ inbox (owner, age, limits) ──▶ PeerEvents for the pipeline
//! ```
//!
//! Plans use only what comes back from the broker, own facts included. A cluster that knew more about itself than the
//! others do would compute a different plan for all of them. While the broker is away no facts arrive and none age, so
//! plans follow health alone.

pub mod credentials;
mod writer;
mod io;
mod session;

use std::time::Duration;

use tokio::time::{sleep, timeout};

use self::credentials::{BrokerSource, Credentials, connect, find};
pub use self::io::BrokerIo;
use crate::stopping::send;
use landfall_controller::broker::objects::Identity;
use landfall_controller::change::BrokerState;
use landfall_controller::change::PeerEvent;

/// Pause between two reads of the credentials.
const CREDENTIALS_INTERVAL: Duration = Duration::from_secs(5);
/// Reads in a row without a configured broker after which the broker is gone. An API server that restarts may deny for
/// a moment that the resource exists, and the fleet must not vanish because of that.
const MAX_MISSING_READS: u32 = 6;
/// Limit for one read, of the credentials or of the broker.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Exchanges facts until the receiver of changes is gone.
pub async fn run(source: BrokerSource, mut io: BrokerIo) {
    let mut reported: Option<Option<BrokerState>> = None;
    loop {
        let state = match timeout(READ_TIMEOUT, find(&source)).await {
            Ok(Ok(Some(credentials))) => {
                tracing::info!(namespace = credentials.namespace, "using a broker");
                reported = None;
                match use_credentials(&source, credentials, &mut io).await {
                    Ended::Renewed => continue,
                    Ended::Stopping => return,
                    Ended::Unusable(why) => lost(&why),
                }
            }
            Ok(Ok(None)) => None,
            Ok(Err(error)) => lost(&error.to_string()),
            Err(_) => lost("the credentials of the broker could not be read in time"),
        };
        if reported.as_ref() != Some(&state) {
            if let Some(why) = state.as_ref().and_then(|state| state.lost.as_deref()) {
                tracing::warn!(why, "no connection to the broker; keeping the facts read last, and retrying");
            }
            reported = Some(state.clone());
            if send(&io.changes, PeerEvent::Broker(state)).await.is_err() {
                return;
            }
        }
        sleep(CREDENTIALS_INTERVAL).await;
    }
}

fn lost(why: &str) -> Option<BrokerState> {
    Some(BrokerState { lost: Some(why.into()), ..BrokerState::default() })
}

/// Reads the facts of all clusters and the state of the broker once.
pub async fn read_once(
    source: &BrokerSource,
    identity: Identity,
    clock: fn() -> u64,
) -> Result<Vec<PeerEvent>, String> {
    let found = timeout(READ_TIMEOUT, find(source)).await;
    let found = found.map_err(|_| "the credentials of the broker could not be read in time".to_owned())?;
    let Some(credentials) = found.map_err(|error| error.to_string())? else { return Ok(vec![PeerEvent::Broker(None)]) };
    let client = connect(&credentials).await?;
    timeout(READ_TIMEOUT, session::read_once(&client, &credentials.namespace, identity, clock))
        .await
        .map_err(|_| "the broker does not answer in time".to_owned())?
}

/// Reason why credentials are not used any more.
enum Ended {
    /// The credentials changed.
    Renewed,
    /// No client can be created with the credentials.
    Unusable(String),
    /// The receiver of changes is gone.
    Stopping,
}

/// Runs a session with these credentials until they change.
async fn use_credentials(source: &BrokerSource, credentials: Credentials, io: &mut BrokerIo) -> Ended {
    let client = match connect(&credentials).await {
        Ok(client) => client,
        Err(why) => return Ended::Unusable(format!("the credentials of the broker cannot be used: {why}")),
    };
    let renewed = async {
        let mut missing_reads = 0;
        while missing_reads < MAX_MISSING_READS {
            sleep(CREDENTIALS_INTERVAL).await;
            match timeout(READ_TIMEOUT, find(source)).await {
                // Credentials that cannot be read now may still be valid.
                Err(_) | Ok(Err(_)) => {}
                Ok(Ok(Some(found))) if found.fingerprint == credentials.fingerprint => missing_reads = 0,
                Ok(Ok(Some(_))) => return,
                Ok(Ok(None)) => missing_reads += 1,
            }
        }
    };
    tokio::select! {
        () = session::run(&client, &credentials.namespace, io) => Ended::Stopping,
        () = renewed => Ended::Renewed,
    }
}
