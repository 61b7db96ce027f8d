//! `dig` as an independent client: its output shows how a user's resolver understands a reply.

use std::fmt;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// Reply as `dig` printed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dug {
    /// `NOERROR`, `NXDOMAIN`, …
    pub status: String,
    /// Flags such as `qr aa`.
    pub flags: Vec<String>,
    pub answer: Vec<Record>,
    pub authority: Vec<Record>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub name: String,
    pub ttl: u32,
    pub kind: String,
    pub data: String,
}

impl Dug {
    /// Returns the data of the answer's records, sorted. The order of an answer is random.
    #[must_use]
    pub fn sorted(&self) -> Vec<&str> {
        let mut data: Vec<&str> = self.answer.iter().map(|record| record.data.as_str()).collect();
        data.sort_unstable();
        data
    }
}

impl fmt::Display for Dug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.status, self.sorted())
    }
}

/// Asks `server`. `query` has the arguments of dig: `["web.shop.svc.clusterset.local", "A", "+tcp"]`.
pub async fn dig(server: SocketAddr, query: &[&str]) -> Result<Dug> {
    let mut command = Command::new("dig");
    command.arg(format!("@{}", server.ip())).args(["-p", &server.port().to_string()]);
    // One try, because a retry would hide a lost answer. -r ignores the user's ~/.digrc.
    command.args(["-r", "+tries=1", "+time=2", "+noall", "+comments", "+answer", "+authority"]).args(query);
    let output = command.output().await.context("run dig (package bind9-dnsutils; scripts/deps-e2e.sh installs it)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "dig {} got no reply: {}", query.join(" "), text.trim());
    parse(&text).with_context(|| format!("dig {} printed {text:?}", query.join(" ")))
}

fn parse(text: &str) -> Result<Dug> {
    let status = between(text, "status: ", ",").context("no status")?.to_owned();
    let flags = between(text, ";; flags: ", ";").context("no flags")?.split(' ').map(String::from).collect();
    Ok(Dug { status, flags, answer: section(text, "ANSWER")?, authority: section(text, "AUTHORITY")? })
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}

/// Parses the records below `;; NAME SECTION:` up to the next empty line.
fn section(text: &str, name: &str) -> Result<Vec<Record>> {
    let Some((_, rest)) = text.split_once(&format!(";; {name} SECTION:\n")) else { return Ok(Vec::new()) };
    rest.lines().take_while(|line| !line.is_empty()).map(record).collect()
}

fn record(line: &str) -> Result<Record> {
    let mut fields = line.split_whitespace();
    let mut next = || fields.next().with_context(|| format!("{line:?} is not a record"));
    let (name, ttl, _class, kind) = (next()?.to_owned(), next()?.parse()?, next()?, next()?.to_owned());
    Ok(Record { name, ttl, kind, data: fields.collect::<Vec<_>>().join(" ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = ";; Got answer:
;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 21411
;; flags: qr aa; QUERY: 1, ANSWER: 2, AUTHORITY: 0, ADDITIONAL: 1

;; OPT PSEUDOSECTION:
; EDNS: version: 0, flags:; udp: 1232
;; ANSWER SECTION:
web.shop.svc.clusterset.local. 5 IN A\t10.2.0.1
web.shop.svc.clusterset.local. 5 IN A\t10.1.0.1

";

    #[test]
    fn output_of_dig_is_parsed() -> Result<()> {
        let dug = parse(PRINTED)?;
        assert_eq!(dug.status, "NOERROR");
        assert_eq!(dug.flags, ["qr", "aa"]);
        assert_eq!(dug.sorted(), ["10.1.0.1", "10.2.0.1"]);
        assert_eq!((dug.answer[0].ttl, dug.answer[0].kind.as_str()), (5, "A"));
        assert!(dug.authority.is_empty());
        Ok(())
    }
}
