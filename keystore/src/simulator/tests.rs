mod behaviour;
mod host;
mod replay;
mod servers;
mod vectors;
