//! libFuzzer's program for the target `pack`.

#![cfg_attr(fuzzing, no_main)]

targets::fuzz!("pack");
