;; A program with a `main`, as a toolchain makes of one that is not for HTTP.
(component
  (core module $code (func (export "run") (result i32) i32.const 0))
  (core instance $program (instantiate $code))
  (func $run (result (result)) (canon lift (core func $program "run")))
  (instance $main (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $main))
)
