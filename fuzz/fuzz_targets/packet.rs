//! libFuzzer's program for the target `packet`.

#![cfg_attr(fuzzing, no_main)]

targets::fuzz!("packet");
