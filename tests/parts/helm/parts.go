//go:build parts

// Package parts keeps Helm's own command in go.mod, so that it builds at a fixed version.
package parts

import _ "helm.sh/helm/v3/cmd/helm"
