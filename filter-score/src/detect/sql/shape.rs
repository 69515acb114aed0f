//! The shapes: short sequences of tokens that make sense in an injection and nowhere else.

mod expression;
mod statement;

use super::lexer::{Context, Kind, Token};
use super::vocabulary::{self, Word};
use crate::detect::{Evidence, Grade};

/// What an operand is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operand {
    /// Numbers and strings.
    Constant,
    /// Names and variables.
    Name,
    /// A function that injections call, a system variable or a subquery.
    Probe,
}

/// A window of tokens and what is known of its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shapes<'a> {
    pub(super) text: &'a [u8],
    pub(super) tokens: &'a [Token],
    pub(super) context: Context,
    /// The window begins with the field.
    pub(super) first: bool,
    /// The window ends with the field.
    pub(super) ended: bool,
}

/// How many bytes before a shape its evidence has at most.
const SHOWN: usize = 16;

type Found = Option<(Grade, usize, &'static str)>;

#[expect(clippy::unnecessary_wraps, reason = "every shape ends in it")]
fn certain(end: usize, label: &'static str) -> Found {
    Some((Grade::Certain, end, label))
}

#[expect(clippy::unnecessary_wraps, reason = "every shape ends in it")]
fn likely(end: usize, label: &'static str) -> Found {
    Some((Grade::Likely, end, label))
}

impl Shapes<'_> {
    /// The first shape that is certain, or else the first one, with the value before it. Every position looks at a
    /// bounded number of tokens.
    pub(super) fn find(self) -> Option<(Grade, Evidence)> {
        let mut likely = None;
        for at in 0..self.tokens.len() {
            let Some((grade, end, label)) = self.shape(at) else {
                continue;
            };
            let last = end.clamp(at + 1, self.tokens.len()) - 1;
            let start = self.tokens[at].start();
            let value = self.tokens[at.saturating_sub(1)].start();
            let evidence = Evidence {
                start: value.max(start.saturating_sub(SHOWN)),
                end: self.tokens[last].end().min(self.tokens[last].start() + 64),
                label,
            };
            if grade == Grade::Certain {
                return Some((grade, evidence));
            }
            likely = likely.or(Some((grade, evidence)));
        }
        likely
    }

    fn kind(&self, at: usize) -> Option<Kind> {
        self.tokens.get(at).map(|token| token.kind)
    }

    fn is(&self, at: usize, word: Word) -> bool {
        self.kind(at) == Some(Kind::Word(word))
    }

    fn skip(&self, mut at: usize, kind: Kind) -> usize {
        while self.kind(at) == Some(kind) {
            at += 1;
        }
        at
    }

    fn name(&self, at: usize) -> &[u8] {
        self.tokens.get(at).map_or(&[], |token| {
            self.text.get(token.start()..token.end()).unwrap_or_default()
        })
    }

    /// Past the last token, and nothing comes after it.
    fn at_end(&self, at: usize) -> bool {
        self.ended && at >= self.tokens.len()
    }

    fn comment(&self, at: usize) -> bool {
        matches!(self.kind(at), Some(Kind::Comment))
            || (self.kind(at) == Some(Kind::Semicolon) && self.kind(at + 1) == Some(Kind::Comment))
    }

    /// Directly after the string that the field left, brackets aside.
    fn after_break_out(&self, at: usize) -> bool {
        self.first
            && self.context != Context::Bare
            && (at == 1 || (at == 2 && matches!(self.kind(1), Some(Kind::CloseBracket | Kind::Operator))))
    }

    /// Directly after a single value with which the field begins, in a bare context.
    fn after_number(&self, at: usize) -> bool {
        if !self.first || self.context != Context::Bare {
            return false;
        }
        let value = usize::from(self.kind(0) == Some(Kind::Operator));
        let value = value + usize::from(self.kind(value) == Some(Kind::OpenBracket));
        let numeric = matches!(
            self.kind(value),
            Some(Kind::Number | Kind::Text | Kind::SystemVariable | Kind::Word(Word::Constant))
        );
        numeric && at == value + 1 + usize::from(self.kind(value + 1) == Some(Kind::CloseBracket))
    }

    /// Where a statement can be entered.
    fn entered(&self, at: usize) -> bool {
        self.after_break_out(at) || self.after_number(at)
    }

    fn shape(&self, at: usize) -> Found {
        match self.kind(at)? {
            Kind::Word(word) => self.word(at, word),
            Kind::Pipes => self.connective(at),
            Kind::Comparison => self.comparison_after_quote(at),
            Kind::Operator => self.operator(at),
            Kind::Semicolon => self.stacked(at),
            Kind::Comment => self.cut_off(at),
            Kind::Executable => matches!(self.kind(at + 1), Some(Kind::Word(word)) if word != Word::Name)
                .then_some((Grade::Certain, at + 2, "executable comment")),
            _ => None,
        }
    }

    fn word(&self, at: usize, word: Word) -> Found {
        match word {
            Word::Union => self.union(at),
            Word::Select => self.select(at),
            Word::Connective => self.connective(at),
            Word::Comparison => self.comparison_after_quote(at),
            Word::Prefix if self.is(at + 1, Word::Comparison) => self.comparison_after_quote(at),
            Word::OrderGroup => self.order(at),
            Word::Having => self.having(at),
            Word::Where | Word::When => self.condition(at),
            Word::Limit => self.limit(at),
            Word::Into if self.is(at + 1, Word::File) => {
                let named = matches!(
                    self.kind(at + 2),
                    Some(
                        Kind::Text
                            | Kind::Open(_)
                            | Kind::Number
                            | Kind::OpenBracket
                            | Kind::Variable
                            | Kind::Word(Word::Probe)
                    )
                );
                named.then_some((Grade::Certain, at + 3, "query result written to a file"))
            }
            Word::Procedure if self.name(at + 1).eq_ignore_ascii_case(b"analyse") => {
                certain(at + 2, "procedure analyse")
            }
            Word::Case => self.case(at),
            Word::Condition => self.conditional(at),
            Word::Probe => self.probe(at),
            Word::WaitFor if self.is(at + 1, Word::Delay) => {
                let time = self.skip(at + 2, Kind::OpenBracket);
                matches!(
                    self.kind(time),
                    Some(Kind::Text | Kind::Open(_) | Kind::Number | Kind::Variable)
                )
                .then_some((Grade::Certain, time + 1, "delay"))
            }
            Word::Declare if self.kind(at + 1) == Some(Kind::Variable) => {
                let typed = matches!(self.kind(at + 2), Some(Kind::Word(_)));
                typed.then_some((Grade::Certain, at + 3, "declared variable"))
            }
            Word::Execute if self.entered(at) || at == 0 => self.execute(at),
            Word::Insert | Word::Update | Word::Delete | Word::Define => self.statement(at),
            _ => None,
        }
    }

    fn union(&self, at: usize) -> Found {
        let mut next = self.skip(at + 1, Kind::OpenBracket);
        next = self.skip(next, Kind::Executable);
        next = self.skip(next, Kind::Word(Word::Quantifier));
        next = self.skip(next, Kind::Executable);
        next = self.skip(next, Kind::OpenBracket);
        // A plus sign stands for a space where the target decodes it.
        next = self.skip(next, Kind::Operator);
        next = self.skip(next, Kind::Word(Word::Quantifier));
        next = self.skip(next, Kind::Operator);
        if self.is(next, Word::Values) && self.kind(next + 1) == Some(Kind::OpenBracket) {
            return certain(next + 2, "union query");
        }
        if !self.is(next, Word::Select) {
            return None;
        }
        let glued = self.tokens[next].glued_by_comment;
        let entered = self.entered(at) || glued;
        let list = self.select_list(next);
        (list.is_some() || entered || (self.at_end(next + 1) && at <= 3)).then_some((
            Grade::Certain,
            list.map_or(next + 1, |(end, _)| end),
            "union query",
        ))
    }

    fn select(&self, at: usize) -> Found {
        let (end, operand) = self.select_list(at)?;
        let nested = at > 0 && self.kind(at - 1) == Some(Kind::OpenBracket);
        if operand == Operand::Probe {
            return certain(end, "query for the server's own data");
        }
        let from = (end..end + 16)
            .take_while(|at| *at < self.tokens.len())
            .find(|at| self.is(*at, Word::From) && self.is_table(at + 1));
        if nested && at <= 1 + usize::from(self.context != Context::Bare) && from.is_none() {
            return (operand == Operand::Constant).then_some((Grade::Certain, end, "subquery"));
        }
        if nested && (from.is_some() || operand == Operand::Constant) {
            return certain(from.map_or(end, |from| from + 2), "subquery");
        }
        let from = from?;
        let table = from + 2;
        // People ask for columns; constants between them are there to make their number fit.
        let constants = (end..from).any(|at| {
            self.kind(at) == Some(Kind::Comma)
                && (operand == Operand::Constant
                    || matches!(
                        self.operand(at + 1),
                        Some((_, Operand::Constant | Operand::Probe))
                    ))
        });
        if constants && !matches!(self.kind(table), Some(Kind::Word(Word::Name) | Kind::Other)) {
            return certain(table, "query for constants");
        }
        if self.comment(table) || self.comment(table + 1) {
            return certain(table + 1, "query, then a comment");
        }
        likely(table, "query")
    }

    /// `OR 1=1`, `AND sleep(5)`, `OR name LIKE '%'`.
    fn connective(&self, at: usize) -> Found {
        let pipes = self.kind(at) == Some(Kind::Pipes);
        let entered = self.entered(at);
        if let Some((end, operands)) = self.compared(at + 1) {
            return match operands {
                Operand::Constant if pipes && !entered => likely(end, "comparison of constants"),
                Operand::Constant => certain(end, "comparison of constants"),
                Operand::Probe => certain(end, "condition on a function"),
                Operand::Name if self.after_break_out(at) => certain(end, "condition after a closed quote"),
                Operand::Name if entered => likely(end, "condition after a value"),
                Operand::Name => None,
            };
        }
        let (end, operand) = self.operand(at + 1)?;
        let commented = self.comment(end);
        let closing = matches!(self.context, Context::Quoted(quote)
            if self.at_end(end) && self.kind(end - 1) == Some(Kind::Open(quote)));
        match operand {
            Operand::Probe if !pipes || entered => certain(end, "function in a condition"),
            Operand::Probe => likely(end, "function in a condition"),
            Operand::Constant if entered && commented => certain(end, "constant condition, then a comment"),
            Operand::Constant
                if closing
                    && self.after_break_out(at)
                    && self.plain_value()
                    && self.opens_plainly(at, end - 1) =>
            {
                certain(end, "condition after a closed quote")
            }
            Operand::Constant if closing && self.after_break_out(at) => {
                likely(end, "condition after a closed quote")
            }
            Operand::Constant if entered && self.at_end(end) => likely(end, "constant condition"),
            Operand::Name if commented && self.after_break_out(at) => {
                certain(end, "condition, then a comment")
            }
            _ => None,
        }
    }

    /// `' = '`, `' LIKE '%`, `' IS NULL`.
    fn comparison_after_quote(&self, at: usize) -> Found {
        if !self.after_break_out(at) {
            return None;
        }
        let mut next = at + 1;
        while self.is(next, Word::Comparison) || self.is(next, Word::Prefix) {
            next += 1;
        }
        let list = self.name(at).eq_ignore_ascii_case(b"in") && self.kind(next) == Some(Kind::OpenBracket);
        let (end, operand) = if list {
            (
                self.skip(self.after_arguments(next), Kind::CloseBracket),
                Operand::Constant,
            )
        } else {
            self.operand(next)?
        };
        self.balanced(at, end, operand, "comparison after a closed quote")
    }

    fn operator(&self, at: usize) -> Found {
        if !self.entered(at) {
            return None;
        }
        let (end, operand) = self.operand(at + 1)?;
        if operand == Operand::Probe {
            let call = (at + 1..end).any(|at| self.is(at, Word::Probe) || self.is(at, Word::Select));
            return call.then_some((Grade::Certain, end, "function in an expression"));
        }
        if self.context == Context::Bare {
            return None;
        }
        self.balanced(at, end, operand, "expression after a closed quote")
    }

    /// What follows the string must leave the statement whole: the quote behind the field closes a string, or a
    /// comment hides it.
    fn balanced(&self, at: usize, end: usize, operand: Operand, label: &'static str) -> Found {
        let Context::Quoted(quote) = self.context else {
            return None;
        };
        if operand == Operand::Probe {
            return certain(end, label);
        }
        if !self.plain_value() {
            return None;
        }
        let open =
            end > 0 && self.kind(end - 1) == Some(Kind::Open(quote)) && self.opens_plainly(at, end - 1);
        if (open && self.at_end(end)) || self.comment(end) {
            return certain(end, label);
        }
        let goes_on = matches!(
            self.kind(end),
            Some(Kind::Comparison | Kind::Pipes | Kind::Word(Word::Connective | Word::Comparison))
        );
        let hidden = self
            .tokens
            .last()
            .is_some_and(|token| token.kind == Kind::Comment || token.kind == Kind::Open(quote));
        if goes_on && hidden {
            return certain(end, label);
        }
        (operand == Operand::Constant && self.at_end(end)).then_some((Grade::Likely, end, label))
    }

    /// The string that `open` begins is a value of one word at most, and the word before it does not just stand in
    /// quotes as people set them.
    fn opens_plainly(&self, at: usize, open: usize) -> bool {
        let content = self.name(open).get(1..).unwrap_or_default();
        // Names are joined with dashes and plus signs, too.
        let computed = self.kind(at) == Some(Kind::Operator) && !content.iter().all(u8::is_ascii_digit);
        if !is_plain(content) || computed {
            return false;
        }
        let in_quotes = open == at + 1
            && matches!(self.kind(at), Some(Kind::Word(_)))
            && self.tokens[at].start() == self.tokens[at - 1].end()
            && self.tokens[open].start() == self.tokens[at].end();
        !(in_quotes && content.is_empty())
    }

    fn order(&self, at: usize) -> Found {
        if !self.is(at + 1, Word::By) {
            return None;
        }
        let entered = self.entered(at);
        let (end, operand) = self.operand(at + 2)?;
        let end = self.skip(end, Kind::Word(Word::Direction));
        if self.is(end, Word::Having) {
            return certain(end + 1, "grouping with a condition");
        }
        if operand == Operand::Probe
            || (self.after_break_out(at) && !matches!(self.kind(end), Some(Kind::Word(Word::Name))))
        {
            return certain(end, "order by");
        }
        let numbers = operand == Operand::Constant;
        if numbers
            && (self.comment(end) || (entered && (self.at_end(end) || self.kind(end) == Some(Kind::Comma))))
        {
            return certain(end, "order by a column number");
        }
        let list = (0..3).all(|item| {
            self.kind(end + 2 * item) == Some(Kind::Comma)
                && self.kind(end + 2 * item + 1) == Some(Kind::Number)
        });
        if numbers && list {
            return certain(end + 6, "order by column numbers");
        }
        (entered && self.at_end(end)).then_some((Grade::Likely, end, "order by"))
    }

    fn having(&self, at: usize) -> Found {
        match self.compared(at + 1)? {
            (end, Operand::Constant | Operand::Probe) => certain(end, "having"),
            (end, Operand::Name) if self.entered(at) => certain(end, "having"),
            _ => None,
        }
    }

    fn condition(&self, at: usize) -> Found {
        match self.compared(at + 1)? {
            (end, Operand::Constant) => certain(end, "comparison of constants"),
            (end, Operand::Probe) => likely(end, "condition on a function"),
            (end, Operand::Name) if self.after_break_out(at) => {
                certain(end, "condition after a closed quote")
            }
            _ => None,
        }
    }

    fn limit(&self, at: usize) -> Found {
        let mut end = at + 1;
        while matches!(
            self.kind(end),
            Some(Kind::Number | Kind::Comma | Kind::Word(Word::Limit))
        ) && end < at + 5
        {
            end += 1;
        }
        if end == at + 1 {
            return None;
        }
        let follows = self.comment(end)
            || self.is(end, Word::Into)
            || self.is(end, Word::Procedure)
            || self.is(end, Word::Union)
            || (self.at_end(end) && self.after_break_out(at));
        follows.then_some((Grade::Certain, end, "limit"))
    }

    fn case(&self, at: usize) -> Found {
        const CONDITION: usize = 20;
        let when = (at + 1..at + 8).find(|at| self.is(*at, Word::When))?;
        let then = (when + 1..when + CONDITION).find(|at| self.is(*at, Word::Then))?;
        let compared = self.compared(when + 1).is_some() || self.compared(at + 1).is_some();
        let simple = self
            .operand(when + 1)
            .is_some_and(|(end, operand)| end == then && operand != Operand::Name);
        (compared || simple).then_some((Grade::Certain, then + 1, "case expression"))
    }

    /// `IF(1=1,…)`.
    fn conditional(&self, at: usize) -> Found {
        let (end, operands) = self.compared(at + 2)?;
        let three = self.kind(end) == Some(Kind::Comma);
        match operands {
            Operand::Probe => certain(end, "condition on a function"),
            Operand::Constant if three => certain(end, "if function"),
            _ => None,
        }
    }

    fn probe(&self, at: usize) -> Found {
        let argument = at + 2;
        let delays = self.kind(at + 1) == Some(Kind::OpenBracket) && vocabulary::delays(self.name(at));
        let (end, _) = delays.then(|| self.operand(argument)).flatten()?;
        let constant = matches!(
            self.kind(argument),
            Some(Kind::Number | Kind::Text | Kind::Open(_) | Kind::SystemVariable | Kind::OpenBracket)
        );
        let closed =
            matches!(self.kind(end), Some(Kind::Comma)) || self.kind(end - 1) == Some(Kind::CloseBracket);
        (constant && closed && self.tokens[at].end() == self.tokens[at + 1].start()).then_some((
            Grade::Certain,
            end,
            "delay",
        ))
    }
}

fn is_plain(value: &[u8]) -> bool {
    value.len() <= 64
        && value.iter().all(|byte| {
            byte.is_ascii_alphanumeric()
                || matches!(byte, b'_' | b'@' | b'.' | b'%' | b'+' | b'*' | b'-' | 0x80..)
        })
}
