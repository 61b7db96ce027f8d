//! What clusters tell each other: ClusterFacts on the broker, a Kubernetes API server that all of them reach.
//!
//! ```text
//! own facts ── build ──▶ objects ── write ──▶ broker ── watch ──▶ board (whose, how old, how absurd) ──▶ PeerEvent::Reported
//! ```
//!
//! What comes back is what is planned from, the own facts included: a cluster that knew more about itself than the others do
//! would plan something else for all than they do. While the broker is away nothing comes back, nothing grows older, and so
//! nothing changes but health.

pub mod credentials;
mod writer;
mod io;
mod session;

use std::time::Duration;

use tokio::time::{sleep, timeout};

use self::credentials::{Credentials, Source, connect, find};
pub use self::io::Ends;
use landfall_controller::broker::objects::Identity;
use landfall_controller::change::BrokerState;
use landfall_controller::change::PeerEvent;

/// Between two looks for other credentials.
const CREDENTIALS: Duration = Duration::from_secs(5);
/// In looks: an API server that restarts says for a moment that there are no such resources, and a fleet must not go with it.
const GONE_AFTER: u32 = 6;
/// For one look.
const PATIENCE: Duration = Duration::from_secs(10);

/// Goes on until the receiver of changes is gone.
pub async fn run(source: Source, mut ends: Ends) {
    let mut said: Option<Option<BrokerState>> = None;
    loop {
        let found = timeout(PATIENCE, find(&source)).await;
        let lost = match found {
            Ok(Ok(Some(credentials))) => {
                tracing::info!(namespace = credentials.namespace, "using a broker");
                said = None;
                let ended = follow(&source, credentials, &mut ends).await;
                match ended {
                    Ended::Renewed => continue,
                    Ended::Stopping => return,
                    Ended::Unusable(why) => why,
                }
            }
            Ok(Ok(None)) => {
                if said.replace(None) != Some(None) && ends.changes.send(PeerEvent::Broker(None).into()).await.is_err()
                {
                    return;
                }
                sleep(CREDENTIALS).await;
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the credentials of the broker were not answered in time".to_owned(),
        };
        let state = Some(BrokerState { lost: Some(lost.as_str().into()), ..BrokerState::default() });
        if said.as_ref() != Some(&state) {
            tracing::warn!(why = lost, "no broker; going on with what was heard last, and trying again");
            said = Some(state.clone());
            if ends.changes.send(PeerEvent::Broker(state).into()).await.is_err() {
                return;
            }
        }
        sleep(CREDENTIALS).await;
    }
}

/// What is known of the broker at this moment, for who looks once.
pub async fn look(source: &Source, identity: Identity, clock: fn() -> u64) -> Result<Vec<PeerEvent>, String> {
    let found = timeout(PATIENCE, find(source)).await.map_err(|_| "no answer in time".to_owned())?;
    let Some(credentials) = found.map_err(|error| error.to_string())? else { return Ok(vec![PeerEvent::Broker(None)]) };
    let client = connect(&credentials).await?;
    timeout(PATIENCE, session::once(&client, &credentials.namespace, identity, clock))
        .await
        .map_err(|_| "the broker does not answer in time".to_owned())?
}

enum Ended {
    /// There are other credentials.
    Renewed,
    Unusable(String),
    Stopping,
}

/// Uses these credentials until there are others.
async fn follow(source: &Source, credentials: Credentials, ends: &mut Ends) -> Ended {
    let client = match connect(&credentials).await {
        Ok(client) => client,
        Err(why) => return Ended::Unusable(format!("the credentials of the broker cannot be used: {why}")),
    };
    let renewed = async {
        let mut missing = 0;
        while missing < GONE_AFTER {
            sleep(CREDENTIALS).await;
            match timeout(PATIENCE, find(source)).await {
                // What cannot be read now may still be right.
                Err(_) | Ok(Err(_)) => {}
                Ok(Ok(Some(found))) if found.fingerprint == credentials.fingerprint => missing = 0,
                Ok(Ok(Some(_))) => return,
                Ok(Ok(None)) => missing += 1,
            }
        }
    };
    tokio::select! {
        () = session::run(&client, &credentials.namespace, ends) => Ended::Stopping,
        () = renewed => Ended::Renewed,
    }
}
