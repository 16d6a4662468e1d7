;; A handler that needs Spin's key-value store.
(component
  (import "fermyon:spin/key-value@2.0.0" (instance
    (export "store" (type $store (sub resource)))
    (type $reasons (variant
      (case "store-table-full") (case "no-such-store") (case "access-denied") (case "other" string)))
    (export "error" (type $error (eq $reasons)))
    (export "[static]store.open" (func (param "label" string) (result (result (own $store) (error $error)))))
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
