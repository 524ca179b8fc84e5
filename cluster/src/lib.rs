//! Hosts, reached over SSH with keys from the device.
