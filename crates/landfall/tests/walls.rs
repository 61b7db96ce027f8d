//! The walls inside the crates: no circle of files, and modules in reading order.
//!
//! A file may use what stands before it in `lib.rs` (or `main.rs`, or `mod.rs` within a folder), and nothing that stands after
//! it. Tests at the end of a file may use everything.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// `a::b` for `src/a/b.rs` and `src/a/b/mod.rs`; empty for the root.
type Module = Vec<String>;

/// The modules of a crate and their source without comments and tests.
struct Source {
    modules: BTreeMap<Module, String>,
}

impl Source {
    fn of(src: &Path) -> Self {
        let mut modules = BTreeMap::new();
        for path in rust_files(src) {
            let inside = path.strip_prefix(src).unwrap().with_extension("");
            let mut module: Module = inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            if ["mod", "lib", "main"].contains(&module.last().unwrap().as_str()) {
                module.pop();
            }
            let text = code(&fs::read_to_string(&path).unwrap());
            // A binary and a library in one crate would share the root; no crate of ours has both.
            modules.insert(module, text);
        }
        Self { modules }
    }

    /// The file that a path leads to: the longest prefix that is a module.
    fn file_of(&self, path: &[String]) -> Module {
        (0..=path.len()).rev().map(|end| path[..end].to_vec()).find(|prefix| self.modules.contains_key(prefix)).unwrap()
    }

    /// What each file uses.
    fn arrows(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let used = |(module, text): (&Module, &String)| {
            let children = self.order(module);
            let uses = paths(text, module, &children).into_iter().map(|path| self.file_of(&path));
            (module.clone(), uses.filter(|to| to != module).collect())
        };
        self.modules.iter().map(used).collect()
    }

    /// The children of a module in the order in which it declares them.
    fn order(&self, parent: &[String]) -> Vec<String> {
        let declared = |line: &str| {
            let line =
                line.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ").trim_start_matches("pub ");
            Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_owned())
        };
        self.modules[parent].lines().filter_map(declared).collect()
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The text up to the tests, without comments and strings that are whole lines.
fn code(text: &str) -> String {
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]");
    let lines = lines.map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// All paths that begin with `crate`, `super`, `self` or a child module, from the root of the crate.
fn paths(text: &str, module: &[String], children: &[String]) -> Vec<Vec<String>> {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    let starts = ["crate", "super", "self"].into_iter().chain(children.iter().map(String::as_str));
    for start in starts.map(|start| format!("{start}::")) {
        for (at, _) in flat.match_indices(&start) {
            let before = flat[..at].chars().next_back();
            if before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':' && c != '$') {
                expand(&flat[at..], &mut Vec::new(), &mut |path| found.push(from_root(path, module)));
            }
        }
    }
    found
}

/// Calls `each` for every path of a tree such as `crate::a::{b, c::{D, E}}`. Returns what follows the tree.
fn expand<'a>(tree: &'a str, prefix: &mut Vec<String>, each: &mut impl FnMut(&[String])) -> &'a str {
    let end = tree.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(tree.len());
    let (name, rest) = tree.split_at(end);
    prefix.push(name.to_owned());
    let rest = match rest.strip_prefix("::") {
        Some(group) if group.starts_with('{') => {
            let mut group = &group[1..];
            loop {
                group = group.trim_start();
                if let Some(rest) = group.strip_prefix('}') {
                    break rest;
                }
                group = expand(group, prefix, each);
                group = group.trim_start_matches(|c: char| c != ',' && c != '}').trim_start_matches(',');
                if group.is_empty() {
                    break group;
                }
            }
        }
        Some(inner) => expand(inner, prefix, each),
        None => {
            each(prefix);
            rest
        }
    };
    prefix.pop();
    rest
}

fn from_root(path: &[String], module: &[String]) -> Vec<String> {
    let mut base = module.to_vec();
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        match first.as_str() {
            "crate" => base.clear(),
            "super" => drop(base.pop()),
            "self" => {}
            _ => break,
        }
        rest = tail;
    }
    base.extend(rest.iter().cloned());
    base
}

/// A circle, if there is one: files that are left when those that use nothing that is left are taken away, again and again.
fn circle(arrows: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<String> {
    let mut left = arrows.clone();
    loop {
        let free: Vec<Module> = left
            .iter()
            .filter(|(_, uses)| uses.iter().all(|to| !left.contains_key(to)))
            .map(|(m, _)| m.clone())
            .collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|module| drop(left.remove(module)));
    }
    // Without those that nothing in the circle uses.
    loop {
        let used: BTreeSet<Module> = left.values().flatten().cloned().collect();
        let before = left.len();
        left.retain(|module, _| used.contains(module));
        if left.len() == before {
            break;
        }
    }
    left.keys().map(|module| module.join("::")).collect()
}

/// Uses of a module that stands later than the one that uses it.
fn back_up(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    for (from, uses) in source.arrows() {
        for to in uses {
            let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            let (Some(a), Some(b)) = (from.get(common), to.get(common)) else { continue };
            let order = source.order(&from[..common]);
            let at = |name: &String| order.iter().position(|other| other == name);
            if at(a) < at(b) {
                wrong.push(format!("{} uses {}, which stands after it", from.join("::"), to.join("::")));
            }
        }
    }
    wrong
}

fn crates() -> Vec<(String, PathBuf)> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let named = |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), entry.path().join("src"));
    let crates: Vec<_> = fs::read_dir(all).unwrap().map(|entry| named(entry.unwrap())).collect();
    assert!(crates.len() >= 7, "{crates:?}");
    crates
}

#[test]
fn no_crate_has_a_circle_of_files() {
    let circles = crates().into_iter().map(|(name, src)| (name, circle(&Source::of(&src).arrows())));
    let circles: Vec<_> = circles.filter(|(_, circle)| !circle.is_empty()).collect();
    assert!(circles.is_empty(), "these files use each other: {circles:#?}");
}

#[test]
fn modules_use_only_modules_that_stand_before_them() {
    let wrong = crates().into_iter().map(|(name, src)| (name, back_up(&Source::of(&src))));
    let wrong: Vec<_> = wrong.filter(|(_, wrong)| !wrong.is_empty()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What decides is given its inputs. Dependencies cannot hold this, because the standard library has a clock, files and
/// sockets too.
#[test]
fn crates_that_decide_use_no_clock_no_files_and_no_sockets() {
    let forbidden = [
        "std::fs",
        "std::env",
        "std::thread",
        "std::process",
        "Instant",
        "SystemTime",
        "TcpStream",
        "UdpSocket",
        "println!",
    ];
    for (name, src) in crates().into_iter().filter(|(name, _)| ["core", "api", "controller"].contains(&name.as_str())) {
        for (module, text) in Source::of(&src).modules {
            let found: Vec<_> = forbidden.iter().filter(|word| text.contains(**word)).collect();
            assert!(found.is_empty(), "{name}::{} uses {found:?}", module.join("::"));
        }
    }
}

/// A crate as text: module and code.
fn source(files: &[(&str, &str)]) -> Source {
    let module = |name: &str| name.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
    Source { modules: files.iter().map(|(name, text)| (module(name), code(text))).collect() }
}

#[test]
fn circle_is_found_through_groups_inline_paths_and_parents() {
    let through_group =
        source(&[("", ""), ("a", "use crate::{b::X, c};"), ("b", "use super::a::{self, Y};"), ("c", "")]);
    assert_eq!(circle(&through_group.arrows()), ["a", "b"]);
    let inline = source(&[("", ""), ("a", "fn f() { crate::b::g(); }"), ("b", "use crate::a::f;")]);
    assert_eq!(circle(&inline.arrows()), ["a", "b"]);
    let parent = source(&[("", ""), ("a", "mod b;\nuse self::b::X;"), ("a::b", "use super::LIMIT;")]);
    assert_eq!(circle(&parent.arrows()), ["a", "a::b"]);
    let in_tests =
        source(&[("", ""), ("a", "use crate::b::X;"), ("b", "#[cfg(test)]\nmod tests { use crate::a::Y; }")]);
    assert!(circle(&in_tests.arrows()).is_empty());
}

#[test]
fn use_of_a_later_module_is_found() {
    let files = [("", "mod a;\npub mod b;"), ("a", "use crate::b::X;"), ("b", "")];
    assert_eq!(back_up(&source(&files)), ["a uses b, which stands after it"]);
    let files = [
        ("", "mod b;\nmod a;"),
        ("a", "mod y;\nmod x;"),
        ("a::x", "use super::y::Z;\nuse crate::b;"),
        ("a::y", ""),
        ("b", ""),
    ];
    assert!(back_up(&source(&files)).is_empty());
}
