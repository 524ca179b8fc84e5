//! Serves a simulated Trezor until a line (or the end) comes on standard input.
//!
//! ```sh
//! cargo run -p bcm-keystore --features simulator --example simulator -- 127.0.0.1:21324 127.0.0.1:21325
//! trezorctl -p udp:127.0.0.1:21324 get-features
//! ```
//!
//! The first address is served as UDP, the second as a bridge. Everything is confirmed; where the
//! passphrase is asked on the device, `bcm test` is typed.

use std::error::Error;

use bcm_keystore::secret::Passphrase;
use bcm_keystore::simulator::{AutoConfirm, Simulator};

#[expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]
fn main() -> Result<(), Box<dyn Error>> {
    let passphrase = Passphrase::read_line(&b"bcm test"[..])?;
    let person = AutoConfirm {
        passphrase: Some(passphrase),
        pin: None,
    };
    let simulator = Simulator::builder().person(person).build();

    let mut addresses = std::env::args().skip(1);
    let udp = addresses.next().unwrap_or_else(|| "127.0.0.1:0".into());
    let udp = simulator.serve_udp(udp.parse()?)?;
    println!("listening on udp:{}", udp.address());
    let bridge = addresses
        .next()
        .map(|address| address.parse())
        .transpose()?;
    let bridge = bridge
        .map(|address| simulator.serve_bridge(address))
        .transpose()?;
    if let Some(bridge) = &bridge {
        println!("listening on bridge:http://{}", bridge.address());
    }
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}
