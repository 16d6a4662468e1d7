;; A core module that says nothing of a component: no component-type section, no adapter could help.
(module
  (memory (export "memory") 1)
  (func (export "_start"))
)
