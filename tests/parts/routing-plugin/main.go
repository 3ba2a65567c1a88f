// A plugin as a RoutingPolicy names one: it sends requests for the hosts it is told to the same host with a prefix.
// It speaks Proxy-Wasm 0.2.1 (github.com/proxy-wasm/spec) and is told `hosts: A,B` and `prefix: P`, a line each.
package main

import (
	"strings"
	"unsafe"
)

const (
	requestHeaders      = 0
	pluginConfiguration = 7
	carryOn             = 0
)

var (
	authority = []byte(":authority")
	// Hosts, and where their requests go.
	sent = map[string]string{}
	// What the proxy gave last.
	given []byte
)

func main() {}

//go:wasmimport env proxy_get_buffer_bytes
func getBufferBytes(kind, start, length uint32, data, size unsafe.Pointer) uint32

//go:wasmimport env proxy_get_header_map_value
func getHeader(headers uint32, key unsafe.Pointer, keySize uint32, data, size unsafe.Pointer) uint32

//go:wasmimport env proxy_replace_header_map_value
func replaceHeader(headers uint32, key unsafe.Pointer, keySize uint32, value unsafe.Pointer, size uint32) uint32

//go:wasmexport proxy_abi_version_0_2_1
func abiVersion() {}

//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) unsafe.Pointer {
	given = make([]byte, max(size, 1))
	return unsafe.Pointer(&given[0])
}

//go:wasmexport proxy_on_context_create
func onContextCreate(context, root uint32) {}

//go:wasmexport proxy_on_vm_start
func onVMStart(context, size uint32) uint32 { return 1 }

//go:wasmexport proxy_on_configure
func onConfigure(context, size uint32) uint32 {
	var data, length uint32
	if getBufferBytes(pluginConfiguration, 0, size, unsafe.Pointer(&data), unsafe.Pointer(&length)) != 0 {
		return 0
	}
	told := map[string]string{}
	for line := range strings.Lines(string(given[:length])) {
		if key, value, found := strings.Cut(strings.TrimSpace(line), ": "); found {
			told[key] = value
		}
	}
	if told["hosts"] == "" || told["prefix"] == "" {
		return 0
	}
	for host := range strings.SplitSeq(told["hosts"], ",") {
		sent[host] = told["prefix"] + "." + host
	}
	return 1
}

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(context, count, end uint32) uint32 {
	key, keySize := unsafe.Pointer(&authority[0]), uint32(len(authority))
	var data, length uint32
	if getHeader(requestHeaders, key, keySize, unsafe.Pointer(&data), unsafe.Pointer(&length)) != 0 {
		return carryOn
	}
	host, port, hasPort := strings.Cut(string(given[:length]), ":")
	to, found := sent[host]
	if !found {
		return carryOn
	}
	if hasPort {
		to += ":" + port
	}
	value := []byte(to)
	// The proxy looks for the route again when a header has changed.
	replaceHeader(requestHeaders, key, keySize, unsafe.Pointer(&value[0]), uint32(len(value)))
	return carryOn
}

//go:wasmexport proxy_on_done
func onDone(context uint32) uint32 { return 1 }

//go:wasmexport proxy_on_log
func onLog(context uint32) {}

//go:wasmexport proxy_on_delete
func onDelete(context uint32) {}
