//! What follows the statement that was left: another one, or a comment that hides the rest.

use super::{Found, Grade, Shapes, certain, is_plain};
use crate::detect::sql::lexer::{Context, Kind, Token};
use crate::detect::sql::vocabulary::Word;

impl Shapes<'_> {
    pub(super) fn stacked(&self, at: usize) -> Found {
        if self.after_break_out(at) && self.kind(at + 1) == Some(Kind::Comment) && self.plain_value() {
            return certain(at + 2, "closed quote, then a comment");
        }
        match self.kind(at + 1)? {
            Kind::Word(Word::Insert | Word::Update | Word::Delete | Word::Define) => self.statement(at + 1),
            Kind::Word(Word::Execute) => self.execute(at + 1),
            Kind::Word(Word::Select) => {
                let (end, _) = self.select_list(at + 1)?;
                certain(end, "stacked query")
            }
            Kind::Word(Word::Condition) => {
                let (end, _) = self.operand(at + 3)?;
                self.entered(at)
                    .then_some((Grade::Certain, end, "stacked condition"))
            }
            Kind::Word(Word::Shutdown)
                if self.at_end(at + 2)
                    || matches!(self.kind(at + 2), Some(Kind::Comment | Kind::Semicolon)) =>
            {
                certain(at + 2, "stacked shutdown")
            }
            Kind::Word(Word::Statement) if self.entered(at) => {
                let named = matches!(self.kind(at + 2), Some(Kind::Word(_)));
                named.then_some((Grade::Certain, at + 3, "stacked statement"))
            }
            Kind::Word(Word::Set) if self.kind(at + 2) == Some(Kind::Variable) => {
                certain(at + 3, "stacked assignment")
            }
            _ => None,
        }
    }

    pub(super) fn execute(&self, at: usize) -> Found {
        let name = self.skip(at + 1, Kind::OpenBracket);
        match self.kind(name)? {
            Kind::Variable | Kind::Text | Kind::Open(_) | Kind::Word(Word::Probe) => {}
            Kind::Word(Word::Name) => {
                let text = self.name(name);
                let procedure = text.contains(&b'.') || text.contains(&b'_');
                let argument = matches!(
                    self.kind(name + 1),
                    Some(Kind::Text | Kind::Open(_) | Kind::Variable | Kind::Comment)
                );
                if !procedure && !argument {
                    return None;
                }
            }
            _ => return None,
        }
        certain(name + 1, "procedure executed")
    }

    /// A statement that changes data or schema.
    pub(super) fn statement(&self, at: usize) -> Found {
        let stacked = at > 0 && self.kind(at - 1) == Some(Kind::Semicolon);
        let target = match self.kind(at)? {
            Kind::Word(Word::Insert | Word::Delete)
                if matches!(self.kind(at + 1), Some(Kind::Word(Word::Into | Word::From))) =>
            {
                at + 2
            }
            Kind::Word(Word::Define) if self.is(at + 1, Word::Object) => at + 2,
            Kind::Word(Word::Update) => at + 1,
            _ => return None,
        };
        if !matches!(self.kind(target), Some(Kind::Word(_))) {
            return None;
        }
        let next = target + 1;
        let proves = match self.kind(at)? {
            Kind::Word(Word::Insert) => {
                self.kind(next) == Some(Kind::OpenBracket)
                    || (self.is(next, Word::Values) && self.kind(next + 1) == Some(Kind::OpenBracket))
                    || self.is(next, Word::Select)
            }
            Kind::Word(Word::Delete) => self.is(next, Word::Where) && self.compared(next + 1).is_some(),
            Kind::Word(Word::Update) => self.is(next, Word::Set) && self.compared(next + 1).is_some(),
            _ => {
                self.comment(next)
                    || (at > 0 && self.at_end(next))
                    || self.kind(next) == Some(Kind::OpenBracket)
            }
        };
        (proves || stacked).then_some((Grade::Certain, next, "statement that changes data"))
    }

    /// A comment that cuts off the rest of the statement.
    pub(super) fn cut_off(&self, at: usize) -> Found {
        if at == 0 {
            return None;
        }
        if self.after_break_out(at) && self.plain_value() {
            let comment = self.name(at);
            let cuts = match comment {
                [b'#', next, ..] => !next.is_ascii_alphanumeric(),
                [b'-', b'-', next, ..] => !next.is_ascii_alphabetic(),
                _ => true,
            };
            // Options of a program and anchors of a page are quoted too.
            let leads = self.tokens[0].end() > 1 || !matches!(self.context, Context::Quoted(b'`'));
            return (cuts && leads).then_some((Grade::Certain, at + 1, "closed quote, then a comment"));
        }
        let bracketed = self.context == Context::Bare
            && self.first
            && self.kind(0) == Some(Kind::OpenBracket)
            && self.kind(at - 1) == Some(Kind::CloseBracket);
        let computed = |token: &Token| {
            matches!(
                token.kind,
                Kind::Text
                    | Kind::Variable
                    | Kind::SystemVariable
                    | Kind::Word(Word::Connective | Word::Prefix | Word::Probe | Word::Select)
            )
        };
        if bracketed && self.tokens[..at].iter().any(computed) {
            return certain(at + 1, "expression in brackets, then a comment");
        }
        (self.after_number(at) && self.at_end(at + 1)).then_some((
            Grade::Likely,
            at + 1,
            "value, then a comment",
        ))
    }

    /// The string that was left looks like a value: one word, or next to nothing.
    pub(super) fn plain_value(&self) -> bool {
        let Some(token) = self.tokens.first() else {
            return false;
        };
        is_plain(
            self.text
                .get(token.start()..token.end().saturating_sub(1))
                .unwrap_or_default(),
        )
    }
}
