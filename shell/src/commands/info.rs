use crate::{app::App, report::Report};
pub fn run(_a: &mut App, _j: bool) -> Result<(), Report> {
    Ok(())
}
