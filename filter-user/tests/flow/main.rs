//! The flow layer against models: an honest client, an adversary, a small TCP receiver and a small flow table.

mod adversary;
mod case;
mod harness;
mod honest;
mod receiver;
mod reclaim;
mod rules;
mod table_model;
