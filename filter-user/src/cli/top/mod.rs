//! `portcullis top`

mod ask;
mod board;
mod keys;
mod order;
mod pane;
mod screen;
mod signals;
#[cfg(test)]
mod testing;
mod view;

use std::{
    io::{IsTerminal as _, Write, stdout},
    sync::mpsc::{Receiver, TryRecvError},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use ratatui::{
    DefaultTerminal, Terminal,
    backend::TestBackend,
    crossterm::{
        event::{self, Event},
        terminal,
    },
};

use super::{Connection, connection::print_json, http::Http};
use ask::News;
use board::Board;
use order::Operator;
use signals::Signals;
use view::View;

/// How long news may wait to be drawn; keys do not wait.
const FRAME: Duration = Duration::from_millis(100);
/// The size of a screen that goes elsewhere than to a terminal, columns and rows.
const SIZE: (u16, u16) = (132, 40);

/// Watch the running engine: rates, latency, requests, sources and blocks, once a second.
#[derive(Debug, Args)]
#[command(after_help = "Keys:
  Tab, arrows  another table, another row    b  block the client of the row for an hour
  Enter        all about the request         u  end its block
  p            pause                         a  always let it pass
  ?            help                          q  quit

Examples:
  sudo portcullis top
  sudo portcullis top --once --width 160 --height 50
  sudo portcullis top --json | jq .points[-1].requests")]
pub(super) struct Top {
    /// Print one screen as plain text, and end
    #[arg(long)]
    once: bool,
    /// Print what a screen is made of, as JSON, and end
    #[arg(long)]
    json: bool,
    /// Columns of `--once` [default: the terminal's, or 132]
    #[arg(long, value_name = "COLUMNS", value_parser = clap::value_parser!(u16).range(1..=1000), requires = "once")]
    width: Option<u16>,
    /// Rows of `--once` [default: the terminal's, or 40]
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u16).range(1..=1000), requires = "once")]
    height: Option<u16>,
}

impl Top {
    pub(super) fn run(self, connection: &Connection, out: &mut dyn Write) -> anyhow::Result<()> {
        let http = Http::of(connection)?;
        if !self.json && !self.once {
            ensure!(
                stdout().is_terminal(),
                "the screen needs a terminal\n  fix: `portcullis top --once` prints it as text, `--json` for programs"
            );
            // What is wrong at the start is said before the screen is taken.
            http.get("/v1/access")?;
            let signals = Signals::hold().context("waiting for signals")?;
            let done = ratatui::try_init()
                .context("taking the screen")
                .and_then(|terminal| watch(http, terminal, &signals));
            let restored = ratatui::try_restore();
            return done.and(restored.context("giving the screen back"));
        }
        let mut board = Board::default();
        for news in ask::all(&http)? {
            board.take(news);
        }
        if self.json {
            return print_json(out, &board.json());
        }
        let usual = stdout().is_terminal().then(|| terminal::size().ok()).flatten();
        let (columns, rows) = usual.unwrap_or(SIZE);
        let size = (self.width.unwrap_or(columns), self.height.unwrap_or(rows));
        Ok(out.write_all(printed(&board, size)?.as_bytes())?)
    }
}

/// One screen as text.
fn printed(board: &Board, (columns, rows): (u16, u16)) -> anyhow::Result<String> {
    let mut terminal = Terminal::new(TestBackend::new(columns.max(1), rows.max(1)))?;
    terminal.draw(|frame| screen::draw(frame, board, &View::default()))?;
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for row in buffer.content.chunks(usize::from(buffer.area.width)) {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    Ok(text)
}

/// Shows what comes until somebody quits, or a signal comes.
fn watch(http: Http, mut terminal: DefaultTerminal, signals: &Signals) -> anyhow::Result<()> {
    let (mut board, mut view) = (Board::default(), View::default());
    let http = std::sync::Arc::new(http);
    let (teller, news) = ask::channel();
    ask::keep_asking(std::sync::Arc::clone(&http), teller.clone())?;
    let operator = Operator::start(http, teller)?;
    let mut stale = true;
    while !signals.has_come() {
        if stale {
            terminal.draw(|frame| screen::draw(frame, view.frozen().unwrap_or(&board), &view))?;
        }
        stale = false;
        if event::poll(FRAME)? {
            stale = true;
            if let Event::Key(key) = event::read()?
                && key.is_press()
            {
                match keys::press(&mut view, &board, key) {
                    Some(keys::Wish::Quit) => return Ok(()),
                    Some(keys::Wish::Carry(order)) => operator.carry_out(order, &mut view),
                    None => {}
                }
            }
        }
        stale |= take_all(&news, &mut board, &mut view)?;
    }
    Ok(())
}

/// Whether there was any.
fn take_all(news: &Receiver<News>, board: &mut Board, view: &mut View) -> anyhow::Result<bool> {
    let mut any = false;
    for _ in 0..ask::WAITING {
        match news.try_recv() {
            Ok(News::Done(said)) => view.say(said),
            Ok(news) => board.take(news),
            Err(TryRecvError::Empty) => break,
            Err(TryRecvError::Disconnected) => anyhow::bail!("nobody asks the engine any more"),
        }
        any = true;
    }
    Ok(any)
}
