//go:build parts

// Package parts keeps istio.io/api in go.mod: only its YAML is wanted, which no code imports.
package parts

import _ "istio.io/api/label"
