//go:build parts

// Package parts keeps Istio's own commands in go.mod, so that they build at a fixed version.
package parts

import (
	_ "istio.io/istio/istioctl/cmd/istioctl"
	_ "istio.io/istio/pilot/cmd/pilot-agent"
	_ "istio.io/istio/pilot/cmd/pilot-discovery"
)
