//! Making, listing, showing and removing wallets.

use bcm_keystore::Chain;
use bcm_keystore::wallet::{
    AccountXpub, ExportFormat, NewWallet, ScriptKind, WalletDescriptor, WalletError, WalletName,
    account_xpub, show_address,
};
use bdk_wallet::KeychainKind;
use serde::Serialize;

use super::{Create, book, unix_time, with_wallet};
use crate::app::App;
use crate::report::Report;
use crate::session::Open;
use crate::ui;

/// A wallet as it is printed.
#[derive(Serialize)]
struct Line {
    name: String,
    chain: Chain,
    script: &'static str,
    needed: usize,
    keys: usize,
    descriptor: String,
    birthday: u32,
}

impl Line {
    fn new(wallet: &NewWallet, chain: Chain) -> Self {
        Self {
            name: wallet.name.to_string(),
            chain,
            script: wallet.descriptor.kind().name(),
            needed: wallet.descriptor.needed(),
            keys: wallet.descriptor.keys().len(),
            descriptor: wallet.descriptor.to_string(),
            birthday: wallet.birthday,
        }
    }
}

pub(super) fn create(app: &App, asked: &Create, json: bool) -> Result<(), Report> {
    let keeper = app.keeper.clone();
    let line = app.runtime().block_on(keeper.with_open(async |open| {
        let descriptor = descriptor(open, asked).await?;
        let chain = open.chain;
        let root = open.session.fingerprint();
        if descriptor.kind().is_multisig() && !asked.unseen {
            ui::say("compare the first address of the new wallet on the device of every cosigner");
            let first = (KeychainKind::External, 0);
            let device = open.session.device();
            show_address(device, root, &descriptor, chain, first.0, first.1).await?;
        }
        let wallet = NewWallet {
            name: asked.name.clone(),
            birthday: asked
                .birthday
                .unwrap_or_else(|| first_block(descriptor.kind(), chain)),
            descriptor,
            created: unix_time(),
        };
        book(open).create(&wallet)?;
        Ok(Line::new(&wallet, chain))
    }))?;
    if json {
        return ui::json(&line);
    }
    ui::say(&format!(
        "made the {} wallet `{}` on {}",
        line.script, line.name, line.chain
    ));
    ui::out(&line.descriptor)
}

async fn descriptor(open: &Open, asked: &Create) -> Result<WalletDescriptor, Report> {
    let root = open.session.fingerprint();
    let chain = open.chain;
    let device = open.session.device();
    if let Some(text) = &asked.descriptor {
        let descriptor: WalletDescriptor = text.parse()?;
        let Some(own) = descriptor.own(root) else {
            return Err(Report::usage("no key of that descriptor is of this device")
                .with_hint("unlock the device, and the passphrase, that it was made with"));
        };
        // the fingerprint alone proves nothing: the device has to give the very key
        let account = account_of(own)?;
        let derived = account_xpub(device, root, descriptor.kind(), chain, account).await?;
        if derived != *own {
            return Err(WalletError::Descriptor(format!(
                "it says `{own}` where the device has `{derived}`"
            ))
            .into());
        }
        return Ok(descriptor);
    }
    let Some(needed) = asked.multisig else {
        let kind = asked.script.unwrap_or(ScriptKind::P2wpkh);
        if kind.is_multisig() {
            return Err(
                Report::usage(format!("{kind} takes the keys of several devices"))
                    .with_hint("add `--multisig 2 --cosigner '[…]xpub…'`"),
            );
        }
        let key = account_xpub(device, root, kind, chain, asked.account).await?;
        return Ok(WalletDescriptor::single(kind, key));
    };
    let kind = asked.script.unwrap_or(ScriptKind::P2wsh);
    let own = account_xpub(device, root, kind, chain, asked.account).await?;
    let mut keys = vec![own.clone()];
    for text in &asked.cosigner {
        let key: AccountXpub = text.parse()?;
        if key != own {
            keys.push(key);
        }
    }
    // whoever makes it lists the others in another order: sorted, all get the same descriptor
    keys.sort_by_key(ToString::to_string);
    Ok(WalletDescriptor::multisig(kind, needed, keys)?)
}

/// Returns the number of the account that a key stands for.
fn account_of(key: &AccountXpub) -> Result<u32, Report> {
    let path: &bdk_wallet::bitcoin::bip32::DerivationPath = key.path().as_ref();
    let step = path.into_iter().nth(2).copied();
    let number = step.filter(bdk_wallet::bitcoin::bip32::ChildNumber::is_hardened);
    let number = number.map(|step| u32::from(step) & 0x7fff_ffff);
    number.ok_or_else(|| {
        WalletError::Descriptor(format!("the path of `{key}` is none of BIP-44 to 86")).into()
    })
}

/// Returns the first block that can hold a payment to this kind of script.
fn first_block(kind: ScriptKind, chain: Chain) -> u32 {
    match (chain, kind) {
        (Chain::Mainnet, ScriptKind::P2tr) => 709_632,
        (Chain::Mainnet, ScriptKind::P2pkh | ScriptKind::P2sh) => 0,
        (Chain::Mainnet, _) => 481_824,
        _ => 0,
    }
}

pub(super) fn xpub(app: &App, kind: ScriptKind, account: u32, json: bool) -> Result<(), Report> {
    let keeper = app.keeper.clone();
    let key = app.runtime().block_on(keeper.with_open(async |open| {
        let root = open.session.fingerprint();
        Ok(account_xpub(open.session.device(), root, kind, open.chain, account).await?)
    }))?;
    if json {
        return ui::json(&serde_json::json!({
            "key": key.to_string(), "xpub": key.xpub().to_string(),
            "path": key.path().to_string(), "fingerprint": key.fingerprint().to_string(),
        }));
    }
    ui::out(&key.to_string())
}

pub(super) fn list(app: &App, json: bool) -> Result<(), Report> {
    let keeper = app.keeper.clone();
    let lines = app.runtime().block_on(keeper.with_open(async |open| {
        let wallets = book(open).list()?;
        let line = |wallet: &NewWallet| Line::new(wallet, open.chain);
        Ok(wallets.iter().map(line).collect::<Vec<_>>())
    }))?;
    if json {
        return ui::json(&lines);
    }
    if lines.is_empty() {
        ui::say("no wallets yet: make one with `wallet create savings`");
        return Ok(());
    }
    let rows = lines.into_iter().map(|line| {
        let keys = format!("{} of {}", line.needed, line.keys);
        [line.name, line.script.to_owned(), keys]
    });
    ui::out(&ui::table(["wallet", "script", "sign"], rows))
}

pub(super) fn show(app: &App, name: Option<&WalletName>, json: bool) -> Result<(), Report> {
    let (line, height, keys) = with_wallet(app, name, |book, ledger| {
        let wallets = book.list()?;
        let wallet = wallets.iter().find(|wallet| wallet.name == *ledger.name());
        let wallet = wallet.ok_or_else(|| Report::usage("the wallet was removed meanwhile"))?;
        let keys = wallet.descriptor.keys().iter().map(ToString::to_string);
        let keys: Vec<String> = keys.collect();
        Ok((Line::new(wallet, book.chain()), ledger.height(), keys))
    })?;
    if json {
        let mut value = serde_json::to_value(&line).expect("strings and numbers");
        value["height"] = height.into();
        return ui::json(&value);
    }
    let mut rows = vec![
        ["wallet".to_owned(), line.name],
        ["chain".into(), line.chain.to_string()],
        ["script".into(), line.script.into()],
        ["sign".into(), format!("{} of {}", line.needed, line.keys)],
        ["birthday".into(), line.birthday.to_string()],
        ["synced to".into(), height.to_string()],
        ["descriptor".into(), line.descriptor],
    ];
    rows.extend(keys.into_iter().map(|key| ["key".to_owned(), key]));
    ui::out(&ui::table(["", ""], rows))
}

pub(super) fn export(
    app: &App,
    name: Option<&WalletName>,
    format: ExportFormat,
) -> Result<(), Report> {
    let text = with_wallet(app, name, |book, ledger| {
        let wallets = book.list()?;
        let wallet = wallets.iter().find(|wallet| wallet.name == *ledger.name());
        let wallet = wallet.ok_or_else(|| Report::usage("the wallet was removed meanwhile"))?;
        Ok(wallet.export(format)?)
    })?;
    ui::out(&text)
}

pub(super) fn remove(app: &App, name: &str) -> Result<(), Report> {
    let keeper = app.keeper.clone();
    app.runtime()
        .block_on(keeper.with_open(async |open| Ok(book(open).remove(name)?)))?;
    ui::say(&format!(
        "forgot the wallet `{name}`; its keys are on the device, its labels are gone"
    ));
    Ok(())
}
