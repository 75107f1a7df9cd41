//! `dunlin bench`: puts a broker under load, checks every message and says what it cost.
//!
//! ```text
//!  traffic, storm, kept      the patterns: who connects and what is sent
//!          |
//!         run                tasks of publishers and subscribers; phases; the end
//!        /    \
//!  publisher  subscriber     each over a connection of the room `client`
//!        \    /
//!        board               how far everybody is; what came, twice, late or not at all
//! ```
//!
//! One thread serves all clients, with one write for all a window allows and one read for all that
//! came, so that the broker is the bottleneck. The board is plain cells, since that thread is the
//! only one. Whatever is waited for is waited for a bounded time.

mod arguments;
mod beside;
mod board;
mod error;
mod kept;
mod progress;
mod publisher;
mod report;
mod run;
mod sequence;
mod setting;
mod stamp;
mod storm;
mod subscriber;
mod traffic;
mod usage;

use std::io::Write;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};

pub use arguments::Arguments;
pub use error::BenchError;
pub use progress::Progress;
pub use report::Faults;

use super::CommandError;
use arguments::{Idle, Pattern, Wildcard};
use report::Report;
use traffic::Plan;

/// Runs one pattern and reports on `output`; what went wrong with messages decides the exit code.
///
/// # Errors
/// If there is nothing to report, since the broker cannot be reached or does not answer.
pub fn run(
    arguments: &Arguments,
    output: &mut impl Write,
    mut progress: Progress<'_>,
) -> Result<Faults, CommandError> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = runtime.map_err(BenchError::Machine)?;
    let report = runtime.block_on(measure(&arguments.pattern, &mut progress));
    progress.clear();
    let report = report?;
    if arguments.pattern.common().json {
        report.write_json(output)?;
    } else {
        report.write_text(output)?;
    }
    Ok(report.faults)
}

async fn measure(pattern: &Pattern, progress: &mut Progress<'_>) -> Result<Report, BenchError> {
    let common = pattern.common();
    let (plan, traffic) = match pattern {
        Pattern::P2p(it) => (Plan::Pairs { pairs: it.pairs }, &it.traffic),
        Pattern::FanOut(it) => (Plan::FanOut { subscribers: it.subscribers }, &it.traffic),
        Pattern::FanIn(it) => {
            let publishers = it.publishers;
            let plan = match it.shared {
                Some(members) => Plan::Shared { publishers, members },
                None => Plan::FanIn { publishers },
            };
            (plan, &it.traffic)
        }
        Pattern::Wildcard(Wildcard { pairs, filters, topics, traffic, .. }) => {
            (Plan::Wildcard { pairs: *pairs, filters: *filters, topics: *topics }, traffic)
        }
        Pattern::Connect(storm) => {
            return storm::run("connect", storm, Duration::ZERO, progress).await;
        }
        Pattern::Idle(Idle { storm, seconds }) => {
            return storm::run("idle", storm, *seconds, progress).await;
        }
        Pattern::Retained(options) => return kept::retained(options, progress).await,
        Pattern::Offline(options) => return kept::offline(options, progress).await,
    };
    traffic::run(plan, traffic, common, progress).await
}
