//! Certificate files of agents and collectors: what is read from them, what is wrong with them, and
//! when they have changed.
//!
//! Both sides have three files: the CA that the other side's certificate comes from, the own
//! certificate, and its key. [`Files`] names them, [`Pem`] is what they hold, [`Client`] and [`Server`]
//! are what both make of them when they are good together, [`Kept`] replaces them while a program runs,
//! and [`handshake`] says in one sentence why a connection failed for their sake.
//!
//! A node is whom its certificate names ([`Certificate::node`]): in the name `gpuledger://node/NAME`
//! among its alternative names or, where there is none, in its only DNS name.

mod certificate;
mod files;
pub mod handshake;
mod kept;
mod time;
mod watch;

pub use certificate::{Certificate, NODE_URI, NoNode, NotACertificate, Purpose};
pub use files::{Client, Facts, FileError, Files, Pem, Server};
pub use kept::{Kept, LOOK_EVERY, Read};
pub use time::day;
