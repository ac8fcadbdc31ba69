//! `armilla-host`: what armilla copies to a host to read and change it; see `armilla::host`.

fn main() -> std::process::ExitCode {
    armilla::host::main(std::env::args_os())
}
