package main

import "unsafe"

// The functions that a hello needs, with the parameters of the canonical ABI: a string is a pointer and a length,
// and a result that does not fit in one value goes to where the last pointer says.

//go:wasmimport wasi:http/types@0.2.12 [constructor]fields
func newFields() uint32

//go:wasmimport wasi:http/types@0.2.12 [method]fields.append
func appendField(fields uint32, name unsafe.Pointer, nameLen uint32, value unsafe.Pointer, valueLen uint32, ret unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.12 [constructor]outgoing-response
func newResponse(headers uint32) uint32

//go:wasmimport wasi:http/types@0.2.12 [method]outgoing-response.body
func responseBody(response uint32, ret unsafe.Pointer)

// The second parameter is 0 for a response and 1 for an error; all after `response` are the fields of an error.
//
//go:wasmimport wasi:http/types@0.2.12 [static]response-outparam.set
func setResponse(out, isErr, response, b uint32, c uint64, d, e unsafe.Pointer, f, g uint32)

//go:wasmimport wasi:http/types@0.2.12 [method]outgoing-body.write
func bodyWrite(body uint32, ret unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.12 [static]outgoing-body.finish
func bodyFinish(body, hasTrailers, trailers uint32, ret unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.12 [resource-drop]incoming-request
func dropRequest(request uint32)

//go:wasmimport wasi:io/streams@0.2.12 [method]output-stream.blocking-write-and-flush
func writeAndFlush(stream uint32, text unsafe.Pointer, textLen uint32, ret unsafe.Pointer)

//go:wasmimport wasi:io/streams@0.2.12 [resource-drop]output-stream
func dropStream(stream uint32)

// The host asks for memory where a result holds text: here only an error that nobody reads.
//
//go:wasmexport cabi_import_realloc
func realloc(old unsafe.Pointer, oldLen, align, newLen uint32) unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(make([]uint64, (newLen+7)/8)))
}
