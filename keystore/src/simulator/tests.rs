mod behaviour;
mod host;
mod replay;
mod servers;
mod sign_tx;
mod transports;
mod vectors;
