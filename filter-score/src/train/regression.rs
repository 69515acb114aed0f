//! Stage one: logistic regression on the best run of n-grams.
//!
//! Fitted example by example with FTRL-Proximal (`McMahan` et al., "Ad Click Prediction", KDD 2013), which keeps the
//! weights of rare n-grams at zero. The run is a latent variable, chosen anew by the current weights at every step,
//! as in multiple-instance learning: text around an attack is never taken for the attack.

use super::example::Example;
use super::random::Random;
use super::sigmoid::sigmoid;
use crate::model::linear::{self, Linear, SLOTS};

/// Rounds over the data.
const EPOCHS: usize = 5;
/// FTRL's learning rate and its offset.
const ALPHA: f64 = 0.05;
const BETA: f64 = 1.0;
/// L1 and L2 regularisation.
const L1: f64 = 0.6;
const L2: f64 = 2.0;
/// What every position speaks against an attack, whatever its n-grams: unknown text is harmless text.
const DRIFT: f64 = 0.1;
/// A benign field counts this often.
const CAUTION: f64 = 1.5;
/// While an attack has no run worth the name, it is learned from its first positions.
const SHORT_RUN: usize = 6;
const FIRST_POSITIONS: usize = 80;
/// Positions before the end of a run that still count.
const LONGEST_RUN: usize = 128;
/// What is left of a run's sum one position later.
const KEPT: f64 = 1.0 - 1.0 / (1 << linear::LEAK) as f64;
/// Logits of one unit of a quantised weight.
pub(super) const SCALE: f64 = 1.0 / 64.0;

const SYMBOLS: usize = 1 << 6;
/// N-grams of one symbol, which are added to the bigrams in the end, and the bias.
const WEIGHTS: usize = SLOTS + SYMBOLS + 1;
const BIAS: usize = WEIGHTS - 1;
const PER_POSITION: usize = linear::ORDERS.len() + 1;

struct Regression {
    z: Vec<f64>,
    squares: Vec<f64>,
    weights: Vec<f64>,
    /// Of the example at hand: where the weights of each position stand.
    slots: Vec<[u32; PER_POSITION]>,
}

impl Regression {
    fn new() -> Self {
        Self {
            z: vec![0.0; WEIGHTS],
            squares: vec![0.0; WEIGHTS],
            weights: vec![0.0; WEIGHTS],
            slots: Vec::new(),
        }
    }

    fn read(&mut self, text: &[u8]) {
        self.slots.clear();
        let mut window = 0;
        for symbol in linear::symbols(text) {
            window = linear::slide(window, symbol);
            let [two, three, five] = linear::slots(window).map(|slot| slot as u32);
            self.slots
                .push([two, three, five, (SLOTS + usize::from(symbol)) as u32]);
        }
    }

    /// The best run of the example that was read; of equal runs the longest.
    fn run(&self) -> (f64, std::ops::Range<usize>) {
        let (mut sum, mut start, mut best, mut range) = (0.0, 0, 0.0, 0..0);
        for (at, slots) in self.slots.iter().enumerate() {
            sum *= KEPT;
            sum += slots.iter().map(|slot| self.weights[*slot as usize]).sum::<f64>() - DRIFT;
            if sum < 0.0 {
                sum = 0.0;
                start = at + 1;
            } else if sum >= best {
                best = sum;
                range = start..at + 1;
            }
        }
        (best, range)
    }

    fn step(&mut self, slot: usize, gradient: f64, l1: f64) {
        let squares = self.squares[slot] + gradient * gradient;
        let sigma = (squares.sqrt() - self.squares[slot].sqrt()) / ALPHA;
        self.z[slot] += gradient - sigma * self.weights[slot];
        self.squares[slot] = squares;
        let z = self.z[slot];
        self.weights[slot] = if z.abs() <= l1 {
            0.0
        } else {
            -(z - l1 * z.signum()) / ((BETA + squares.sqrt()) / ALPHA + L2)
        };
    }

    fn learn(&mut self, example: &Example) {
        self.read(&example.field.text);
        let (sum, mut range) = self.run();
        let attack = example.is_attack();
        let predicted = sigmoid(sum + self.weights[BIAS]);
        let weight = if attack {
            example.weight
        } else {
            example.weight * CAUTION
        };
        let gradient = (predicted - if attack { 1.0 } else { 0.0 }) * weight;
        self.step(BIAS, gradient, 0.0);
        if attack && range.len() < SHORT_RUN {
            range = 0..self.slots.len().min(FIRST_POSITIONS);
        }
        let mut share = 1.0;
        for at in range.rev().take(LONGEST_RUN) {
            for slot in self.slots[at] {
                self.step(slot as usize, gradient * share, L1);
            }
            share *= KEPT;
        }
    }

    fn quantised(&self) -> Linear {
        let mut weights: Box<[i8; SLOTS]> = vec![0; SLOTS]
            .into_boxed_slice()
            .try_into()
            .unwrap_or_else(|_| unreachable!("as many as there are slots"));
        for (slot, weight) in weights.iter_mut().enumerate() {
            let mut sum = self.weights[slot];
            if slot < SYMBOLS * SYMBOLS {
                // The bigram's last symbol.
                sum += self.weights[SLOTS + slot % SYMBOLS] - DRIFT;
            }
            *weight = (sum / SCALE).round().clamp(-127.0, 127.0) as i8;
        }
        Linear { weights }
    }
}

/// Fits a linear model to examples.
pub(super) fn fit(examples: &[&Example], seed: u64) -> Linear {
    let mut regression = Regression::new();
    let mut random = Random::new(seed);
    let mut order: Vec<&Example> = examples.to_vec();
    for _ in 0..EPOCHS {
        random.shuffle(&mut order);
        for example in &order {
            regression.learn(example);
        }
    }
    regression.quantised()
}
