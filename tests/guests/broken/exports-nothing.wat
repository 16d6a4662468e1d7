;; A component without any export: nothing to call.
(component
  (core module (func (export "idle")))
)
