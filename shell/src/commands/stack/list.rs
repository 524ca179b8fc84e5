//! The catalogue as a table.

use bcm_stacks::{Catalog, Maintenance, Stack};

use crate::report::Report;
use crate::ui;

/// Shows it.
pub fn run(catalog: &Catalog, json: bool) -> Result<(), Report> {
    if json {
        return ui::json(&catalog.iter().collect::<Vec<_>>());
    }
    ui::out(&ui::table(
        [
            "stack",
            "version",
            "image",
            "upstream",
            "needs",
            "what it is",
        ],
        catalog.iter().map(row),
    ))?;
    for stack in catalog.iter() {
        if let Maintenance::Unmaintained { note, successors } = &stack.maintenance {
            let successors: Vec<_> = successors.iter().map(ToString::to_string).collect();
            let instead = successors.join(", ");
            ui::say(&format!(
                "`{}` is unmaintained: {note}; instead: {instead}",
                stack.name
            ));
        }
    }
    Ok(())
}

fn row(stack: &Stack) -> [String; 6] {
    let needs: Vec<_> = stack.depends.iter().map(ToString::to_string).collect();
    let state = match stack.maintenance {
        Maintenance::Maintained {} => "maintained",
        Maintenance::Unmaintained { .. } => "unmaintained",
    };
    let or_none = |text: String| if text.is_empty() { "-".into() } else { text };
    [
        stack.name.to_string(),
        stack.upstream.version.to_string(),
        or_none(image(stack)),
        state.into(),
        or_none(needs.join(" ")),
        stack.summary.to_string(),
    ]
}

/// Tells what the first image of each service is, where that matters: what has no digest has to be built, and
/// what is too old is refused on mainnet.
fn image(stack: &Stack) -> String {
    let mut said = Vec::new();
    for service in &stack.services {
        let Some(image) = stack
            .images
            .iter()
            .find(|image| image.service == service.name)
        else {
            continue;
        };
        let main = service.name.as_str() == stack.name.as_str() || stack.services.len() == 1;
        let minimum = stack
            .upstream
            .minimum_safe_version
            .as_ref()
            .filter(|_| main);
        let word = match (&image.reference, minimum) {
            (None, _) => format!("build {}", service.name),
            (Some(_), Some(minimum)) if image.version < *minimum => {
                format!("{}: unsafe, below {minimum}", image.version)
            }
            _ => continue,
        };
        said.push(word);
    }
    if said.is_empty() && !stack.services.is_empty() {
        said.push("by digest".into());
    }
    said.join(", ")
}
