// Says hello, in Go.
package main

import "unsafe"

// A reactor: the host calls `handle`, nobody calls `main`.
func main() {}

//go:wasmexport wasi:http/incoming-handler@0.2.12#handle
func handle(request, responseOut uint32) {
	response := newResponse(headers())
	body := take(func(ret unsafe.Pointer) { responseBody(response, ret) })
	setResponse(responseOut, 0, response, 0, 0, nil, nil, 0, 0)
	write(body)
	dropRequest(request)
}

func headers() uint32 {
	fields := newFields()
	name, value := "content-type", "text/plain; charset=utf-8"
	var result [8]byte
	appendField(fields, unsafe.Pointer(unsafe.StringData(name)), uint32(len(name)),
		unsafe.Pointer(unsafe.StringData(value)), uint32(len(value)), unsafe.Pointer(&result))
	return fields
}

func write(body uint32) {
	stream := take(func(ret unsafe.Pointer) { bodyWrite(body, ret) })
	text := "hello from go\n"
	// A client that has gone is no reason to trap.
	var result [12]byte
	writeAndFlush(stream, unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)), unsafe.Pointer(&result))
	dropStream(stream)
	var finished [5]uint64
	bodyFinish(body, 0, 0, unsafe.Pointer(&finished))
}

// take gives the handle in a `result<own<…>>`; one that is taken for the first time is never an error.
func take(call func(ret unsafe.Pointer)) uint32 {
	var result struct{ isErr, handle uint32 }
	call(unsafe.Pointer(&result))
	return result.handle
}
