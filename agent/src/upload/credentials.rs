//! The certificate that the agent connects with, kept up to date while the agent runs.
//!
//! Files are looked at every ten seconds, at once when somebody asks for it (SIGHUP), and before every
//! connection. Good new ones are taken up: a stream that stands is ended in order and begun anew with
//! them. Bad ones are told, and the old stay in force.

use gpuledger_proto::ids::NodeName;
use gpuledger_tls::{Client, FileError, Files, Watch};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// How often the files are looked at. A certificate that was just copied is not urgent, and a look
/// costs three system calls.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What to connect with. Clones are the same.
#[derive(Debug, Clone)]
pub struct Credentials(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Files,
    node: NodeName,
    state: Mutex<State>,
    /// Rises with every change that was taken up.
    renewed: watch::Sender<u64>,
    look: Notify,
}

#[derive(Debug)]
struct State {
    watch: Watch,
    /// What was read last and was good.
    client: Option<Client>,
    /// What was told last, so that it is told once.
    told: Vec<String>,
    /// False where there are no files to look at.
    is_watched: bool,
}

/// Which files are in force after a look at them.
enum Taken {
    New,
    Old,
}

impl Credentials {
    /// By files. Whether they are good is found when they are needed: an agent measures without them.
    pub fn of_files(files: Files, node: NodeName) -> Self {
        let state = State { watch: Watch::begin(&files), client: None, told: Vec::new(), is_watched: true };
        Self::new(files, node, state)
    }

    /// By what is in memory. `files` are named in messages.
    pub fn fixed(client: Client, files: Files, node: NodeName) -> Self {
        let watch = Watch::begin(&files);
        let state = State { watch, client: Some(client), told: Vec::new(), is_watched: false };
        Self::new(files, node, state)
    }

    fn new(files: Files, node: NodeName, state: State) -> Self {
        let (renewed, look) = (watch::Sender::new(0), Notify::new());
        Self(Arc::new(Inner { files, node, state: Mutex::new(state), renewed, look }))
    }

    pub(super) fn files(&self) -> Files {
        self.0.files.clone()
    }

    /// What a new connection is made with: the files as they are now or, where they are no good, as
    /// they were last.
    pub(super) fn fresh(&self) -> Result<Client, FileError> {
        let mut state = self.state();
        if state.is_watched {
            state.watch.has_changed();
            self.read(&mut state)?;
        }
        state.client.clone().ok_or_else(|| FileError::Missing {
            path: self.0.files.certificate.clone(),
            make: "`gpuledger ca issue NODE` makes it",
        })
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
        loop {
            let asked = tokio::time::timeout(LOOK_EVERY, self.0.look.notified()).await.is_ok();
            let mut state = self.state();
            if !state.is_watched || !(state.watch.has_changed() || asked) {
                continue;
            }
            // The connection that stands does not need what is no good, and why it is not was told.
            if let Ok(Taken::New) = self.read(&mut state) {
                self.0.renewed.send_modify(|count| *count = count.saturating_add(1));
            }
        }
    }

    /// Reads the files. They are a few thousand bytes, so this does not wait for long.
    fn read(&self, state: &mut State) -> Result<Taken, FileError> {
        let read = self.0.files.client();
        let told = match &read {
            Ok(client) => self.warnings(client),
            Err(error) => vec![error.to_string()],
        };
        if told != state.told {
            for warning in &told {
                let in_force = if read.is_err() && state.client.is_some() {
                    "; the old files stay in force"
                } else {
                    ""
                };
                tracing::warn!("{warning}{in_force}");
            }
            state.told = told;
        }
        match read {
            Ok(client) => {
                state.client = Some(client);
                Ok(Taken::New)
            }
            Err(_) if state.client.is_some() => Ok(Taken::Old),
            Err(error) => Err(error),
        }
    }

    fn warnings(&self, client: &Client) -> Vec<String> {
        let mut warnings = client.facts.warnings.clone();
        warnings.extend(wrong_node(client, &self.0.files, &self.0.node));
        warnings
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
