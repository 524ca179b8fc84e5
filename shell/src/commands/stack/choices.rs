//! What a person chooses for stacks on the command line.

use bcm_keystore::Chain;
use bcm_stacks::{
    Catalog, Configuration, EnvValue, ImageChoice, ImageReference, OptionValue, PartName, StackName,
};
use clap::Args;

use crate::report::Report;

/// Chosen for the stacks that are named.
#[derive(Args, Clone, Debug, Default)]
pub struct Choices {
    /// On this chain [default: that of the configuration]
    #[arg(long, value_name = "CHAIN")]
    pub chain: Option<Chain>,
    /// Set an option of a stack, such as bitcoind.dbcache=2048
    #[arg(long, value_name = "STACK.OPTION=VALUE")]
    pub set: Vec<String>,
    /// Use another image of a service: by digest, or one of the catalogue's by its name
    #[arg(long, value_name = "STACK/SERVICE=IMAGE")]
    pub image: Vec<String>,
    /// Place a stack, or with a name alone every stack, on a host
    #[arg(long, value_name = "[STACK=]HOST")]
    pub host: Vec<String>,
    /// Run this stack on mainnet although its release has published holes; this is recorded
    #[arg(long, value_name = "STACK")]
    pub below_minimum: Vec<String>,
}

impl Choices {
    /// Makes the configuration of `stacks` on `chain`.
    pub fn configuration(
        &self,
        catalog: &Catalog,
        chain: Chain,
        stacks: &[String],
    ) -> Result<Configuration, Report> {
        let stacks = stacks
            .iter()
            .map(|name| Ok(catalog.get(name)?.name.clone()));
        let mut configuration =
            Configuration::new(chain, stacks.collect::<Result<Vec<_>, Report>>()?);
        self.apply(catalog, &mut configuration)?;
        Ok(configuration)
    }

    /// Chooses the same in a configuration that is there.
    pub fn apply(
        &self,
        catalog: &Catalog,
        configuration: &mut Configuration,
    ) -> Result<(), Report> {
        for pair in &self.set {
            let (stack, option, value) = option(catalog, pair)?;
            configuration
                .options
                .entry(stack)
                .or_default()
                .insert(option, value);
        }
        for pair in &self.image {
            let (stack, service, choice) = image(catalog, pair)?;
            configuration
                .images
                .entry(stack)
                .or_default()
                .insert(service, choice);
        }
        for place in &self.host {
            match place.split_once('=') {
                None => configuration.host = Some(part(place)?),
                Some((stack, host)) => {
                    configuration
                        .hosts
                        .insert(known(catalog, stack)?, part(host)?);
                }
            }
        }
        for stack in &self.below_minimum {
            configuration.below_minimum.insert(known(catalog, stack)?);
        }
        Ok(())
    }
}

fn known(catalog: &Catalog, name: &str) -> Result<StackName, Report> {
    Ok(catalog.get(name)?.name.clone())
}

fn part(text: &str) -> Result<PartName, Report> {
    text.parse()
        .map_err(|error: bcm_stacks::TextError| Report::usage(error.to_string()))
}

/// Reads `STACK.OPTION=VALUE`; the option's default tells whether the value is a number.
fn option(catalog: &Catalog, pair: &str) -> Result<(StackName, PartName, OptionValue), Report> {
    let wrong = || {
        Report::usage(format!("`{pair}` is not STACK.OPTION=VALUE"))
            .with_hint("for example `--set bitcoind.dbcache=2048`")
    };
    let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
    let (stack, option) = name.split_once('.').ok_or_else(wrong)?;
    let stack = catalog.get(stack)?;
    let option = part(option)?;
    let known = stack.options.iter().find(|known| known.name == option);
    let as_text = || -> Result<OptionValue, Report> {
        let text: EnvValue = value
            .parse()
            .map_err(|error: bcm_stacks::TextError| Report::usage(error.to_string()))?;
        Ok(OptionValue::Text(text))
    };
    let value = match known.map(|known| &known.default) {
        Some(OptionValue::Bool(_)) => value
            .parse()
            .map(OptionValue::Bool)
            .or_else(|_| as_text())?,
        Some(OptionValue::Number(_)) => value
            .parse()
            .map(OptionValue::Number)
            .or_else(|_| as_text())?,
        _ => as_text()?,
    };
    Ok((stack.name.clone(), option, value))
}

/// Reads `STACK/SERVICE=IMAGE[,…]`: a digest, the name of one of the catalogue's, `version:` and the release in an
/// image that was built, or several of these.
fn image(catalog: &Catalog, pair: &str) -> Result<(StackName, PartName, ImageChoice), Report> {
    let wrong = || {
        Report::usage(format!("`{pair}` is not STACK/SERVICE=IMAGE")).with_hint(
            "for example `--image electrs/electrs=p2p`, or `…=sha256:…` for one that was built",
        )
    };
    let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
    let (stack, service) = name.split_once('/').ok_or_else(wrong)?;
    let stack = catalog.get(stack)?;
    let service = part(service)?;
    let known: Vec<_> = stack
        .services
        .iter()
        .map(|service| service.name.to_string())
        .collect();
    if !known.contains(&service.to_string()) {
        return Err(
            Report::usage(format!("stack `{}` has no service `{service}`", stack.name))
                .with_hint(format!("its services: {}", known.join(", "))),
        );
    }
    let mut choice = ImageChoice::default();
    for word in value.split(',') {
        if word.contains("sha256:") {
            let reference: Result<ImageReference, _> = word.parse();
            choice.reference = Some(reference.map_err(|error| Report::usage(error.to_string()))?);
        } else if let Some(version) = word.strip_prefix("version:") {
            let version: Result<bcm_stacks::Version, _> = version.parse();
            choice.version = Some(version.map_err(|error| Report::usage(error.to_string()))?);
        } else {
            choice.variant = Some(part(word).map_err(|_| {
                Report::usage(format!(
                    "`{word}` names no image: neither a digest nor one of the catalogue's"
                ))
                .with_hint("a tag is only a label: name the digest, `NAME@sha256:…` or `sha256:…`")
            })?);
        }
    }
    Ok((stack.name.clone(), service, choice))
}
