//! What is published for the examples stays as it is, byte for byte but for the time.
//!
//! `recorded/` was written by the release before the crate `controller`. After a change that is meant to change what is
//! published, write it again:
//!
//!     landfall plan examples/NAME -o yaml | sed 's/observedTime: .*/observedTime: NOW/' \
//!         > crates/landfall/tests/recorded/NAME.yaml

#![allow(clippy::unwrap_used, reason = "a failed unwrap names its line")]

use std::process::Command;

fn published(example: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_landfall"))
        .args(["plan", &format!("examples/{example}"), "-o", "yaml"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let masked = |line: &str| match line.split_once("observedTime: ") {
        Some((indent, _)) => format!("{indent}observedTime: NOW\n"),
        None => format!("{line}\n"),
    };
    String::from_utf8(output.stdout).unwrap().lines().map(masked).collect()
}

fn assert_as_recorded(example: &str, recorded: &str) {
    let published = published(example);
    let first = published.lines().zip(recorded.lines()).position(|(now, before)| now != before);
    let shown =
        |text: &str| text.lines().skip(first.unwrap_or(0).saturating_sub(3)).take(7).collect::<Vec<_>>().join("\n");
    assert!(published == recorded, "{example}:\n{}\n\nrecorded:\n{}", shown(&published), shown(recorded));
}

#[test]
fn three_clusters_publish_what_they_published() {
    assert_as_recorded("three-clusters", include_str!("recorded/three-clusters.yaml"));
}

#[test]
fn six_clouds_publish_what_they_published() {
    assert_as_recorded("six-clouds", include_str!("recorded/six-clouds.yaml"));
}
