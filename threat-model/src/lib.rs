//! What bcm defends against, as data and prose.
