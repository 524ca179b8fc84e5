//! The host's flow on the simulated device.

mod attacks;
mod devices;
mod flows;
mod replay;
