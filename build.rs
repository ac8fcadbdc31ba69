//! Links `armilla-host` statically, so that it runs on hosts with an older C library, or another one.
//!
//! rustc can do so for a whole build only (`-C target-feature=+crt-static`), and then refuses procedural macros where host and
//! target are the same. So for this one program the names of the shared C libraries lead to the static ones.

use std::path::Path;
use std::{env, fs};

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    if !is("CARGO_CFG_TARGET_OS", "linux") || !is("CARGO_CFG_TARGET_ENV", "gnu") {
        return Ok(());
    }
    let directory = env::var("OUT_DIR").map_err(std::io::Error::other)?;
    for (name, libraries) in
        [("libc.so", "libc.a libgcc.a libgcc_eh.a"), ("libgcc_s.so", "libgcc.a libgcc_eh.a libc.a")]
    {
        fs::write(Path::new(&directory).join(name), format!("GROUP({libraries})\n"))?;
    }
    // A function that the static C library does not have is none, and not the beginning of the program. Symbols would triple
    // what is copied to a host.
    for argument in ["-static-pie", "-Wl,-z,nodynamic-undefined-weak", "-Wl,-s", &format!("-L{directory}")] {
        println!("cargo::rustc-link-arg-bin=armilla-host={argument}");
    }
    Ok(())
}
