//! Names as a tree of folders.

use std::collections::BTreeMap;

/// What is below a folder: a password of that name, and what is in the folder of that name.
#[derive(Default)]
struct Node<'a> {
    below: BTreeMap<&'a str, Node<'a>>,
    is_password: bool,
}

/// Draws the names, a line each.
pub fn draw(names: &[&str]) -> String {
    let mut root = Node::default();
    for name in names {
        let mut node = &mut root;
        for part in name.split('/') {
            node = node.below.entry(part).or_default();
        }
        node.is_password = true;
    }
    let mut lines = Vec::new();
    root.lines("", &mut lines);
    lines.join("\n")
}

impl Node<'_> {
    fn lines(&self, indent: &str, lines: &mut Vec<String>) {
        let last = self.below.len().saturating_sub(1);
        for (index, (name, node)) in self.below.iter().enumerate() {
            let (branch, trunk) = if index == last {
                ("└── ", "    ")
            } else {
                ("├── ", "│   ")
            };
            let name = crate::ui::printable(name);
            if node.is_password {
                lines.push(format!("{indent}{branch}{name}"));
            }
            if !node.below.is_empty() {
                lines.push(format!("{indent}{branch}{name}/"));
                node.lines(&format!("{indent}{trunk}"), lines);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn folders_and_passwords_of_the_same_name_are_both_shown() {
        assert_eq!(
            super::draw(&["a", "a/b", "a/c/d", "z"]),
            "├── a\n├── a/\n│   ├── b\n│   └── c/\n│       └── d\n└── z"
        );
        assert_eq!(super::draw(&[]), "");
    }
}
