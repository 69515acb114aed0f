//! Operands, comparisons and lists of SELECT.

use super::{Operand, Shapes};
use crate::detect::sql::lexer::Kind;
use crate::detect::sql::vocabulary::Word;

impl Shapes<'_> {
    /// The first item after SELECT, if prose would not go on like that: where it ends and what it is.
    pub(super) fn select_list(&self, select: usize) -> Option<(usize, Operand)> {
        let mut at = self.skip(select + 1, Kind::Word(Word::Quantifier));
        at = self.skip(at, Kind::Executable);
        if self.name(at).eq_ignore_ascii_case(b"top") && self.kind(at + 1) == Some(Kind::Number) {
            return Some((at + 2, Operand::Probe));
        }
        at = self.skip(at, Kind::OpenBracket);
        if self.kind(at) == Some(Kind::Operator) && self.name(at) == b"*" {
            let ends = self.is(at + 1, Word::From) || self.at_end(at + 1) || self.comment(at + 1);
            return ends.then_some((at + 1, Operand::Name));
        }
        let bracketed = at > select + 1 && self.kind(at - 1) == Some(Kind::OpenBracket);
        if bracketed && self.is(at, Word::Select) {
            return Some((at + 1, Operand::Probe));
        }
        let (end, operand) = self.operand(at)?;
        let follows = match self.kind(end) {
            None => self.ended && (operand != Operand::Name || select > 0 && self.entered(select - 1)),
            // Prose has lists, too.
            Some(Kind::Comma) if operand == Operand::Name => {
                let from = (end..end + 24).any(|at| self.is(at, Word::From));
                from || select > 0 && self.entered(select - 1)
            }
            Some(
                Kind::Word(Word::From | Word::Into | Word::Where | Word::Union | Word::Limit)
                | Kind::Comma
                | Kind::Comment
                | Kind::Executable,
            ) => true,
            Some(kind) => {
                operand != Operand::Name
                    && matches!(
                        kind,
                        Kind::CloseBracket
                            | Kind::Semicolon
                            | Kind::Comparison
                            | Kind::Pipes
                            | Kind::Word(Word::Name)
                    )
            }
        };
        follows.then_some((end, operand))
    }

    pub(super) fn is_table(&self, at: usize) -> bool {
        matches!(
            self.kind(at),
            Some(Kind::Word(Word::Name | Word::Probe | Word::Object) | Kind::OpenBracket)
        )
    }

    /// A value with what is computed of it: where it ends and what it is made of.
    pub(super) fn operand(&self, at: usize) -> Option<(usize, Operand)> {
        /// Longer ones are nobody's first guess; the bound keeps the search linear.
        const TERMS: usize = 6;
        let mut at = at;
        let mut made_of = Operand::Constant;
        for term in 0..TERMS {
            while matches!(
                self.kind(at),
                Some(Kind::OpenBracket | Kind::Operator | Kind::Word(Word::Prefix))
            ) {
                at += 1;
            }
            match self.kind(at) {
                Some(Kind::Number | Kind::Text | Kind::Open(_) | Kind::Word(Word::Constant)) => {}
                Some(Kind::SystemVariable | Kind::Word(Word::Probe | Word::Condition | Word::Case)) => {
                    made_of = Operand::Probe;
                }
                Some(Kind::Word(Word::Select)) => return Some((at + 1, Operand::Probe)),
                Some(
                    Kind::Variable | Kind::Word(Word::Name | Word::Object | Word::Delay | Word::Quantifier),
                ) => {
                    if made_of == Operand::Constant {
                        made_of = Operand::Name;
                    }
                }
                _ if term > 0 => return Some((at, made_of)),
                _ => return None,
            }
            at += 1;
            if self.kind(at) == Some(Kind::OpenBracket) && matches!(self.kind(at - 1), Some(Kind::Word(_))) {
                at = self.after_arguments(at);
            }
            at = self.skip(at, Kind::CloseBracket);
            // `||` may be either; in an operand it joins strings.
            let joins = self.kind(at) == Some(Kind::Pipes)
                && matches!(
                    self.kind(at + 1),
                    Some(Kind::Text | Kind::Open(_) | Kind::Word(Word::Probe))
                );
            match self.kind(at) {
                Some(Kind::Operator) => {}
                Some(Kind::Pipes) if joins => at += 1,
                _ => return Some((at, made_of)),
            }
        }
        Some((at, made_of))
    }

    /// After the arguments that an opening bracket begins, as far as they are simple.
    pub(super) fn after_arguments(&self, open: usize) -> usize {
        const ARGUMENTS: usize = 12;
        (open + 1..(open + ARGUMENTS).min(self.tokens.len()))
            .find(|at| self.kind(*at) == Some(Kind::CloseBracket))
            .unwrap_or(open + 1)
    }

    /// `operand comparison operand`.
    pub(super) fn compared(&self, at: usize) -> Option<(usize, Operand)> {
        let (mut next, left) = self.operand(at)?;
        next = self.skip(next, Kind::Word(Word::Prefix));
        let word = self.is(next, Word::Comparison);
        if !word && self.kind(next) != Some(Kind::Comparison) {
            return None;
        }
        if word
            && self.name(next).eq_ignore_ascii_case(b"in")
            && self.kind(next + 1) != Some(Kind::OpenBracket)
        {
            return None;
        }
        while self.is(next + 1, Word::Comparison) || self.is(next + 1, Word::Prefix) {
            next += 1;
        }
        let (end, right) = self.operand(next + 1)?;
        let both = match (left, right) {
            (Operand::Probe, _) | (_, Operand::Probe) => Operand::Probe,
            (Operand::Constant, Operand::Constant) => Operand::Constant,
            // `a=a`
            _ if self.name(at).eq_ignore_ascii_case(self.name(end - 1)) => Operand::Constant,
            _ => Operand::Name,
        };
        Some((end, both))
    }
}
