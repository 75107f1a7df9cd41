//! A subscriber: checks each message that comes.

use std::cell::RefCell;
use std::rc::Rc;

use super::board::{Batch, Board, Inbox, Stage};
use super::error::BenchError;
use super::publisher::either;
use super::setting::Client;
use crate::client::Event;

pub(super) struct Subscriber {
    pub(super) client: Client,
    pub(super) index: usize,
    pub(super) board: Rc<Board>,
    /// Of its own, or of its group.
    pub(super) inbox: Rc<RefCell<Inbox>>,
}

impl Subscriber {
    /// Receives until the board says to leave.
    pub(super) async fn run(mut self) -> Result<(), BenchError> {
        let board = Rc::clone(&self.board);
        let inbox = Rc::clone(&self.inbox);
        let Some(news) = board.news.get(self.index) else { return Ok(()) };
        let mut batch = Batch::default();
        let mut refused = None;
        while board.stage.get() != Stage::Over {
            let turn = self.client.connection.turn(|event| match event {
                Event::Subscribed(_, mut codes) => refused = codes.find(|code| code.is_error()),
                event => take(&event, &inbox, &board, &mut batch),
            });
            let turn = either(turn, news.notified()).await;
            batch.note(&board);
            if let Some(turn) = turn {
                turn.map_err(|source| self.client.failed(source))?;
            }
            if let Some(code) = refused {
                let client = self.client.name.clone();
                return Err(BenchError::NotSubscribed { client, code });
            }
        }
        // What comes twice may come after all the rest.
        self.client.settle(|event| take(&event, &inbox, &board, &mut batch)).await?;
        batch.note(&board);
        self.client.leave().await;
        Ok(())
    }
}

#[inline]
fn take(event: &Event<'_>, inbox: &RefCell<Inbox>, board: &Board, batch: &mut Batch) {
    match event {
        Event::Message(message) => inbox.borrow_mut().take(message.payload, board, batch),
        Event::Published(..) | Event::Subscribed(..) | Event::Pong => {}
    }
}
