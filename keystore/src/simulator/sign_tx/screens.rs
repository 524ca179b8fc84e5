//! What the person reads.

use bitcoin::absolute::LOCK_TIME_THRESHOLD;
use trezor_client::protos::AmountUnit;
use trezor_client::protos::button_request::ButtonRequestType as Code;

use super::super::engine::{BLOB_ROOM, Stop, TEXT_ROOM};
use super::super::path;
use super::super::screen::Screen;
use super::{Output, Signing};

impl Signing<'_> {
    fn show(
        &mut self,
        code: Code,
        name: &'static str,
        title: &str,
        text: &str,
    ) -> Result<(), Stop> {
        let screen = Screen::new(name, title, text, TEXT_ROOM);
        self.engine.confirm(code, &screen)
    }

    fn warn(&mut self, name: &'static str, text: &str) -> Result<(), Stop> {
        self.show(Code::ButtonRequest_SignTx, name, "", text)
    }

    pub(super) fn show_op_return(&mut self, data: &[u8]) -> Result<(), Stop> {
        let screen = Screen::new("op_return", "OP_RETURN", &hex::encode(data), BLOB_ROOM);
        self.engine
            .confirm(Code::ButtonRequest_ConfirmOutput, &screen)
    }

    pub(super) fn show_output(&mut self, number: usize, output: &Output) -> Result<(), Stop> {
        let mut title = format!("Recipient #{number}");
        if !output.address_n.is_empty() && output.multisig.is_none() {
            title.push('\n');
            title.push_str(&path::account_name(self.coin, &output.address_n));
        }
        let code = Code::ButtonRequest_ConfirmOutput;
        let screen = Screen::new("confirm_output", title, output.address(), BLOB_ROOM);
        self.engine.confirm(code, &screen)?;
        let amount = self.amount(output.amount().into());
        self.show(
            code,
            "confirm_output",
            &format!("Amount #{number}"),
            &amount,
        )
    }

    pub(super) fn show_new_amount(&mut self, output: &Output, before: u64) -> Result<(), Stop> {
        let code = Code::ButtonRequest_ConfirmOutput;
        let title = "Modify amount";
        let address = format!("Address:\n{}", output.address());
        let screen = Screen::new("modify_output", title, &address, BLOB_ROOM);
        self.engine.confirm(code, &screen)?;
        let less = self.amount(before.saturating_sub(output.amount()).into());
        let new = self.amount(output.amount().into());
        let text = format!("Decrease amount by:\n{less}\nNew amount:\n{new}");
        self.show(code, "modify_output", title, &text)
    }

    pub(super) fn show_replacement(&mut self, title: &str, hash: &[u8]) -> Result<(), Stop> {
        let text = format!("Transaction ID:\n{}", hex::encode(hash));
        let code = Code::ButtonRequest_SignTx;
        self.show(code, "confirm_replacement", title, &text)
    }

    pub(super) fn show_new_fee(&mut self, title: &str, more: i128, fee: i128) -> Result<(), Stop> {
        let by = self.amount(more.abs());
        let change = match more {
            0 => "Fee did not change.".to_owned(),
            1.. => format!("Increase fee by:\n{by}"),
            _ => format!("Decrease fee by:\n{by}"),
        };
        let text = format!("{change}\nNew transaction fee:\n{}", self.amount(fee));
        self.show(Code::ButtonRequest_SignTx, "modify_fee", title, &text)
    }

    pub(super) fn warn_of_fee(&mut self, fee: i128) -> Result<(), Stop> {
        let text = format!("Unusually high fee.\n{}", self.amount(fee));
        let code = Code::ButtonRequest_FeeOverThreshold;
        self.show(code, "fee_over_threshold", "", &text)
    }

    pub(super) fn warn_of_changes(&mut self, number: usize) -> Result<(), Stop> {
        let text = format!("A lot of change-outputs.\n{number} outputs");
        self.warn("change_count_over_threshold", &text)
    }

    pub(super) fn warn_of_accounts(&mut self) -> Result<(), Stop> {
        let text = "Sending from multiple accounts.\nContinue anyway?";
        self.warn("sending_from_multiple_accounts", text)
    }

    pub(super) fn show_lock_time(&mut self, lock_time: u32, disabled: bool) -> Result<(), Stop> {
        if disabled {
            let text = "Locktime is set but will have no effect.\nContinue anyway?";
            return self.warn("nondefault_locktime", text);
        }
        let text = if lock_time < LOCK_TIME_THRESHOLD {
            format!("Locktime set to blockheight:\n{lock_time}")
        } else {
            format!("Locktime set to:\n{}", utc(lock_time))
        };
        let code = Code::ButtonRequest_SignTx;
        self.show(code, "nondefault_locktime", "Confirm Locktime", &text)
    }

    pub(super) fn show_total(&mut self, total: i128, fee: i128) -> Result<(), Stop> {
        let text = format!(
            "Total amount:\n{}\nIncluding fee:\n{}",
            self.amount(total),
            self.amount(fee)
        );
        let code = Code::ButtonRequest_SignTx;
        self.show(code, "confirm_total", "Summary", &text)
    }

    pub(super) fn show_joint_total(&mut self, spending: i128, total: i128) -> Result<(), Stop> {
        let text = format!(
            "You are contributing:\n{}\nTo the total amount:\n{}",
            self.amount(spending),
            self.amount(total)
        );
        let code = Code::ButtonRequest_SignTx;
        self.show(code, "confirm_joint_total", "Joint transaction", &text)
    }

    fn amount(&self, satoshi: i128) -> String {
        amount(satoshi, self.unit, self.coin.shortcut)
    }
}

fn amount(satoshi: i128, unit: AmountUnit, coin: &str) -> String {
    let (decimals, unit) = match unit {
        AmountUnit::BITCOIN => (8, coin.to_owned()),
        AmountUnit::MILLIBITCOIN => (5, format!("m{coin}")),
        AmountUnit::MICROBITCOIN => (2, format!("u{coin}")),
        AmountUnit::SATOSHI => (0, format!("sat {coin}")),
    };
    let digits = format!("{satoshi:0width$}", width = decimals + 1);
    let (whole, part) = digits.split_at(digits.len() - decimals);
    let mut text = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    let part = part.trim_end_matches('0');
    if !part.is_empty() {
        text.push('.');
        text.push_str(part);
    }
    format!("{text} {unit}")
}

/// Writes seconds since 1970 as a date and a time of day.
fn utc(seconds: u32) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // the civil calendar, counted from 1 March of year 0
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let day = day - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = 400 * era + year + u32::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_without_needless_zeros() {
        let written = |satoshi| amount(satoshi, AmountUnit::BITCOIN, "BTC");
        assert_eq!(written(600_000), "0.006 BTC");
        assert_eq!(written(100_000_000), "1 BTC");
        assert_eq!(written(123_456_700_000_001), "1,234,567.00000001 BTC");
        assert_eq!(amount(150, AmountUnit::SATOSHI, "TEST"), "150 sat TEST");
        assert_eq!(amount(150, AmountUnit::MICROBITCOIN, "BTC"), "1.5 uBTC");
    }

    #[test]
    fn a_lock_time_is_written_as_a_date() {
        assert_eq!(utc(1_231_006_505), "2009-01-03 18:15:05");
        assert_eq!(utc(1_709_164_800), "2024-02-29 00:00:00");
        assert_eq!(utc(u32::MAX), "2106-02-07 06:28:15");
    }
}
