//! What needs what, and therefore what comes first.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::CatalogError;
use crate::stack::{Stack, StackName};

type Stacks = BTreeMap<StackName, Stack>;

/// Checks that everything needed is there and that nothing needs itself, however far around.
pub(crate) fn check(stacks: &Stacks) -> Result<(), CatalogError> {
    for stack in stacks.values() {
        for needs in before(stack) {
            if !stacks.contains_key(needs) {
                return Err(CatalogError::Dangling {
                    stack: stack.name.clone(),
                    needs: needs.clone(),
                });
            }
        }
    }
    let mut done = BTreeSet::new();
    for name in stacks.keys() {
        follow(stacks, name, &mut Vec::new(), &mut done)?;
    }
    Ok(())
}

/// Returns `wanted` and what they need in an order in which each comes after what it needs.
///
/// `stacks` has passed [`check`].
pub(crate) fn order<'a>(stacks: &'a Stacks, wanted: &[&'a Stack]) -> Vec<&'a Stack> {
    let mut members = BTreeSet::new();
    let mut to_see: Vec<_> = wanted.iter().map(|stack| &stack.name).collect();
    while let Some(name) = to_see.pop() {
        if members.insert(name) {
            to_see.extend(&stacks[name].depends);
        }
    }
    let mut ordered = Vec::with_capacity(members.len());
    let mut placed = BTreeSet::new();
    for name in &members {
        place(stacks, name, &members, &mut placed, &mut ordered);
    }
    ordered
}

fn place<'a>(
    stacks: &'a Stacks,
    name: &'a StackName,
    members: &BTreeSet<&StackName>,
    placed: &mut BTreeSet<&'a StackName>,
    ordered: &mut Vec<&'a Stack>,
) {
    if members.contains(name) && placed.insert(name) {
        let stack = &stacks[name];
        for needs in before(stack) {
            place(stacks, needs, members, placed, ordered);
        }
        ordered.push(stack);
    }
}

/// An optional stack is not needed, but where it runs it starts first, so it can close a cycle too.
fn before(stack: &Stack) -> impl Iterator<Item = &StackName> {
    stack.depends.iter().chain(&stack.optional)
}

fn follow<'a>(
    stacks: &'a Stacks,
    name: &'a StackName,
    way: &mut Vec<&'a StackName>,
    done: &mut BTreeSet<&'a StackName>,
) -> Result<(), CatalogError> {
    if done.contains(name) {
        return Ok(());
    }
    if let Some(start) = way.iter().position(|seen| *seen == name) {
        let cycle = way[start..].iter().copied().chain([name]);
        return Err(CatalogError::Cycle {
            cycle: cycle.cloned().collect(),
        });
    }
    way.push(name);
    for needs in before(&stacks[name]) {
        follow(stacks, needs, way, done)?;
    }
    way.pop();
    done.insert(name);
    Ok(())
}

/// How a graph is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphFormat {
    /// A line for each stack, each after what it needs.
    Text,
    /// For Graphviz.
    Dot,
    /// For Mermaid, which Markdown renders.
    Mermaid,
}

/// Writes out what needs what. Stacks come in the order in which they start; what is used but not needed is in
/// brackets, or dashed.
pub fn draw(stacks: &[&Stack], format: GraphFormat) -> String {
    let names: BTreeSet<_> = stacks.iter().map(|stack| &stack.name).collect();
    let used = |stack: &Stack| -> Vec<StackName> {
        let used = stack.optional.iter().filter(|name| names.contains(name));
        used.cloned().collect()
    };
    let mut lines = Vec::new();
    match format {
        GraphFormat::Text => {
            for stack in stacks {
                let needs = stack.depends.iter().map(ToString::to_string);
                let used = used(stack).into_iter().map(|name| format!("({name})"));
                let before: Vec<_> = needs.chain(used).collect();
                let arrow = if before.is_empty() { "" } else { " -> " };
                lines.push(format!("{}{arrow}{}", stack.name, before.join(" ")));
            }
        }
        GraphFormat::Dot => {
            lines.push("digraph stacks {".to_owned());
            for stack in stacks {
                lines.push(format!("    \"{}\";", stack.name));
                for needs in &stack.depends {
                    lines.push(format!("    \"{}\" -> \"{needs}\";", stack.name));
                }
                for uses in used(stack) {
                    lines.push(format!(
                        "    \"{}\" -> \"{uses}\" [style=dashed];",
                        stack.name
                    ));
                }
            }
            lines.push("}".to_owned());
        }
        GraphFormat::Mermaid => {
            lines.push("graph TD".to_owned());
            for stack in stacks {
                lines.push(format!("    {}", stack.name));
                for needs in &stack.depends {
                    lines.push(format!("    {} --> {needs}", stack.name));
                }
                for uses in used(stack) {
                    lines.push(format!("    {} -.-> {uses}", stack.name));
                }
            }
        }
    }
    lines.join("\n")
}
