//! `landfall up`: runs a whole fleet from a folder, in one process.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::{Context, Result};
use landfall_controller::pipeline::Pipeline;
use landfall_operator::files::folder::Folder;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::args::UpArgs;
use crate::output;
use crate::process::{cancelled_by_signals, init_log, runtime};
use crate::table::{self, plan};
use landfall_controller::findings;
use landfall_operator::files::fleet;
use landfall_operator::run::up::{self, ClusterView};

/// Pause before the table is printed, so that changes that come together are shown together.
const SETTLE_TIME: Duration = Duration::from_millis(100);
/// Rows of the table that are shown of a large fleet.
const MAX_ROWS: usize = 100;

pub fn run(args: &UpArgs) -> Result<u8> {
    // The table lists what is wrong with the manifests, so only errors are logged.
    init_log("error");
    runtime()?.block_on(up(args))?;
    Ok(output::OK)
}

async fn up(args: &UpArgs) -> Result<()> {
    let stop = cancelled_by_signals()?;
    output::print_findings(&fleet::strays(&args.folder.dir));
    let clusters = fleet::clusters(&args.folder.dir, &args.folder.namespace)?;
    let clusters = (0_u16..).zip(clusters).map(|(index, cluster)| with_server(args, index, cluster));
    let clusters = clusters.collect::<Result<Vec<_>>>()?;
    let mut tasks = JoinSet::new();
    let views = up::start(&mut tasks, clusters, &stop);
    let shown = stop.clone();
    tasks.spawn(async move {
        show(views, shown).await;
        Ok(())
    });
    let ended = tokio::select! {
        () = stop.cancelled() => Ok(()),
        Some(ended) = tasks.join_next() => ended.context("a task panicked").and_then(|ended| Ok(ended?)),
    };
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    ended
}

/// Binds the DNS server of a cluster: the first cluster has the port of `--dns`, the others the ports that follow.
fn with_server(
    args: &UpArgs,
    index: u16,
    (folder, pipeline): (Folder, Pipeline),
) -> Result<(Folder, Pipeline, landfall_dns::Server)> {
    // With port 0 the system chooses a port for each.
    let offset = if args.dns.port() == 0 { 0 } else { index };
    let port = args.dns.port().checked_add(offset).context("--dns: there are not enough ports for all clusters")?;
    let listen = SocketAddr::new(args.dns.ip(), port);
    let config = landfall_dns::Config { udp_threads: NonZeroUsize::MIN, ..args.answers.config(listen)? };
    let server = landfall_dns::bind(config).context("choose other ports with --dns ADDR:PORT")?;
    Ok((folder, pipeline, server))
}

/// Keeps the table current until `stop` is cancelled: redraws it on a terminal, prints it again elsewhere.
async fn show(mut views: Vec<ClusterView>, stop: CancellationToken) {
    let terminal = std::io::stdout().is_terminal();
    let mut before = String::new();
    loop {
        let text = screen(&mut views);
        if views.iter().all(|view| view.state.borrow().plan.is_some()) && text != before {
            let clear = if terminal { "\x1b[2J\x1b[H" } else { "" };
            let mut out = std::io::stdout().lock();
            // Without a reader of the table the servers keep running.
            let _ = writeln!(out, "{clear}{text}").and_then(|()| out.flush());
            before = text;
        }
        let changes = views.iter_mut().map(|view| Box::pin(changed(view)));
        tokio::select! {
            () = stop.cancelled() => return,
            _ = futures::future::select_all(changes) => tokio::time::sleep(SETTLE_TIME).await,
        }
    }
}

/// Waits for a change. Never returns once the tasks of the cluster have ended.
async fn changed(view: &mut ClusterView) {
    let ended = tokio::select! {
        changed = view.state.changed() => changed.is_err(),
        changed = view.file_problems.changed() => changed.is_err(),
    };
    if ended {
        std::future::pending::<()>().await;
    }
}

fn screen(views: &mut [ClusterView]) -> String {
    let mut plans = Vec::new();
    let mut problems = BTreeSet::new();
    let mut dns = vec![["CLUSTER".to_owned(), "DNS".to_owned()]];
    for view in views {
        let state = view.state.borrow_and_update().clone();
        plans.extend(state.plan);
        problems.extend(state.findings);
        problems.extend(view.file_problems.borrow_and_update().iter().map(findings::in_file));
        dns.push([view.cluster.to_string(), view.listen.to_string()]);
    }
    let summaries = plan::summaries(&plans);
    let shares = plan::shares(plans.into_iter());
    let mut text: String = shares.split_inclusive('\n').take(MAX_ROWS).collect();
    let more = shares.lines().count().saturating_sub(MAX_ROWS);
    if more > 0 {
        text.push_str(&format!("{more} more rows; landfall plan prints all of them\n"));
    }
    for section in [summaries, table::align(dns)].iter().filter(|section| !section.is_empty()) {
        text.push('\n');
        text.push_str(section);
    }
    if !problems.is_empty() {
        text.push('\n');
        problems.iter().for_each(|problem| text.push_str(&format!("{problem}\n")));
    }
    text
}
