//! Making and changing certificates of this wallet: every act is confirmed on the device.

use std::time::{Duration, SystemTime};

use bcm_keystore::Curve;
use bcm_keystore::pgp::{OwnCert, Reason, TREZOR_TIME, UserId};

use super::exchange::{check, write};
use super::times::{Time, Validity, day};
use super::view::View;
use super::{Output, Work, print, run};
use crate::app::App;
use crate::report::Report;
use crate::ui;

const SECOND: Duration = Duration::from_secs(1);

/// What `pgp init` was asked for.
#[derive(Debug)]
pub struct Wanted {
    pub user_id: UserId,
    pub curve: Curve,
    pub created: Option<Time>,
    pub expires: Validity,
}

pub fn init(app: &mut App, wanted: Wanted, json: bool) -> Result<(), Report> {
    let view = run(app, move |work| {
        let (created, validity) = span(&wanted, work.now)?;
        let Wanted { user_id, curve, .. } = wanted;
        // asks nobody for a cert that could not be kept
        work.store.check_new(&user_id, curve)?;
        ui::say("two confirmations: one for the user ID, one for the encryption key");
        let own = OwnCert::make(&work.device, user_id, curve, created, validity)?;
        keep(work, own)
    })?;
    print(&view, json)
}

/// Returns when the certificate was made and how long after that it ends.
fn span(wanted: &Wanted, now: SystemTime) -> Result<(SystemTime, Option<Duration>), Report> {
    let created = match wanted.created {
        Some(Time(created)) if created > now => {
            return Err(Report::usage("the time of creation is not past"));
        }
        Some(Time(created)) => created,
        None => SystemTime::UNIX_EPOCH + TREZOR_TIME,
    };
    let end = wanted.expires.end(now).map_err(Report::usage)?;
    let validity = end.map(|end| end.duration_since(created).unwrap_or_default());
    Ok((created, validity))
}

fn keep(work: &mut Work, own: OwnCert) -> Result<View, Report> {
    let fingerprint = own.fingerprint().to_hex();
    work.go_on()?;
    let wallet = work.wallet.clone();
    work.store.add_own(&wallet, own)?;
    work.view(&fingerprint)
}

/// Changes a cert and keeps what the device signed.
fn change(
    app: &mut App,
    name: String,
    change: impl FnOnce(&Work, &OwnCert) -> Result<OwnCert, Report> + Send + 'static,
) -> Result<View, Report> {
    run(app, move |work| {
        let own = work.store.signer(Some(&name))?.clone();
        settle(work, &own);
        let changed = change(work, &own)?;
        work.go_on()?;
        let wallet = work.wallet.clone();
        work.store.update_own(&wallet, &changed)?;
        work.view(&own.fingerprint().to_hex())
    })
}

/// Waits for a later second than that of the last change: of two signatures of one second nobody
/// can tell which is the newer one.
fn settle(work: &mut Work, own: &OwnCert) {
    let Some(last) = own.last_signed() else {
        return;
    };
    if let Ok(ahead) = (last + SECOND).duration_since(work.now)
        && ahead <= SECOND
    {
        std::thread::sleep(ahead);
        work.now = SystemTime::now();
    }
}

pub fn add_user_id(app: &mut App, name: String, user_id: UserId, json: bool) -> Result<(), Report> {
    let view = change(app, name, move |work, own| {
        Ok(own.add_user_id(&work.device, &user_id, work.now)?)
    })?;
    ui::say("give others the new state: `pgp export`");
    print(&view, json)
}

pub fn expire(app: &mut App, name: String, validity: Validity, json: bool) -> Result<(), Report> {
    let view = change(app, name, move |work, own| {
        let end = validity.end(work.now).map_err(Report::usage)?;
        ui::say(&match end {
            Some(end) => format!("good until {}", day(end)),
            None => "good without end".to_owned(),
        });
        Ok(own.expire(&work.device, end, work.now)?)
    })?;
    ui::say("give others the new state: `pgp export`");
    print(&view, json)
}

pub fn revoke(
    app: &mut App,
    name: String,
    reason: Reason,
    message: String,
    output: &Output,
) -> Result<(), Report> {
    if message.chars().any(char::is_control) || message.len() > 200 {
        return Err(Report::usage(
            "the message is one line without control characters, 200 bytes at most",
        ));
    }
    check(output)?;
    let armored = run(app, move |work| {
        let own = work.store.signer(Some(&name))?;
        Ok(own.revoke(&work.device, reason, &message, work.now)?)
    })?;
    write(&armored, output)?;
    ui::say(
        "nothing is revoked yet: whoever imports this revokes it, with `pgp import` here and `gpg \
         --import` elsewhere",
    );
    Ok(())
}
