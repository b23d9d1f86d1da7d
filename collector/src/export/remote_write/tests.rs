//! What the tests of remote write share, and those of the whole.

mod once;
pub mod receiver;
pub mod samples;
