pub mod a {}
