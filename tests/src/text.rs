//! Components of `wasi:http@0.2` as text, for what no language says.

/// A component around a core module that exports `handle`. What the module needs stands before it, and is given to it by
/// `with`; `lift` are options of its handler.
///
/// # Panics
/// When the text is none.
pub fn around(before: &str, module: &str, with: &str, lift: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
          (import "wasi:http/types@0.2.0" (instance $types
            (export "incoming-request" (type $asked (sub resource)))
            (export "response-outparam" (type (sub resource)))
            (export "[method]incoming-request.path-with-query"
              (func (param "self" (borrow $asked)) (result (option string))))
          ))
          (alias export $types "incoming-request" (type $request))
          (alias export $types "response-outparam" (type $out))
          {before}
          (core module $code {module})
          (core instance $guest (instantiate $code {with}))
          (func $handle (param "request" (own $request)) (param "response-out" (own $out))
            (canon lift (core func $guest "handle") {lift}))
          (instance $handler (export "handle" (func $handle)))
          (export "wasi:http/incoming-handler@0.2.0" (instance $handler))
        )"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The same, of a module that needs nothing.
///
/// # Panics
/// As [`around`].
pub fn module(text: &str) -> Vec<u8> {
    around("", text, "", "")
}
