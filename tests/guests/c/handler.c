// Says hello, in C.

#include "bindings/hello.h"

// A string that lives as long as the component; the bindings take no `const`.
#define BYTES(text) {(uint8_t *)(text), sizeof(text) - 1}

static wasi_http_types_own_fields_t headers(void) {
  wasi_http_types_own_fields_t fields = wasi_http_types_constructor_fields();
  wasi_http_types_field_name_t name = BYTES("content-type");
  wasi_http_types_field_value_t value = BYTES("text/plain; charset=utf-8");
  wasi_http_types_header_error_t error;
  wasi_http_types_method_fields_append(wasi_http_types_borrow_fields(fields), &name, &value, &error);
  return fields;
}

static void write(wasi_http_types_own_outgoing_body_t body) {
  wasi_http_types_own_output_stream_t stream;
  if (wasi_http_types_method_outgoing_body_write(wasi_http_types_borrow_outgoing_body(body), &stream)) {
    hello_list_u8_t text = BYTES("hello from c\n");
    wasi_io_streams_stream_error_t error;
    // A client that has gone is no reason to trap.
    wasi_io_streams_method_output_stream_blocking_write_and_flush(wasi_io_streams_borrow_output_stream(stream), &text,
                                                                  &error);
    wasi_io_streams_output_stream_drop_own(stream);
  }
  wasi_http_types_error_code_t error;
  wasi_http_types_static_outgoing_body_finish(body, NULL, &error);
}

void exports_wasi_http_incoming_handler_handle(
    exports_wasi_http_incoming_handler_own_incoming_request_t request,
    exports_wasi_http_incoming_handler_own_response_outparam_t response_out) {
  wasi_http_types_result_own_outgoing_response_error_code_t answer = {.is_err = false};
  answer.val.ok = wasi_http_types_constructor_outgoing_response(headers());

  wasi_http_types_own_outgoing_body_t body;
  wasi_http_types_method_outgoing_response_body(wasi_http_types_borrow_outgoing_response(answer.val.ok), &body);
  wasi_http_types_static_response_outparam_set(response_out, &answer);
  write(body);
  wasi_http_types_incoming_request_drop_own(request);
}
