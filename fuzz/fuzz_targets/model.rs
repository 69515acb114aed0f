//! libFuzzer's program for the target `model`.

#![cfg_attr(fuzzing, no_main)]

targets::fuzz!("model");
