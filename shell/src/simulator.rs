//! x
use crate::{cli::Flags, report::Report, ui::Holder};
#[derive(Debug)]
pub struct Embedded;
impl Embedded {
    pub fn new(_f: &Flags) -> Result<Self, Report> {
        Ok(Self)
    }
    pub fn transport(&self) -> Box<dyn bcm_keystore::device::Transport> {
        unimplemented!()
    }
}
pub fn holder(_f: &Flags) -> Holder {
    Holder::Person
}
