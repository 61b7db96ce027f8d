//! `landfall up`: a whole fleet from a folder, in one process.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::{Context, Result};
use landfall_core::name::ClusterId;
use landfall_operator::accept::Facts;
use landfall_operator::files::{FileProblem, follow};
use landfall_operator::pipeline::{self, Pipeline};
use landfall_operator::run::unix_seconds;
use landfall_operator::stores::{Change, Touched};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::commands::serve::{answers, log, runtime, stopped};
use crate::table::{self, Source};
use crate::{WELL, args, fleet};

/// Changes that wait for a pipeline; a full queue holds back the reader of the files.
const CHANGES: usize = 1024;
/// Changes that come together are shown together.
const SETTLE: Duration = Duration::from_millis(100);

/// Of a large fleet, what somebody can still look at.
const ROWS: usize = 100;

pub fn run(args: &args::Up) -> Result<u8> {
    // What is wrong with the manifests stands below the table.
    log("error");
    runtime()?.block_on(up(args))?;
    Ok(WELL)
}

async fn up(args: &args::Up) -> Result<()> {
    let stop = stopped()?;
    fleet::strays(&args.fleet).iter().for_each(|stray| eprintln!("{stray}"));
    let mut tasks: JoinSet<Result<()>> = JoinSet::new();
    let (mut screens, mut queues, mut words) = (Vec::new(), Vec::new(), Vec::new());
    let readers = Arc::new(Semaphore::new(available_parallelism().map_or(1, Into::into)));
    for (k, (folder, pipeline)) in (0_u16..).zip(fleet::clusters(&args.fleet)?) {
        // With port 0 the system chooses each of them.
        let offset = if args.dns.port() == 0 { 0 } else { k };
        let port = args.dns.port().checked_add(offset).context("--dns: there are not enough ports for all clusters")?;
        let listen = SocketAddr::new(args.dns.ip(), port);
        let config = landfall_dns::Config { udp_threads: NonZeroUsize::MIN, ..answers(&args.answers, listen)? };
        let server = landfall_dns::bind(config).context("choose other ports with --dns ADDR:PORT")?;
        let (screen, shown) = watch::channel(Screen::default());
        let (problems, file_problems) = watch::channel(Vec::new());
        let cluster = folder.cluster.clone();
        screens.push(ClusterScreen { cluster, listen: server.local_addr(), shown, file_problems });
        let (changes, queue) = mpsc::channel(CHANGES);
        queues.push((folder.cluster.clone(), changes.clone()));
        let (followed, stopped) = (follow(folder, changes, problems, Arc::clone(&readers)), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                ended = followed => ended.map_err(Into::into),
                () = stopped.cancelled() => Ok(()),
            }
        });
        let (own, said) = watch::channel(None);
        words.push(said);
        start(&mut tasks, (pipeline, queue), server, Shown { screen, own }, &stop);
    }
    words.into_iter().for_each(|said| drop(tasks.spawn(tell(said, queues.clone()))));
    tasks.spawn(show(screens, stop.clone()));
    let ended = tokio::select! {
        () = stop.cancelled() => Ok(()),
        Some(ended) = tasks.join_next() => ended.context("a task panicked").and_then(|ended| ended),
    };
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    ended
}

/// What there is to see of a cluster.
#[derive(Debug, Clone, Default)]
struct Screen {
    source: Option<Source>,
    problems: BTreeSet<String>,
}

struct ClusterScreen {
    cluster: ClusterId,
    listen: SocketAddr,
    shown: watch::Receiver<Screen>,
    file_problems: watch::Receiver<Vec<FileProblem>>,
}

/// What others see of a cluster.
struct Shown {
    screen: watch::Sender<Screen>,
    /// What it says of itself.
    own: watch::Sender<Option<Arc<Facts>>>,
}

/// Tells all other clusters what one says of itself, as a broker would.
async fn tell(
    mut said: watch::Receiver<Option<Arc<Facts>>>,
    queues: Vec<(ClusterId, mpsc::Sender<Change>)>,
) -> Result<()> {
    while said.changed().await.is_ok() {
        let Some(facts) = said.borrow_and_update().clone() else { continue };
        for (_, queue) in queues.iter().filter(|(cluster, _)| *cluster != facts.cluster) {
            // Who is not there any more needs nothing.
            let _ = queue.send(Change::Peer(Arc::clone(&facts))).await;
        }
    }
    Ok(())
}

fn start(
    tasks: &mut JoinSet<Result<()>>,
    (pipeline, queue): (Pipeline, mpsc::Receiver<Change>),
    server: landfall_dns::Server,
    shown: Shown,
    stop: &CancellationToken,
) {
    let (plans, plan) = watch::channel(None);
    let observer = move |pipeline: &Pipeline, _: &Touched| {
        let next = Screen { source: Source::of(pipeline), problems: fleet::problems(pipeline) };
        shown.screen.send_replace(next);
        let own = Arc::new(pipeline.own_facts());
        shown.own.send_if_modified(|known| {
            let news = known.as_ref() != Some(&own);
            *known = Some(own);
            news
        });
    };
    let pipeline = pipeline::run(pipeline, queue, plans, observer, (unix_seconds, stop.clone()));
    tasks.spawn(async move {
        pipeline.await;
        Ok(())
    });
    let stop = stop.clone();
    tasks.spawn(async move { server.serve(plan, stop).await.map_err(Into::into) });
}

/// Keeps the table current: drawn again on a terminal, printed again elsewhere.
async fn show(mut screens: Vec<ClusterScreen>, stop: CancellationToken) -> Result<()> {
    let terminal = std::io::stdout().is_terminal();
    let mut before = String::new();
    loop {
        let text = render(&mut screens);
        if screens.iter().all(|screen| screen.shown.borrow().source.is_some()) && text != before {
            let clear = if terminal { "\x1b[2J\x1b[H" } else { "" };
            let mut out = std::io::stdout().lock();
            // Whoever read the table is gone; the servers are not.
            let _ = writeln!(out, "{clear}{text}").and_then(|()| out.flush());
            before = text;
        }
        let changes = screens.iter_mut().map(|screen| Box::pin(screen.changed()));
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = futures::future::select_all(changes) => tokio::time::sleep(SETTLE).await,
        }
    }
}

impl ClusterScreen {
    async fn changed(&mut self) {
        let ended = tokio::select! {
            changed = self.shown.changed() => changed.is_err(),
            changed = self.file_problems.changed() => changed.is_err(),
        };
        if ended {
            std::future::pending::<()>().await;
        }
    }
}

fn render(screens: &mut [ClusterScreen]) -> String {
    let mut sources = Vec::new();
    let mut problems = BTreeSet::new();
    let mut dns = vec![["CLUSTER".to_owned(), "DNS".to_owned()]];
    for screen in screens {
        let shown = screen.shown.borrow_and_update().clone();
        sources.extend(shown.source);
        problems.extend(shown.problems);
        let in_files = screen.file_problems.borrow_and_update();
        problems.extend(in_files.iter().map(|problem| format!("skipped: {problem}")));
        dns.push([screen.cluster.to_string(), screen.listen.to_string()]);
    }
    let expected = table::expected(&sources);
    let shares = table::shares(sources.into_iter());
    let mut text: String = shares.split_inclusive('\n').take(ROWS).collect();
    let more = shares.lines().count().saturating_sub(ROWS);
    if more > 0 {
        text.push_str(&format!("and {more} rows more; landfall plan prints all\n"));
    }
    for more in [expected, table::align(dns)].iter().filter(|more| !more.is_empty()) {
        text.push('\n');
        text.push_str(more);
    }
    if !problems.is_empty() {
        text.push('\n');
        problems.iter().for_each(|problem| text.push_str(&format!("{problem}\n")));
    }
    text
}
