//! The disasters of a file, by kind.

mod backup;
mod faults;
mod migration;
mod replaced;
