//! Identities and outcomes: who says what, and what becomes of it.
//!
//! A node is its name, an agent's run is its epoch, a batch is its sequence within the epoch, and a
//! GPU is what its driver calls it. An epoch belongs to one node, and what is remembered of a GPU to
//! one node at a time, its holder. All of that is checked in the transaction that writes the rows, so
//! whatever comes to any number of collectors, in whatever order, is counted once or not at all.
//!
//! The table is in order of precedence: of what applies to a message, the first row decides. Each row
//! is a test of the same name, in `tests/identity*.rs`, against a real ledger.
//!
//! | case | what comes | answer | counted | what an operator reads |
//! |---|---|---|---|---|
//! | `collector_ends` | the collector is told to end | what is folded is committed and acknowledged, then UNAVAILABLE | once | log: stream refused: not available |
//! | `store_that_fails` | anything, while the ledger takes no commit | nothing is acknowledged; the agent keeps it | when the ledger is back | `/readyz` and one log line with the reason; commits failed |
//! | `no_hello` | another message first, a second hello, an unknown name or no revision | INVALID | nothing | log: what it sent is not valid; refusals invalid |
//! | `another_node_s_certificate` | a hello under another name than the certificate's | INVALID, with both names | nothing | log: what it sent is not valid; limits broken: identity |
//! | `later_protocol` | a higher revision, fields and messages unknown here | welcomed; what is unknown is ignored | as usual | the agent's version in the log |
//! | `two_streams_of_one_node` | a second stream, as after a link that broke | the newer goes on, the older: MOVED | once; what the older left uncommitted is kept | refusals moved |
//! | `one_name_on_two_machines` | a copied machine or spool under the same name, both live | each in turn: MOVED to the other | what was copied once; each machine's own GPUs and epochs | log: streams of this node replace each other; nodes contested |
//! | `spool_of_another_node` | a segment that another node's agent wrote | INVALID, with both names; the agent itself does not start on such a spool | nothing; nothing is registered | the message in both logs; the agent ends with code 2 and says how to mend it |
//! | `epoch_of_another_node` | the same from an agent that did not write names yet | INVALID, with the node that has the epoch | nothing | the message in both logs |
//! | `batch_before_segment` | a batch of nothing | INVALID | nothing | refusals invalid |
//! | `old_spool_sent_again` | a spool whose batches were acknowledged | Opened names what is committed; what comes anyway is acknowledged | nothing | batches repeated |
//! | `ledger_restored_from_a_backup` | a sequence that is ahead of the ledger's: the agents have let go | Opened names the older sequence; what the spool still has comes again | what comes; the rest is unmonitored time, its energy is in the counter's next difference | log: batches are missing; batches dropped |
//! | `batches_that_the_agent_dropped` | a segment that begins behind a hole: full or damaged spool | Opened; the hole is passed over | the same | the same, and the agent's own count |
//! | `reinstalled_agent` | a new epoch, an empty spool | Opened at 0 | the counter goes on; the time between is unmonitored | nothing |
//! | `gpu_moved_to_another_node` | a GPU that another node holds | taken over with what is remembered of it | the counter and the hours go on | log: took GPUs over; GPUs moved |
//! | `gpu_on_two_nodes_at_once` | the same, again and again from both | the one that commits takes it, the other: MOVED, and takes it back | once, slowly | the same at every change |
//! | `duplicate_batch` | a sequence that was folded before | acknowledged as soon as it is committed | nothing more | batches repeated |
//! | `batch_out_of_order` | a sequence behind a hole that no segment announced | INVALID, with both numbers | nothing of it; what came before is | refusals invalid |
//! | `batch_that_cannot_be_read` | columns, owners or rows beyond a limit | INVALID, naming the batch; the agent sets it aside after five times | nothing of it; what came before is | batches refused; the agent's log names the file |
//! | `clock_days_ahead` | samples more than 26 hours ahead of the collector's clock | acknowledged | nothing of them; their energy is in the next difference | log when it begins and ends; samples ahead, by node |
//! | `two_collectors_at_once` | the same node at a second collector | the one that commits second: MOVED | once | commits moved |
//! | `collector_replaced_in_mid_stream` | a collector is gone before it committed or acknowledged | Opened at the other names what is committed; the rest comes again | once, whatever the first one still tries | commits moved at the first one, if it lives |
//! | `batch_that_the_ledger_cannot_store` | amounts beyond a row | INVALID; sent again, batches are committed one by one, and the refusal names the one | nothing of it; what came before is | batches refused; the agent's log names the file |
