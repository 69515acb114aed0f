//! libFuzzer's program for the target `stream`.

#![cfg_attr(fuzzing, no_main)]

targets::fuzz!("stream");
