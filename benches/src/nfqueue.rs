//! The scoring engine behind `NFQUEUE`: what the same verdicts cost where the kernel hands every packet to a program and waits for
//! its word. It runs in a lab's gateway as a process of its own, this program once more.
//!
//! A packet that completes an attack gets a mark and goes through the chain again, where a rule answers it with a reset.

mod flows;

use std::{
    env,
    io::ErrorKind,
    sync::mpsc::{self, TryRecvError},
    thread,
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use nfq::{Message, Queue, Verdict};
use xtask::lab::Lab;

use crate::{netfilter, process::Process, score};
use flows::Flows;

/// The queue's number.
const QUEUE: u16 = 0;
/// The mark of refused packets.
const REFUSED: u32 = 1;
/// Packets that the kernel keeps for the program; more are dropped.
const LENGTH: u32 = 8192;

/// When the kernel hears of verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verdicts {
    /// Before the next packet is read: one thread.
    Synchronous,
    /// Whenever they are there: one thread talks to the kernel, another one scores.
    Asynchronous,
}

/// Puts it in a lab's gateway, for what clients send to a port.
pub(crate) fn start(lab: &Lab, port: u16, verdicts: Verdicts) -> Result<Process> {
    let program = env::current_exe().context("finding this program's own path")?;
    let mut command = lab.gateway().command(program);
    let value = verdicts.to_possible_value();
    command.args(["--nfqueue", value.as_ref().map_or("", |value| value.get_name())]);
    let process = Process::start(lab, "nfqueue", command, |_| netfilter::has_queue(lab, QUEUE))?;
    let requests = format!("-A FORWARD -p tcp --dport {port}");
    netfilter::add(
        lab,
        &[
            format!("{requests} -m mark --mark {REFUSED} -j REJECT --reject-with tcp-reset"),
            format!("{requests} -j NFQUEUE --queue-num {QUEUE}"),
        ],
    )?;
    Ok(process)
}

/// Gives verdicts until it is killed.
pub(crate) fn run(verdicts: Verdicts) -> Result<()> {
    let flows = Flows::new(score::operating()?);
    let mut queue = Queue::open().context("opening the netlink socket")?;
    queue
        .bind(QUEUE)
        .with_context(|| format!("binding to NFQUEUE {QUEUE}"))?;
    queue.set_queue_max_len(QUEUE, LENGTH)?;
    // Joined packets come as they are, as they do through XDP.
    queue.set_recv_gso(QUEUE, true)?;
    match verdicts {
        Verdicts::Synchronous => synchronous(queue, flows),
        Verdicts::Asynchronous => asynchronous(queue, flows),
    }
}

fn judge(flows: &mut Flows, message: &mut Message) {
    if flows.take(message.get_payload()) {
        message.set_verdict(Verdict::Accept);
    } else {
        message.set_nfmark(REFUSED);
        message.set_verdict(Verdict::Repeat);
    }
}

fn synchronous(mut queue: Queue, mut flows: Flows) -> Result<()> {
    loop {
        let mut message = queue.recv().context("reading a packet")?;
        judge(&mut flows, &mut message);
        queue.verdict(message).context("sending a verdict")?;
    }
}

fn asynchronous(mut queue: Queue, mut flows: Flows) -> Result<()> {
    let (jobs, todo) = mpsc::channel::<Message>();
    let (answers, done) = mpsc::channel::<Message>();
    thread::Builder::new()
        .name("scorer".to_owned())
        .spawn(move || {
            for mut message in todo {
                judge(&mut flows, &mut message);
                if answers.send(message).is_err() {
                    return;
                }
            }
        })
        .context("starting the scorer's thread")?;
    // Packets that are being scored. Without any, only the kernel can bring something new.
    let mut underway = 0_usize;
    loop {
        queue.set_nonblocking(underway > 0);
        match queue.recv() {
            Ok(message) => {
                jobs.send(message).context("the scorer has ended")?;
                underway += 1;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let message = done.recv().context("the scorer has ended")?;
                queue.verdict(message).context("sending a verdict")?;
                underway -= 1;
            }
            Err(error) => return Err(error).context("reading a packet"),
        }
        loop {
            match done.try_recv() {
                Ok(message) => {
                    queue.verdict(message).context("sending a verdict")?;
                    underway -= 1;
                }
                Err(TryRecvError::Empty) => break,
                Err(error) => return Err(error).context("the scorer has ended"),
            }
        }
    }
}
