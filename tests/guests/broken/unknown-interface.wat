;; A handler that needs an interface which no host has.
(component
  (import "acme:secret/vault@1.0.0" (instance
    (export "open" (func (param "name" string) (result string)))
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
)
