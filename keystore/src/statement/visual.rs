//! The text that the device shows with a statement: see [`super::Statement::visual`].

use super::{Statement, Subject};

/// Longest text: the device shows about 112 characters on a page, and adds the name of the key.
pub const MAX_VISUAL: usize = 200;

/// Longest text that goes with an OpenPGP signature, beside the user ID.
const MAX_PURPOSE: usize = 100;

pub(super) fn text(statement: &Statement) -> String {
    let names: Vec<_> = statement.subjects().iter().map(Subject::short).collect();
    let before = format!("bcm v1 {} ", statement.kind().tag());
    let after = end(statement);
    let room = MAX_VISUAL - before.len() - after.len();
    format!("{before}{}{after}", list(&names, room))
}

/// Returns the text for the OpenPGP signature, which covers none of it.
pub(super) fn purpose(statement: &Statement) -> String {
    let text = text(statement);
    if text.len() <= MAX_PURPOSE {
        return text;
    }
    let tag = statement.kind().tag();
    let serial = statement.head().serial;
    format!("bcm v1 {tag} #{serial} {}", statement.digest().short())
}

fn end(statement: &Statement) -> String {
    let head = statement.head();
    let chain = head.chain.map(|chain| format!(" chain {chain}"));
    format!(
        "{} cluster {} #{} {}",
        chain.unwrap_or_default(),
        head.cluster_name,
        head.serial,
        statement.digest().short()
    )
}

fn list(names: &[&str], room: usize) -> String {
    let whole = names.join("+");
    if whole.len() <= room {
        return whole;
    }
    let shortened = (1..names.len()).rev().map(|shown| {
        let more = names.len() - shown;
        format!("{} and {more} more", names[..shown].join("+"))
    });
    let mut fitting = shortened.filter(|text| text.len() <= room);
    fitting.next().unwrap_or_else(|| {
        let more = match names.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let cut = room - "...".len() - more.len();
        format!("{}...{more}", &names[0][..cut])
    })
}
