//! The engine's loop on in-memory rings: simulated clients, a simulated server, and a book of every frame.

mod blocking;
mod bounds;
mod client;
mod clients;
mod frames;
mod handover;
mod joined;
mod lifetime;
mod limits;
mod pace;
mod pickup;
mod records;
mod requests;
mod second_tier;
mod segmentation;
mod server;
mod site;
