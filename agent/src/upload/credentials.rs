//! The certificate that the agent connects with, kept up to date while the agent runs.
//!
//! Files are looked at every ten seconds, at once when somebody asks for it (SIGHUP), and before every
//! connection. Good new ones are taken up: a stream that stands is ended in order and begun anew with
//! them. Bad ones are told, and the old stay in force.

use gpuledger_proto::ids::NodeName;
use gpuledger_tls::{Client, FileError, Files, Kept, LOOK_EVERY, Read};
use std::future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// What to connect with. Clones are the same.
#[derive(Debug, Clone)]
pub struct Credentials(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Files,
    node: NodeName,
    source: Source,
    /// Rises with every change that was taken up.
    renewed: watch::Sender<u64>,
    look: Notify,
}

#[derive(Debug)]
enum Source {
    Files(Box<Mutex<Kept<Client>>>),
    Memory(Client),
}

impl Credentials {
    /// By files. Whether they are good is found when they are needed: an agent measures without them.
    pub fn of_files(files: Files, node: NodeName) -> Self {
        let source = Source::Files(Box::new(Mutex::new(Kept::new(files.clone(), Files::client))));
        Self::new(files, node, source)
    }

    /// By what is in memory. `files` are named in messages.
    pub fn fixed(client: Client, files: Files, node: NodeName) -> Self {
        Self::new(files, node, Source::Memory(client))
    }

    fn new(files: Files, node: NodeName, source: Source) -> Self {
        let (renewed, look) = (watch::Sender::new(0), Notify::new());
        Self(Arc::new(Inner { files, node, source, renewed, look }))
    }

    pub(super) fn files(&self) -> &Files {
        &self.0.files
    }

    /// What a new connection is made with: the files as they are now or, where they are no good, as
    /// they were last.
    pub(super) fn fresh(&self) -> Result<Client, FileError> {
        let kept = match &self.0.source {
            Source::Files(kept) => kept,
            Source::Memory(client) => return Ok(client.clone()),
        };
        let mut kept = lock(kept);
        let read = kept.read(|client| self.warnings(client));
        tell(&read);
        match read {
            Read::Taken { now, .. } => Ok(now),
            Read::Refused { error, .. } => kept.current().cloned().ok_or(error),
        }
    }

    /// Asks for a look at the files now.
    pub fn look(&self) {
        self.0.look.notify_one();
    }

    /// Changes whenever new files were taken up.
    pub(super) fn renewed(&self) -> watch::Receiver<u64> {
        self.0.renewed.subscribe()
    }

    /// Looks at the files for ever.
    pub(super) async fn keep(&self) {
        let Source::Files(kept) = &self.0.source else { return future::pending().await };
        loop {
            let asked = timeout(LOOK_EVERY, self.0.look.notified()).await.is_ok();
            let Some(read) = lock(kept).look(asked, |client| self.warnings(client)) else { continue };
            tell(&read);
            // The connection that stands does not need what is no good.
            if let Read::Taken { .. } = read {
                self.0.renewed.send_modify(|count| *count = count.saturating_add(1));
            }
        }
    }

    /// What the collector will not like.
    fn warnings(&self, client: &Client) -> Vec<String> {
        let mut warnings = client.facts.warnings.clone();
        warnings.extend(wrong_node(client, &self.0.files, &self.0.node));
        warnings
    }
}

fn tell(read: &Read<Client>) {
    let (Read::Taken { news, .. } | Read::Refused { news, .. }) = read;
    for news in news {
        tracing::warn!("{news}");
    }
}

fn lock(kept: &Mutex<Kept<Client>>) -> MutexGuard<'_, Kept<Client>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is wrong with the certificate's node, if it is not this one. The collector will refuse it.
pub fn wrong_node(client: &Client, files: &Files, node: &NodeName) -> Option<String> {
    let certificate = files.certificate.display();
    match client.facts.own.node() {
        Ok(named) if named == *node => None,
        Ok(named) => Some(format!(
            "{certificate} is of node {named}, and this agent is {node} (key node): issue one with `gpuledger ca \
             issue {node}`, or set node = \"{named}\""
        )),
        Err(error) => Some(format!("{certificate}: {error}; issue one with `gpuledger ca issue {node}`")),
    }
}
