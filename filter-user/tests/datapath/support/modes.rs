//! Where the XDP program runs: in the driver or in the stack.

/// Makes two tests of each function: it gets the key for native and for generic mode.
macro_rules! in_both_modes {
    ($($test:ident),+ $(,)?) => {$(
        mod $test {
            use anyhow::Result;

            #[test]
            fn native() -> Result<()> {
                super::$test("engine.xdp_mode=native")
            }

            #[test]
            fn generic() -> Result<()> {
                super::$test("engine.xdp_mode=generic")
            }
        }
    )+};
}

pub(crate) use in_both_modes;
