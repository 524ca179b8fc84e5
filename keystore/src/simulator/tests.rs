mod behaviour;
mod host;
mod replay;
mod servers;
mod transports;
mod vectors;
