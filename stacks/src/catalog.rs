//! The catalogue: every stack that bcm knows.

use std::collections::BTreeMap;

use bcm_keystore::Hint;
use include_dir::{Dir, include_dir};

use crate::graph;
use crate::stack::{Stack, StackName};

static BUILTIN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/catalog");

/// Every known stack; what one needs is always in it, and no two need each other.
#[derive(Clone, Debug)]
pub struct Catalog {
    stacks: BTreeMap<StackName, Stack>,
}

impl Catalog {
    /// Returns the catalogue that is compiled in.
    ///
    /// # Panics
    ///
    /// Never: a test reads every compiled-in file.
    pub fn builtin() -> Self {
        let files = BUILTIN.dirs().map(|folder| {
            let name = folder.path().to_string_lossy().into_owned();
            let text = folder
                .get_file(folder.path().join("stack.toml"))
                .and_then(include_dir::File::contents_utf8)
                .unwrap_or_default();
            (name, text)
        });
        Self::from_files(files).expect("the compiled-in catalogue is tested")
    }

    /// Reads a catalogue out of the texts of its `stack.toml` files, each with its folder's name.
    ///
    /// # Errors
    ///
    /// Fails when a file is not of schema 1, or when the stacks do not fit together.
    pub fn from_files<N: AsRef<str>, T: AsRef<str>>(
        files: impl IntoIterator<Item = (N, T)>,
    ) -> Result<Self, CatalogError> {
        let mut stacks = BTreeMap::new();
        for (folder, text) in files {
            let stack = read(folder.as_ref(), text.as_ref())?;
            if let Some(twice) = stacks.insert(stack.name.clone(), stack) {
                return Err(CatalogError::Twice { name: twice.name });
            }
        }
        graph::check(&stacks)?;
        Ok(Self { stacks })
    }

    /// Returns every stack, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Stack> {
        self.stacks.values()
    }

    /// Returns the stack of that name.
    ///
    /// # Errors
    ///
    /// Fails with [`CatalogError::Unknown`] when there is none.
    pub fn get(&self, name: &str) -> Result<&Stack, CatalogError> {
        name.parse()
            .ok()
            .and_then(|name: StackName| self.stacks.get(&name))
            .ok_or_else(|| CatalogError::Unknown {
                name: name.escape_debug().to_string(),
                known: self.stacks.keys().cloned().collect(),
            })
    }

    /// Returns the named stacks and all that they need, each after what it needs.
    ///
    /// The order depends on the catalogue alone, not on the order of `names`.
    ///
    /// # Errors
    ///
    /// Fails with [`CatalogError::Unknown`] for a name that is not in the catalogue.
    pub fn start_order<N: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Vec<&Stack>, CatalogError> {
        let wanted = names
            .into_iter()
            .map(|name| self.get(name.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(graph::order(&self.stacks, &wanted))
    }
}

fn read(folder: &str, text: &str) -> Result<Stack, CatalogError> {
    let stack: Stack = toml::from_str(text).map_err(|source| CatalogError::Syntax {
        folder: folder.to_owned(),
        source: Box::new(source),
    })?;
    if stack.schema() != Stack::SCHEMA {
        return Err(CatalogError::Schema {
            folder: folder.to_owned(),
            found: stack.schema(),
        });
    }
    if stack.name.as_str() != folder {
        return Err(CatalogError::Misnamed {
            folder: folder.to_owned(),
            name: stack.name,
        });
    }
    Ok(stack)
}

/// Why a catalogue cannot be used, or a stack not be found in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// A file is not what schema 1 asks for.
    #[error("cannot read `{folder}/stack.toml`")]
    Syntax {
        /// The folder of the stack.
        folder: String,
        /// What is wrong, and in which line.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A file of another version of the format.
    #[error(
        "`{folder}/stack.toml` has schema {found}, this bcm reads schema {}",
        Stack::SCHEMA
    )]
    Schema {
        /// The folder of the stack.
        folder: String,
        /// The version in the file.
        found: u32,
    },
    /// A stack that calls itself otherwise than its folder.
    #[error("`{folder}/stack.toml` describes `{name}`")]
    Misnamed {
        /// The folder of the stack.
        folder: String,
        /// The name in the file.
        name: StackName,
    },
    /// Two stacks of one name.
    #[error("stack `{name}` is described twice")]
    Twice {
        /// Their name.
        name: StackName,
    },
    /// A stack that needs one which is not there.
    #[error("stack `{stack}` needs `{needs}`, which is not in the catalogue")]
    Dangling {
        /// The stack.
        stack: StackName,
        /// What it needs.
        needs: StackName,
    },
    /// Stacks that need each other.
    #[error("stacks need each other: {}", chain(.cycle))]
    Cycle {
        /// The way round, with the first at the end again.
        cycle: Vec<StackName>,
    },
    /// A name that is not in the catalogue.
    #[error("unknown stack `{name}`")]
    Unknown {
        /// What was asked for, escaped.
        name: String,
        /// What there is.
        known: Vec<StackName>,
    },
}

fn chain(names: &[StackName]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(" -> ")
}

impl Hint for CatalogError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { known, .. } => {
                let known: Vec<_> = known.iter().map(StackName::as_str).collect();
                Some(format!("known stacks: {}", known.join(", ")))
            }
            Self::Misnamed { folder, .. } => {
                Some(format!("write `name = \"{folder}\"`, or rename the folder"))
            }
            Self::Dangling { needs, .. } => Some(format!("add a folder `{needs}`")),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
