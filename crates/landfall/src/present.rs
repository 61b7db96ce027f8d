//! Turns arguments into an inspection of the present: of a folder, or of a cluster and its broker.

use std::path::Path;

use anyhow::Result;

use crate::args::ApiServer;
use crate::process::{init_log, runtime};
use landfall_operator::actions::inspect::{self, Inspection};
use landfall_operator::actions::options::ClusterOptions;
use landfall_operator::kubernetes::connect::LOG_TARGET;

/// Returns the log filter of commands that read a cluster once: only why the API server does not answer. Missing kinds are not
/// a problem for them.
pub fn connection_errors() -> String {
    format!("off,{LOG_TARGET}=warn")
}

/// Reads the folder if one is given, otherwise the cluster.
pub fn inspect(dir: Option<&Path>, server: &ApiServer) -> Result<Inspection> {
    if let Some(dir) = dir {
        return Ok(inspect::folder(dir, &server.namespace)?);
    }
    init_log(&connection_errors());
    Ok(runtime()?.block_on(inspect::cluster(&cluster_options(server)))?)
}

/// Returns the arguments without their clap types.
pub fn cluster_options(server: &ApiServer) -> ClusterOptions {
    ClusterOptions {
        kubeconfig: server.kubeconfig.clone(),
        cluster_id: server.cluster_id.clone(),
        namespace: server.namespace.clone(),
        submariner_namespace: server.submariner_namespace.clone(),
        broker: server.broker_kubeconfig.clone().map(|path| (path, server.broker_namespace.clone())),
    }
}
