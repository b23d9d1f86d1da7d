//! Certificate files of agents and collectors.
