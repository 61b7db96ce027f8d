//! The pages that users read: what they show is what the program prints, their links lead somewhere, and their lists are
//! complete.
//!
//! A block of kind `console` is run if each of its commands (the lines that begin with `$ `) is one of these: `landfall` with a
//! command that needs no cluster, `dig` at a server of `landfall up`, or a program that handles files. All other blocks need a
//! cluster, a build or a network, and are passed over. Commands run in a folder of their own with a copy of the examples, and
//! what they do below `/tmp` happens there. A line `...` or `…` of an output stands for any number of lines.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(clippy::disallowed_methods, reason = "an answer that does not come must end the test")]

#[path = "../examples/client/mod.rs"]
mod client;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use client::Client;
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(30);

/// The commands of `landfall` that read files alone.
const OFFLINE: [&str; 5] = ["plan", "explain", "simulate", "up", "crds"];
const FILE_PROGRAMS: [&str; 8] = ["cat", "cp", "rm", "sed", "grep", "head", "tail", "mkdir"];
/// The first port of `landfall up`, as pages show it.
const FIRST_PORT: u16 = 5301;
/// As many as the largest example has clusters, and some more.
const PORTS: u16 = 8;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn text(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// All pages for users, relative to the root.
fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned(), "ARCHITECTURE.md".to_owned()];
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        pages.extend(name.ends_with(".md").then(|| format!("docs/{name}")));
    }
    for folder in ["examples", "charts"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let page = format!("{folder}/{name}/README.md");
            pages.extend(root().join(&page).exists().then_some(page));
        }
    }
    pages.sort();
    pages
}

/// A command, and the lines that it prints.
#[derive(Debug, Default, PartialEq)]
struct Step {
    command: String,
    output: Vec<String>,
}

/// The blocks of kind `console`, each as its steps.
fn console_blocks(text: &str) -> Vec<Vec<Step>> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("```console\n") {
        let (block, next) = after.split_once("```").unwrap();
        blocks.push(steps(block));
        rest = next;
    }
    blocks
}

fn steps(block: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = block.lines();
    while let Some(line) = lines.next() {
        let Some(command) = line.strip_prefix("$ ") else {
            if let Some(step) = steps.last_mut() {
                step.output.push(line.to_owned());
            }
            continue;
        };
        let mut command = command.to_owned();
        let here_document = command.contains("<<'EOF'");
        let goes_on = |command: &str| match here_document {
            true => !command.ends_with("\nEOF"),
            false => command.ends_with('\\'),
        };
        while goes_on(&command) {
            command.push('\n');
            command.push_str(lines.next().unwrap());
        }
        steps.push(Step { command, output: Vec::new() });
    }
    steps
}

fn needs_no_cluster(step: &Step) -> bool {
    let first_line = step.command.lines().next().unwrap_or_default();
    let first_line = first_line.split(" #").next().unwrap_or_default();
    first_line.split(" && ").flat_map(|part| part.split(" | ")).all(|part| {
        let words: Vec<&str> = part.split_whitespace().collect();
        match words[..] {
            ["landfall", command, ..] => OFFLINE.contains(&command) && !first_line.contains("--kubeconfig"),
            ["dig", server, ..] => server == "@127.0.0.1",
            [program, ..] => FILE_PROGRAMS.contains(&program),
            [] => false,
        }
    })
}

fn is_gap(line: &str) -> bool {
    ["...", "…"].contains(&line.trim())
}

/// Whether the lines are as a page shows them.
fn shows(page: &[String], printed: &[String]) -> bool {
    let same = |shown: &[String], at: usize| {
        let there = printed.get(at..at + shown.len());
        there.is_some_and(|there| shown.iter().zip(there).all(|(a, b)| a.trim_end() == b.trim_end()))
    };
    let runs: Vec<&[String]> = page.split(|line| is_gap(line)).collect();
    let mut at = 0;
    for (i, run) in runs.iter().enumerate() {
        let last = i + 1 == runs.len();
        let from = if last && i > 0 { printed.len().saturating_sub(run.len()).max(at) } else { at };
        let mut places = from..=if i == 0 { from } else { printed.len() };
        let Some(place) = places.find(|place| same(run, *place)) else { return false };
        at = place + run.len();
    }
    at == printed.len() || page.last().is_some_and(|line| is_gap(line))
}

/// `landfall up`, until it is dropped.
struct Up {
    process: Child,
    base: u16,
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The first of [`PORTS`] ports in a row that no process uses.
fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(26301);
    let free = |port: u16| {
        let address = (Ipv4Addr::LOCALHOST, port);
        UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok()
    };
    let mut attempts = (0..100).map(|_| NEXT.fetch_add(PORTS, Ordering::Relaxed));
    attempts.find(|&base| (base..base + PORTS).all(free)).unwrap()
}

/// Runs the blocks of one page, one after the other.
struct Runner {
    page: String,
    folder: tempfile::TempDir,
    up: Option<Up>,
    blocks: usize,
}

impl Runner {
    fn run(page: &str) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let copied = Command::new("cp").arg("-r").arg(root().join("examples")).arg(folder.path()).status();
        assert!(copied.unwrap().success());
        let mut runner = Self { page: page.to_owned(), folder, up: None, blocks: 0 };
        for block in console_blocks(&text(page)) {
            if !block.is_empty() && block.iter().all(needs_no_cluster) {
                runner.blocks += 1;
                block.iter().for_each(|step| runner.step(step));
            }
        }
        runner.blocks
    }

    fn step(&mut self, step: &Step) {
        if step.command.starts_with("landfall up ") {
            self.start(step);
        } else if step.command.starts_with("dig ") {
            self.ask(step);
        } else {
            self.execute(step);
        }
    }

    /// The command with what it does below /tmp in the folder of this page.
    fn command(&self, step: &Step) -> String {
        step.command.replace("/tmp/", &format!("{}/", self.folder.path().display()))
    }

    fn bash(&self, script: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_landfall")).parent().unwrap().display().to_string();
        let path = format!("{program}:{}", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(self.folder.path()).env("PATH", path).env_remove("KUBECONFIG");
        command
    }

    fn execute(&self, step: &Step) {
        let script = format!("set -eo pipefail\n{{\n{}\n}} 2>&1", self.command(step));
        let output = self.bash(&script).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let (page, command) = (&self.page, &step.command);
        assert!(output.status.success(), "{page}: $ {command}\n{printed}{}", output.status);
        let lines: Vec<String> = printed.lines().map(str::to_owned).collect();
        if !step.output.is_empty() {
            let shown = step.output.join("\n");
            assert!(shows(&step.output, &lines), "{page}: $ {command}\nprints\n{printed}and the page shows\n{shown}");
        }
    }

    /// Starts a fleet on ports of its own, and waits until it has printed what the page shows.
    fn start(&mut self, step: &Step) {
        self.up = None;
        let base = free_ports();
        let command = self.command(step);
        let command = command.split(" #").next().unwrap_or_default();
        let script = format!("exec {command} --dns 127.0.0.1:{base}");
        let mut process = self.bash(&script).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        self.up = Some(Up { process, base });
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut shown = step.output.clone();
        for line in &mut shown {
            for i in 0..PORTS {
                *line = line.replace(&format!("127.0.0.1:{}", FIRST_PORT + i), &format!("127.0.0.1:{}", base + i));
            }
        }
        shown.push("...".to_owned());
        let (mut printed, until) = (Vec::new(), Instant::now() + TIMEOUT);
        while !shows(&shown, &printed) {
            let line = receiver.recv_timeout(until.saturating_duration_since(Instant::now()));
            let failed = |_| panic!("{}: $ {}\nprints\n{}", self.page, step.command, printed.join("\n"));
            printed.push(line.unwrap_or_else(failed));
        }
    }

    /// Answers that are drawn differ; the one that the page shows must come, and soon.
    fn ask(&self, step: &Step) {
        let words: Vec<&str> = step.command.split_whitespace().collect();
        let ["dig", "@127.0.0.1", "-p", port, "+short", name, ..] = words[..] else {
            panic!("{}: $ {}: expected dig @127.0.0.1 -p PORT +short NAME", self.page, step.command);
        };
        let up = self.up.as_ref().unwrap_or_else(|| panic!("{}: dig comes after landfall up", self.page));
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, up.base + (port.parse::<u16>().unwrap() - FIRST_PORT)));
        let mut client = Client::new(server).unwrap();
        let shown: BTreeSet<String> = step.output.iter().cloned().collect();
        let until = Instant::now() + TIMEOUT;
        loop {
            let answer = client.addresses(name);
            let found = answer.iter().flatten().map(ToString::to_string).collect::<BTreeSet<_>>();
            if found == shown || (shown.is_empty() && !found.is_empty()) {
                return;
            }
            assert!(
                Instant::now() < until,
                "{}: $ {}: {answer:?}, and the page shows {shown:?}",
                self.page,
                step.command
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn commands_of_the_readme_print_what_it_shows() {
    assert!(Runner::run("README.md") >= 2, "blocks of README.md are not run any more");
}

#[test]
fn commands_of_the_other_pages_print_what_they_show() {
    let blocks: Vec<(String, usize)> = pages()
        .into_iter()
        .filter(|page| page != "README.md")
        .map(|page| (page.clone(), Runner::run(&page)))
        .filter(|(_, blocks)| *blocks > 0)
        .collect();
    let run: Vec<&str> = blocks.iter().map(|(page, _)| page.as_str()).collect();
    for page in
        ["docs/policies.md", "docs/explain.md", "examples/six-clouds/README.md", "examples/three-clusters/README.md"]
    {
        assert!(run.contains(&page), "no block of {page} is run any more; of these are: {blocks:?}");
    }
}

#[test]
fn output_is_compared_line_by_line_except_for_gaps() {
    let lines = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
    let shown = |page: &str, printed: &str| shows(&lines(page), &lines(printed));
    assert!(shown("a/b", "a/b") && shown("a/.../d", "a/b/c/d") && shown(".../d", "a/d") && shown("a/…", "a/b/c"));
    assert!(shown("a/.../b/.../d", "a/x/b/b/c/d") && shown("a/.../b", "a/b") && shown("a/.../b", "a/b/c/b"));
    assert!(!shown("a", "a/b") && !shown("b", "a/b") && !shown("a/.../b", "a/b/c") && !shown(".../x/...", "a/b"));
}

#[test]
fn blocks_that_need_a_cluster_a_build_or_a_network_are_passed_over() {
    let runs = |command: &str| needs_no_cluster(&Step { command: command.to_owned(), ..Step::default() });
    for command in
        ["landfall plan examples/six-clouds | tail -4", "rm -rf /tmp/a && cp -r b /tmp/a", "landfall up /tmp/a   # x"]
    {
        assert!(runs(command), "{command}");
    }
    let others = [
        "make demo",
        "kubectl get nodes",
        "landfall drain west",
        "landfall explain a/b --kubeconfig x",
        "cargo build && landfall up x",
    ];
    for command in others {
        assert!(!runs(command), "{command}");
    }
}

/// The anchors of a page, as GitHub makes them of its headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
            .collect::<String>();
        kept.replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn links_between_pages_lead_to_files_and_headings_that_exist() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = text(&page);
        let folder = root().join(&page).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { root().join(&page) } else { folder.join(path) };
            let known = || fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(anchor));
            if !target.exists() || (!anchor.is_empty() && !known()) {
                broken.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn prose_of_the_pages_wraps_at_120_columns() {
    let mut long = Vec::new();
    for page in pages().into_iter().filter(|page| page != "CHANGELOG.md" && page != "ARCHITECTURE.md") {
        let mut code = false;
        for (i, line) in text(&page).lines().enumerate() {
            code ^= line.starts_with("```");
            if !code && !line.starts_with('|') && line.chars().count() > 120 {
                long.push(format!("{page}:{}", i + 1));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The names of metrics in a source file: literals that a literal with a sentence, or `help`, follows.
fn metric_names(source: &str) -> BTreeSet<String> {
    let parts: Vec<&str> = source.split('"').collect();
    let name = |window: &[&str]| {
        let [name, between, after] = window else { return None };
        let is_name = name.len() > 3 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let between = between.trim();
        let sentence = between == "," && after.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit());
        (is_name && (sentence || between.starts_with(", help"))).then(|| (*name).to_owned())
    };
    parts.windows(3).filter_map(name).collect()
}

#[test]
fn every_metric_is_in_the_list_of_metrics() {
    let page = text("docs/metrics.md");
    let mut files = Vec::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        sources(&entry.unwrap().path().join("src"), &mut files);
    }
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
    let names: BTreeSet<String> =
        texts.filter(|text| text.contains("prometheus_client")).flat_map(|text| metric_names(&text)).collect();
    assert!(names.len() >= 25, "the names of metrics are not found in the sources any more: {names:?}");
    let missing: Vec<&String> = names.iter().filter(|name| !page.contains(&format!("landfall_{name}"))).collect();
    assert!(missing.is_empty(), "docs/metrics.md does not have {missing:?}");
    let listed = page
        .split('`')
        .filter_map(|code| code.strip_prefix("landfall_"))
        .filter(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    let gone: Vec<&str> = listed.filter(|name| !names.contains(name.trim_end_matches("_total"))).collect();
    assert!(gone.is_empty(), "docs/metrics.md has {gone:?}, and the sources do not");
}

#[test]
fn every_reason_of_a_cluster_is_in_operations() {
    let page = text("docs/operations.md");
    let missing: Vec<&str> = landfall_core::rule::Reason::ALL
        .iter()
        .map(|reason| reason.as_str())
        .filter(|reason| !page.contains(&format!("| `{reason}` |")))
        .collect();
    assert!(missing.is_empty(), "docs/operations.md does not have {missing:?}");
}

fn landfall(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_landfall")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_flag_is_in_the_configuration_reference() {
    let page = text("docs/configuration.md");
    for command in ["up", "operator", "dns", "plan", "explain", "simulate", "drain"] {
        let help = landfall(&[command, "--help"]);
        let flag = |line: &str| {
            let (_, flag) = line.trim_start().starts_with('-').then(|| line.split_once("--"))??;
            Some(flag.split(|c: char| !c.is_ascii_lowercase() && c != '-').next()?.to_owned())
        };
        let missing: Vec<String> =
            help.lines().filter_map(flag).filter(|flag| !page.contains(&format!("`--{flag}"))).collect();
        assert!(missing.is_empty(), "docs/configuration.md does not have the flags {missing:?} of landfall {command}");
    }
}

/// The names of all fields below a schema, but for those of conditions, which are Kubernetes' own.
fn fields(schema: &Value, found: &mut BTreeSet<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        found.insert(name.clone());
        if name != "conditions" {
            fields(property, found);
        }
    }
    if schema["items"].is_object() {
        fields(&schema["items"], found);
    }
}

#[test]
fn every_field_of_a_custom_resource_is_in_the_configuration_reference() {
    let page = text("docs/configuration.md");
    let crds: Vec<Value> = serde_saphyr::from_multiple(&landfall(&["crds"])).unwrap();
    for crd in crds {
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut found = BTreeSet::new();
        ["spec", "status"].iter().for_each(|part| fields(&schema["properties"][part], &mut found));
        let missing: Vec<&String> = found.iter().filter(|field| !page.contains(field.as_str())).collect();
        assert!(
            missing.is_empty(),
            "docs/configuration.md does not have the fields {missing:?} of {}",
            crd["metadata"]["name"]
        );
    }
}
