//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

#[derive(Debug, Parser)]
#[command(name = "landfall", version, about = "Decides which cluster of a fleet answers, and makes DNS follow.")]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print who would answer whom, from a folder of manifests, and exit
    Plan(Plan),
    /// Print the custom resource definitions, to be applied with kubectl
    Crds,
}

#[derive(Debug, clap::Args)]
pub struct Plan {
    #[command(flatten)]
    pub fleet: Fleet,
    /// How to print: a table for people, a List of ServiceSelections for programs
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

#[derive(Debug, clap::Args)]
pub struct Fleet {
    /// A folder with one sub-folder per cluster, named by the cluster's id, of manifests as `kubectl get -o yaml` prints
    /// them
    pub dir: PathBuf,
    /// The operator's namespace: a SelectionPolicy there without targetRefs is for every service
    #[arg(long, default_value = "landfall-system")]
    pub namespace: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
    Yaml,
}
