#![doc = include_str!("../README.md")]

pub mod apply;
mod catalog;
mod configuration;
mod desired;
mod graph;
pub mod health;
pub mod image;
mod lint;
mod observe;
mod onion;
mod outdated;
mod plan;
pub mod render;
pub mod secret;
mod stack;
mod verify;

pub use apply::{ApplyError, Deployment, Engines, EnginesError, apply};
pub use catalog::{Catalog, CatalogError, Defect, Folder};
pub use configuration::{Configuration, ImageChoice, OnionClient};
pub use graph::{GraphFormat, draw};
pub use health::{HealthError, Readiness};
pub use lint::{LintError, Linted, lint};
pub use observe::{
    ApiVersion, Observed, ObservedConfig, ObservedContainer, ObservedHost, ObservedNetwork,
    ObservedSecret, ObservedService,
};
pub use outdated::{Age, Standing, outdated};
pub use plan::{
    Change, Method, Operation, Plan, PlanError, SecretBodies, ServiceState, State, Thing,
    Unresolved, Verb, plan, spec_digest,
};
pub use render::{RenderError, Rendered, Warning};
pub use secret::{SecretId, Secrets};
pub use stack::*;
pub use verify::{Deviation, verify};
