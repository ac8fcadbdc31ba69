//! Reads what a program wrote to a terminal, colours and all, and writes a picture of it:
//! `armilla plan lab --color always | cargo run -q --example terminal_svg -- 'armilla plan lab' > plan.svg`

use std::io::{Read, Write, stdin, stdout};

fn main() -> std::io::Result<()> {
    let title = std::env::args().nth(1).unwrap_or_else(|| "armilla".to_owned());
    let mut text = String::new();
    stdin().read_to_string(&mut text)?;
    stdout().write_all(armilla::report::svg::terminal(&text, &title).as_bytes())
}
