//! Whether a stack's description fits together, and its templates lie beside it.

use std::collections::BTreeSet;

use crate::stack::{Kind, PartName, PortRef, Service, Stack, StackName};

/// What does not fit together in a folder of a stack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// Two of one name, where the name has to tell them apart.
    #[error("{what} `{name}` is there twice")]
    Twice {
        /// What they are.
        what: &'static str,
        /// Their name.
        name: String,
    },
    /// A name that leads nowhere.
    #[error("{place} names the {what} `{name}`, which is not there")]
    Missing {
        /// Where it is named.
        place: String,
        /// What is missed.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A file in the folder that nothing uses, and so nobody reads.
    #[error("nothing uses the file `{name}`")]
    Unused {
        /// The file.
        name: String,
    },
    /// A service that has no image on a chain of its stack.
    #[error("service `{service}` has no image on {chain}")]
    NoImage {
        /// The service.
        service: PartName,
        /// The chain.
        chain: bcm_keystore::Chain,
    },
    /// Two ports of a service with one number.
    #[error("service `{service}` has the port {port} twice on {chain}")]
    PortTwice {
        /// The service.
        service: PartName,
        /// The port.
        port: u16,
        /// The chain.
        chain: bcm_keystore::Chain,
    },
    /// Something that only the stack `tor` may have.
    #[error("service `{service}` has `{what}`, which the stack `tor` alone may have")]
    TorAlone {
        /// The service.
        service: PartName,
        /// What it has.
        what: &'static str,
    },
    /// A probe that asks in no way or in several.
    #[error("the probe of service `{service}` has to have one of `exec`, `http`, `electrum`")]
    Probe {
        /// The service.
        service: PartName,
    },
    /// A stack that its kind does not fit.
    #[error("a stack of kind `{kind}` has {what}")]
    KindMismatch {
        /// The kind.
        kind: &'static str,
        /// What it has or lacks.
        what: &'static str,
    },
    /// A stack that is named where it has to be among those that are needed.
    #[error("{place} names the stack `{stack}`, which is neither in `depends` nor in `optional`")]
    NotNeeded {
        /// Where it is named.
        place: String,
        /// The stack.
        stack: StackName,
    },
    /// An option whose default it would refuse.
    #[error("option `{name}` does not take its own default")]
    Default {
        /// The option.
        name: PartName,
    },
    /// No chain at all.
    #[error("the list of chains is empty")]
    NoChain,
    /// More of something than bcm reads.
    #[error("more than {most} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// Room to stop, start or live that is nothing or endless.
    #[error("service `{service}` has a `{what}` of {value}, which is not between {min} and {max}")]
    Range {
        /// The service.
        service: PartName,
        /// What it is.
        what: &'static str,
        /// What it is set to.
        value: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
}

/// Most services, volumes, … of a stack.
const MOST: usize = 32;

/// Checks one stack, with the names of the other files in its folder.
pub(super) fn check(stack: &Stack, files: &BTreeSet<&str>) -> Result<(), Defect> {
    counts(stack)?;
    names(stack)?;
    kinds(stack)?;
    needs(stack)?;
    let mut used = BTreeSet::new();
    for service in &stack.services {
        service_fits(stack, service)?;
        used.extend(service.files.iter().map(|file| file.template.as_str()));
    }
    if let Some(desktop) = &stack.desktop {
        used.extend(desktop.files.iter().map(|file| file.template.as_str()));
    }
    if let Some(name) = used.difference(files).next() {
        return Err(missing(format!("`{}`", stack.name), "template", name));
    }
    match files.difference(&used).next() {
        Some(name) => Err(Defect::Unused {
            name: (*name).to_owned(),
        }),
        None => Ok(()),
    }
}

fn counts(stack: &Stack) -> Result<(), Defect> {
    let counts = [
        ("services", stack.services.len()),
        ("volumes", stack.volumes.len()),
        ("secrets", stack.secrets.len()),
        ("images", stack.images.len()),
        ("options", stack.options.len()),
        ("programs", stack.cli.len()),
    ];
    match counts.iter().find(|(_, count)| *count > MOST) {
        Some((what, _)) => Err(Defect::TooMany { what, most: MOST }),
        None if stack.chains.is_empty() => Err(Defect::NoChain),
        None => Ok(()),
    }
}

fn names(stack: &Stack) -> Result<(), Defect> {
    unique("chain", stack.chains.iter().map(ToString::to_string))?;
    unique(
        "service",
        stack.services.iter().map(|it| it.name.to_string()),
    )?;
    unique("volume", stack.volumes.iter().map(|it| it.name.to_string()))?;
    unique("secret", stack.secrets.iter().map(|it| it.name.to_string()))?;
    unique("option", stack.options.iter().map(|it| it.name.to_string()))?;
    unique("program", stack.cli.iter().map(|it| it.name.to_string()))?;
    unique(
        "client of",
        stack.clients.iter().map(|it| it.of.to_string()),
    )?;
    let onions = stack.services.iter().flat_map(|service| &service.onions);
    unique("onion service", onions.map(|it| it.name.to_string()))?;
    unique(
        "image",
        stack
            .images
            .iter()
            .map(|it| format!("{} {}", it.service, it.variant)),
    )?;
    for option in &stack.options {
        if !option.takes(&option.default) {
            return Err(Defect::Default {
                name: option.name.clone(),
            });
        }
    }
    for image in &stack.images {
        exists(
            stack.service(image.service.as_str()),
            || "an image".into(),
            "service",
            &image.service,
        )?;
    }
    for client in &stack.clients {
        let secret = stack.secrets.iter().find(|it| it.name == client.secret);
        exists(
            secret,
            || format!("client of `{}`", client.of),
            "secret",
            &client.secret,
        )?;
    }
    for program in &stack.cli {
        let place = || format!("program `{}`", program.name);
        exists(
            stack.service(program.service.as_str()),
            place,
            "service",
            &program.service,
        )?;
    }
    if let Some(open) = &stack.open {
        let service = stack.service(open.service.as_str());
        exists(service, || "`open`".into(), "service", &open.service)?;
        if let Some(service) = service {
            port_exists(stack, service, &open.port, "`open`")?;
        }
        if let Some(secret) = &open.password {
            let found = stack.secrets.iter().find(|it| it.name == *secret);
            exists(found, || "`open`".into(), "secret", secret)?;
        }
    }
    Ok(())
}

fn kinds(stack: &Stack) -> Result<(), Defect> {
    let (kind, what) = match (stack.kind, stack.services.is_empty(), &stack.desktop) {
        (Kind::Desktop, true, Some(_)) | (Kind::Service | Kind::Web, false, None) => return Ok(()),
        (Kind::Desktop, false, _) => ("desktop", "services"),
        (Kind::Desktop, _, None) => ("desktop", "no `[desktop]`"),
        (Kind::Service, true, _) => ("service", "no service"),
        (Kind::Web, true, _) => ("web", "no service"),
        (Kind::Service, ..) => ("service", "a `[desktop]`"),
        (Kind::Web, ..) => ("web", "a `[desktop]`"),
    };
    Err(Defect::KindMismatch { kind, what })
}

/// A stack may be used only where it is needed: the order depends on nothing else.
fn needs(stack: &Stack) -> Result<(), Defect> {
    let mut named = Vec::new();
    named.extend(
        stack
            .same_host
            .iter()
            .map(|it| ("`same_host`".to_owned(), it)),
    );
    named.extend(
        stack
            .clients
            .iter()
            .map(|it| ("a client".to_owned(), &it.of)),
    );
    for service in &stack.services {
        let place = format!("service `{}`", service.name);
        named.extend(service.uses.iter().map(|it| (place.clone(), it)));
        named.extend(
            service
                .mounts
                .iter()
                .filter_map(|it| Some((place.clone(), it.of.as_ref()?))),
        );
    }
    named.extend(
        stack
            .desktop
            .iter()
            .map(|it| ("`desktop`".to_owned(), &it.tunnel.stack)),
    );
    for (place, name) in named {
        if !stack.depends.contains(name) && !stack.optional.contains(name) {
            return Err(Defect::NotNeeded {
                place,
                stack: name.clone(),
            });
        }
    }
    for service in &stack.services {
        for owner in service.mounts.iter().filter_map(|mount| mount.of.as_ref()) {
            if !stack.same_host.contains(owner) {
                return Err(missing(
                    format!("a mount of `{}`", service.name),
                    "stack of `same_host`",
                    owner.as_str(),
                ));
            }
        }
    }
    Ok(())
}

fn service_fits(stack: &Stack, service: &Service) -> Result<(), Defect> {
    let place = format!("service `{}`", service.name);
    for chain in &stack.chains {
        if stack.images_of(service, *chain).next().is_none() {
            return Err(Defect::NoImage {
                service: service.name.clone(),
                chain: *chain,
            });
        }
        let ports = service.ports_on(*chain);
        let mut numbers = BTreeSet::new();
        if let Some(port) = ports.values().find(|port| !numbers.insert(**port)) {
            return Err(Defect::PortTwice {
                service: service.name.clone(),
                port: *port,
                chain: *chain,
            });
        }
    }
    let paths = service.mounts.iter().map(|it| it.path.to_string());
    let paths = paths.chain(service.files.iter().map(|it| it.path.to_string()));
    let paths = paths.chain(service.secret_files.iter().map(|it| it.path.to_string()));
    unique(
        "path",
        paths.chain(service.tmpfs.iter().map(|it| it.path.to_string())),
    )?;
    for mount in service.mounts.iter().filter(|mount| mount.of.is_none()) {
        let volume = stack.volumes.iter().find(|it| it.name == mount.volume);
        exists(volume, || place.clone(), "volume", &mount.volume)?;
    }
    for file in &service.secret_files {
        let secret = stack.secrets.iter().find(|it| it.name == file.secret);
        exists(secret, || place.clone(), "secret", &file.secret)?;
    }
    for onion in &service.onions {
        port_exists(stack, service, &onion.port, &place)?;
        if let PortRef::Name(port) = &onion.virtual_port {
            port_exists(stack, service, port, &place)?;
        }
    }
    let asked = service
        .ready
        .http
        .iter()
        .map(|http| &http.port)
        .chain(&service.ready.electrum);
    asked
        .into_iter()
        .try_for_each(|port| port_exists(stack, service, port, &place))?;
    let ways = [
        !service.ready.exec.is_empty(),
        service.ready.http.is_some(),
        service.ready.electrum.is_some(),
    ];
    if ways.iter().filter(|way| **way).count() != 1 {
        return Err(Defect::Probe {
            service: service.name.clone(),
        });
    }
    if stack.name.as_str() != "tor" {
        for (has, what) in [
            (service.egress, "egress"),
            (service.onion_keys.is_some(), "onion_keys"),
        ] {
            if has {
                return Err(Defect::TorAlone {
                    service: service.name.clone(),
                    what,
                });
            }
        }
    }
    ranges(service)
}

fn ranges(service: &Service) -> Result<(), Defect> {
    let limits = service.limits;
    let ranges = [
        ("memory_mb", limits.memory_mb.into(), 16, 262_144),
        (
            "memory_sync_mb",
            limits.memory_sync_mb.unwrap_or(limits.memory_mb).into(),
            16,
            262_144,
        ),
        ("pids", limits.pids.into(), 4, 32_768),
        (
            "cpu_milli",
            limits.cpu_milli.unwrap_or(1000).into(),
            10,
            256_000,
        ),
        ("disk_gb", limits.disk_gb.into(), 0, 100_000),
        ("stop_grace_s", service.stop_grace_s.into(), 1, 7200),
        ("start_limit_s", service.start_limit_s.into(), 1, 604_800),
    ];
    let sizes = service
        .tmpfs
        .iter()
        .map(|it| ("size_mb", u64::from(it.size_mb), 1, 16_384));
    match ranges
        .into_iter()
        .chain(sizes)
        .find(|(_, value, min, max)| value < min || value > max)
    {
        Some((what, value, min, max)) => Err(Defect::Range {
            service: service.name.clone(),
            what,
            value,
            min,
            max,
        }),
        None => Ok(()),
    }
}

fn unique(what: &'static str, names: impl Iterator<Item = String>) -> Result<(), Defect> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name.clone()) {
            return Err(Defect::Twice { what, name });
        }
    }
    Ok(())
}

fn exists<T>(
    found: Option<T>,
    place: impl FnOnce() -> String,
    what: &'static str,
    name: &PartName,
) -> Result<(), Defect> {
    found
        .map(drop)
        .ok_or_else(|| missing(place(), what, name.as_str()))
}

fn port_exists(
    stack: &Stack,
    service: &Service,
    port: &PartName,
    place: &str,
) -> Result<(), Defect> {
    let everywhere = stack
        .chains
        .iter()
        .all(|chain| service.ports_on(*chain).contains_key(port.as_str()));
    everywhere
        .then_some(())
        .ok_or_else(|| missing(place.to_owned(), "port", port.as_str()))
}

fn missing(place: String, what: &'static str, name: &str) -> Defect {
    Defect::Missing {
        place,
        what,
        name: name.to_owned(),
    }
}
