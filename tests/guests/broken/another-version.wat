;; A handler that was built against a version of WASI from before it was stable; its metadata says by what.
(component
  (import "wasi:cli/environment@0.2.0-rc-2023-11-10" (instance
    (export "initial-cwd" (func (result (option string))))
  ))
  (import "wasi:http/types@0.2.0" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))
  ))
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $out))
  (core module $code (func (export "handle") (param i32 i32) unreachable))
  (core instance $guest (instantiate $code))
  (func $handle (param "request" (own $request)) (param "response-out" (own $out))
    (canon lift (core func $guest "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler))
  (@producers
    (processed-by "wit-component" "0.18.2")
    (language "Rust" "2021")
  )
)
