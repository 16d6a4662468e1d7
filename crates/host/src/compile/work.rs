//! What is done with a file that may be hostile: check it, make a component of it, compile it. Nothing of it runs.

use runner_manifest::Code;

use super::{Compiled, Needs, Refusal};
use crate::artifact::{self, Unpacked};

/// Compiles a component, or a core module that can be made one.
pub(super) fn compile(file: Vec<u8>, engine: &wasmtime::Engine) -> Result<Compiled, Refusal> {
    let Unpacked {
        component,
        producers,
    } = artifact::unpack(file)?;
    let code = engine.precompile_component(&component).map_err(refused)?;
    // It is valid, so this finds nothing wrong with it.
    let needs = Needs::of(&component).map_err(|error| artifact::broken(&error))?;
    Ok(Compiled::new(producers, needs, &code))
}

fn refused(error: wasmtime::Error) -> Refusal {
    if error.is::<wasmtime::OutOfMemory>() {
        return Refusal {
            code: Code::CompilingTakesMemory,
            what: "compiling it takes more memory than there is".into(),
            help: "build it with optimisation, or make several components of it".into(),
        };
    }
    artifact::Error::Invalid(format!("{:#}", error.root_cause())).into()
}

impl From<artifact::Error> for Refusal {
    fn from(error: artifact::Error) -> Refusal {
        Refusal {
            code: error.code(),
            what: error.to_string(),
            help: error.help().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e45_a_component_that_is_cut_or_changed_anywhere_makes_nobody_panic() {
        let data = "\\07".repeat(1700);
        let text = format!(
            "(component
                (core module $m
                    (memory (export \"memory\") 1) (table 3 funcref) (global (mut i32) (i32.const 7))
                    (data (i32.const 0) \"{data}\")
                    (func $f (export \"f\") (param i32) (result i32) (local i64)
                        block local.get 0 br_if 0 end
                        local.get 0 i32.const 3 i32.mul i32.load offset=8)
                    (func (export \"realloc\") (param i32 i32 i32 i32) (result i32) i32.const 0)
                    (elem (i32.const 0) func $f $f))
                (core instance $i (instantiate $m))
                (type $point (record (field \"x\" u32) (field \"names\" (list string))))
                (func (export \"call\") (param \"a\" u32) (result u32)
                    (canon lift (core func $i \"f\")))
                (component $inner (import \"go\" (func)) (export \"gone\" (func 0))))"
        );
        let whole = wat::parse_str(text).unwrap();
        assert!((1900..4096).contains(&whole.len()), "{}", whole.len());
        let engine = wasmtime::Engine::new(&crate::engine::config_without_pool()).unwrap();
        assert!(compile(whole.clone(), &engine).is_ok());
        let mut refused = 0;
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0xff;
            refused += usize::from(compile(whole[..at].to_vec(), &engine).is_err());
            refused += usize::from(compile(changed, &engine).is_err());
        }
        // What is cut never is a component; much of what is changed is one.
        assert!(
            (whole.len()..2 * whole.len()).contains(&refused),
            "{refused}"
        );
    }
}
