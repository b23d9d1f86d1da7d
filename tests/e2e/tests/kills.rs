//! Counted once, whoever dies: collectors, agents and the database are killed at random moments, and
//! again and again the ledger is compared with the truth, to the millijoule and the millisecond.
//!
//! `GPULEDGER_KILLS` says how often, `GPULEDGER_TEST_SEED` repeats the moments of a run.

use anyhow::{Context as _, Result, ensure};
use gpuledger_e2e::killing::{Dice, Scene};
use gpuledger_real_postgres::{Server, Settings};
use std::time::Instant;

/// Kills of a normal run.
const ON_A_FILE: u64 = 30;
const ON_POSTGRES: u64 = 15;

/// Most rounds have several kills, few have none.
const fn rounds(kills: u64) -> u64 {
    2 * kills
}

fn kills_asked_for(usual: u64) -> Result<u64> {
    match std::env::var("GPULEDGER_KILLS") {
        Ok(text) => text.parse().context("GPULEDGER_KILLS is a number"),
        Err(_) => Ok(usual),
    }
}

/// Rounds until so many kills are done, the ledger equal to the truth after each of them.
async fn kill(mut scene: Scene, kills: u64) -> Result<()> {
    let mut dice = Dice::new()?;
    let began = Instant::now();
    let mut rounds = 0;
    while scene.kills() < kills {
        rounds += 1;
        let before = scene.kills();
        let agreement = scene.round(kills - before, &mut dice).await;
        let agreement = agreement.with_context(|| format!("round {rounds}, kills from {before} on"))?;
        let seconds = began.elapsed().as_secs();
        println!("after {} kills in {rounds} rounds and {seconds} s: {agreement}", scene.kills());
    }
    let (commits, files) = scene.written().await?;
    ensure!(commits > kills, "only {commits} commits: the kills fell between them");
    println!("{}", scene.end().await?);
    println!(
        "{kills} kills in {:.1} s: the ledger was equal to the truth after each of {rounds} rounds; \
         {commits} commits, {files} files of closed days",
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

#[tokio::test]
async fn collector_and_agents_killed_again_and_again_leave_the_truth_in_the_ledger() -> Result<()> {
    let kills = kills_asked_for(ON_A_FILE)?;
    kill(Scene::on_a_file(rounds(kills))?, kills).await
}

#[tokio::test]
async fn two_collectors_their_database_and_their_agents_killed_leave_the_truth_in_it() -> Result<()> {
    let kills = kills_asked_for(ON_POSTGRES)?;
    let Some(postgres) = Server::start(&Settings::default())? else { return Ok(()) };
    kill(Scene::on(postgres, rounds(kills))?, kills).await
}
