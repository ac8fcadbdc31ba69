//! `armilla`: parse, run, exit code; nothing else.

fn main() -> std::process::ExitCode {
    armilla::cli::main(std::env::args_os())
}
