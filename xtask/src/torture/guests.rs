//! Guests that need no toolchain: each does one thing, whatever it is asked.

use anyhow::Result;

/// Fills 32 MiB of its memory again and again: one instruction, which nothing interrupts in its middle.
const BULK: &str = "(memory 512)
    (func (export \"handle\") (param i32 i32)
      (loop $again
        (memory.fill (i32.const 0) (i32.const 7) (i32.const 33554432))
        (memory.copy (i32.const 16777216) (i32.const 0) (i32.const 16777216))
        (br $again)))";

/// Lets its table grow by 4096 elements at a time, as long as it may and then in vain.
const TABLE: &str = "(table $table 1 funcref)
    (func (export \"handle\") (param i32 i32)
      (loop $again
        (drop (table.grow $table (ref.null func) (i32.const 4096)))
        (br $again)))";

/// A component that fills memory.
pub(super) fn bulk() -> Result<Vec<u8>> {
    component(BULK)
}

/// A component that lets a table grow.
pub(super) fn table() -> Result<Vec<u8>> {
    component(TABLE)
}

fn component(code: &str) -> Result<Vec<u8>> {
    let text = format!(
        "(component
          (import \"wasi:http/types@0.2.0\" (instance $types
            (export \"incoming-request\" (type (sub resource)))
            (export \"response-outparam\" (type (sub resource)))
          ))
          (alias export $types \"incoming-request\" (type $request))
          (alias export $types \"response-outparam\" (type $out))
          (core module $code {code})
          (core instance $guest (instantiate $code))
          (func $handle (param \"request\" (own $request)) (param \"response-out\" (own $out))
            (canon lift (core func $guest \"handle\")))
          (instance $handler (export \"handle\" (func $handle)))
          (export \"wasi:http/incoming-handler@0.2.0\" (instance $handler))
        )"
    );
    Ok(wat::parse_str(text)?)
}

/// The same component with a section that says nothing: it has to be compiled anew.
pub(super) fn renamed(wasm: &[u8], number: u64) -> Vec<u8> {
    let name = format!("n{number:016x}");
    let length = u8::try_from(name.len() + 1).expect("a short name");
    let mut wasm = wasm.to_vec();
    // A custom section: its id, its length, its name's length, its name, and nothing.
    wasm.extend([0, length, length - 1]);
    wasm.extend(name.bytes());
    wasm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guest_is_a_component_and_another_with_each_number() {
        for wasm in [bulk().expect("text"), table().expect("text")] {
            assert!(wasm.starts_with(b"\0asm"));
            let (one, two) = (renamed(&wasm, 1), renamed(&wasm, 2));
            assert!(one != two && one.len() == wasm.len() + 20);
        }
    }
}
