//! The C interface, by subject.

pub mod events;
pub mod fields;
pub mod gpm;
pub mod health;
pub mod identity;
pub mod internal;
pub mod modern;
pub mod power;
pub mod rest;
pub mod system;
pub mod usage;
